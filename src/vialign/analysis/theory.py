"""C against known mutual information: the numerical companion of docs/theory.md.

In every world, on pairs whose mutual information is known, the signal is computed by the project's own functions and
held against it. Calibration is fitted on pairs of its own, drawn at every level of information alike, as a data set
holds captions that fit well and captions that do not.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.analysis.worlds import GaussianParts, Sample, Scenes, World
from vialign.contrastive import contrastive_loss
from vialign.disentangle import Phrases
from vialign.progress import track
from vialign.random import generator
from vialign.signal.calibration import LogisticCalibration, SignalCalibration, fit_logistic
from vialign.signal.score import agreement, consistency, local_similarity, relation_queries
from vialign.signal.validation.resampling import auc
from vialign.tables.theory import THEORY, THEORY_TRENDS

WORLDS: tuple[World, ...] = (
    GaussianParts("gaussian"),
    GaussianParts("shared noise", noise=0.5),
    Scenes("combination"),
    Scenes("blind", reads_relations=False),
)
PAIRS = 200
"""Pairs at each level of information, for calibration and measurement each."""
BATCH = 64
"""Pairs of which every image meets every caption, for the bounds."""


class Similarities(NamedTuple):
    """Raw cosines of some pairs."""

    s_global: Float[Tensor, "*pair"]
    s_local: Float[Tensor, "*pair"]


class Scored(NamedTuple):
    """Similarities of a sample."""

    aligned: Similarities
    random: Similarities
    """Each image with the caption of another."""
    exchanged: Similarities | None
    """Each image with its own caption after an exchange of roles, where there is a relation."""


def similarities(
    sample: Sample,
    images: Int[Tensor, "pair"],
    texts: Int[Tensor, "pair"],
    phrases: Phrases | None = None,
) -> Similarities:
    """Both similarities of image `images[i]` and caption `texts[i]`, whose phrases are the sample's or others."""
    prototypes = sample.prototypes.index(images)
    said = (sample.phrases if phrases is None else phrases).index(texts)
    local = local_similarity(
        prototypes.features, said.features, said.weight, prototypes.mass, prototypes.moments, relation_queries(said)
    )
    return Similarities((sample.image[images] * sample.text[texts]).sum(dim=-1), local)


def score_sample(sample: Sample) -> Scored:
    """Similarities of the aligned pairs and of as many wrong ones of each kind."""
    own = torch.arange(len(sample.image))
    exchanged = None if sample.exchanged is None else similarities(sample, own, own, sample.exchanged)
    return Scored(similarities(sample, own, own), similarities(sample, own, own.roll(1)), exchanged)


def calibrate(scored: Sequence[Scored]) -> SignalCalibration:
    """The maps of both similarities, fitted on the aligned and the random pairs of some samples."""

    def fitted(place: int) -> LogisticCalibration:
        aligned = torch.cat([each.aligned[place] for each in scored])
        values = torch.cat([aligned, *(each.random[place] for each in scored)]).numpy()
        return fit_logistic(values, (np.arange(len(values)) < len(aligned)).astype(np.int64))[0]

    return SignalCalibration(fitted(0), fitted(1))


def infonce(logits: Float[Tensor, "pair pair"]) -> float:
    """log N minus the symmetric contrastive loss, nats: in expectation a lower bound on mutual information.

    van den Oord et al. 2018 (arXiv:1807.03748), equation 5, for the mean of both directions; never above log N.
    """
    return math.log(len(logits)) - float(contrastive_loss(logits))


def measure(
    sample: Sample, scored: Scored, calibration: SignalCalibration, own: SignalCalibration, batch: int = BATCH
) -> dict[str, float]:
    """Every measure of one sample, named as in `THEORY`.

    `calibration` is that of the whole world, `own` that of this level of information alone.
    """

    def mapped(pairs: Similarities, maps: SignalCalibration) -> Similarities:
        return Similarities(maps.s_global.torch(pairs.s_global), maps.s_local.torch(pairs.s_local))

    aligned, random = mapped(scored.aligned, calibration), mapped(scored.random, calibration)
    found = {
        "s_global": float(aligned.s_global.mean()),
        "s_local": float(aligned.s_local.mean()),
        "consistency own": float(consistency(*mapped(scored.aligned, own)).mean()),
    }
    for name, function in (("consistency", consistency), ("agreement", agreement)):
        right, wrong = function(*aligned), function(*random)
        found[name], found[f"{name} random"] = float(right.mean()), float(wrong.mean())
        found[f"{name} auc random"] = auc(right.numpy(), wrong.numpy())
        if scored.exchanged is not None:
            hard = function(*mapped(scored.exchanged, calibration))
            found[f"{name} auc exchanged"] = auc(right.numpy(), hard.numpy())
    every = torch.arange(batch)
    all_pairs = similarities(sample, every.repeat_interleave(batch), every.repeat(batch))
    # The logit of a calibrated similarity is the log-odds of aligned against random pairs: a critic of its own.
    critics = {
        "infonce": sample.log_ratio[:batch, :batch],
        "infonce s_global": own.s_global.slope * all_pairs.s_global.reshape(batch, batch),
        "infonce s_local": own.s_local.slope * all_pairs.s_local.reshape(batch, batch),
    }
    found |= {name: infonce(logits) for name, logits in critics.items()}
    return found | {"infonce ceiling": math.log(batch)}


def measure_world(world: World, seed: int, pairs: int = PAIRS, batch: int = BATCH) -> pd.DataFrame:
    """One drawing of a world: columns world, parameter, mutual_information, measure and value, lowest level first.

    Two worlds of one kind with one grid are drawn alike, so that they differ in what was changed alone.
    """

    def draw(part: str) -> list[Sample]:
        return [world.draw(value, pairs, generator(seed, "theory", part, value)) for value in world.grid]

    measured, kept = draw("measurement"), [score_sample(sample) for sample in draw("calibration")]
    calibration = calibrate(kept)
    rows = []
    for parameter, sample, apart in zip(world.grid, measured, kept, strict=True):
        found = measure(sample, score_sample(sample), calibration, calibrate([apart]), batch)
        level = {"parameter": parameter, "mutual_information": world.mutual_information(parameter)}
        rows += [{"world": world.name, **level, "measure": name, "value": value} for name, value in found.items()]
    return pd.DataFrame(rows)


def theory(
    worlds: Sequence[World] = WORLDS,
    *,
    seeds: int = 5,
    seed: int = 0,
    level: float = 0.05,
    pairs: int = PAIRS,
    batch: int = BATCH,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of `THEORY`, and of `THEORY_TRENDS`: how far each measure follows mutual information.

    Every world is drawn `seeds` times, two or more; intervals are Student's, over the drawings. `level` is one minus
    their coverage.
    """
    jobs = [(world, number) for world in worlds for number in range(seeds)]
    drawings = [
        measure_world(world, seed + number, pairs, batch).assign(drawing=number)
        for world, number in track(jobs, "worlds of known mutual information")
    ]
    frame = pd.concat(drawings, ignore_index=True)
    table = _over_drawings(frame, ["world", "parameter", "mutual_information", "measure"], {"value": ""}, level)
    trends = frame.groupby(["world", "measure", "drawing"], sort=False)[["mutual_information", "value"]].apply(trend)
    keys = ["world", "measure"]
    summary = _over_drawings(trends.reset_index(), keys, {"correlation": "", "change": "change_"}, level)
    return THEORY.check(table), THEORY_TRENDS.check(summary)


def trend(levels: pd.DataFrame) -> pd.Series:
    """How one measure of one drawing moves with mutual information over the levels of a world, lowest first.

    `correlation` is Spearman's, missing where the measure never changes; `change` is the last value minus the first.
    """
    from scipy.stats import spearmanr

    information, value = levels["mutual_information"], levels["value"]
    moves = value.nunique() > 1
    correlation = float(spearmanr(information, value)[0]) if moves else math.nan
    return pd.Series({"correlation": correlation, "change": value.iloc[-1] - value.iloc[0]})


def _over_drawings(frame: pd.DataFrame, keys: list[str], columns: dict[str, str], level: float) -> pd.DataFrame:
    """Mean over drawings with Student's interval, for each column with the prefix of its ends.

    An interval is cut where what it is of ends: 0 and 1 for a share, -1 and 1 for a correlation or the change of a
    share. Bounds on information have no ends.
    """
    from scipy.stats import t

    groups = frame.groupby(keys, sort=False)
    result = groups.size().reset_index(name="seeds")
    for column, prefix in columns.items():
        mean, error = (getattr(groups[column], name)().reset_index(drop=True) for name in ("mean", "sem"))
        half = error * t.ppf(1 - level / 2, result["seeds"] - 1)
        free = result["measure"].str.startswith("infonce") & (column != "correlation")
        lowest = 0.0 if column == "value" else -1.0
        result[column] = mean
        result[f"{prefix}low"] = (mean - half).where(free, (mean - half).clip(lower=lowest))
        result[f"{prefix}high"] = (mean + half).where(free, (mean + half).clip(upper=1.0))
    return result
