"""Phase 1 on a user's own images: does the signal tell their captions from captions that are wrong?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from vialign.config.gates import SignalGateConfig
from vialign.config.signal import DRIVERS, SignalConfig
from vialign.disentangle import Prototypes
from vialign.disentangle.prototype_quality import random_atoms
from vialign.errors import UserError
from vialign.gates.signal import BLIND, signal_verdict
from vialign.gates.verdict import missed, not_shown
from vialign.language.texts import make_negatives
from vialign.random import generator
from vialign.signal.blind import fit_blind
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import SHUFFLED, SplitFeatures, build_pairs, score_control, score_pairs
from vialign.signal.validation.diagnosis import diagnose
from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.signal import CONTROLS, PROBE
from vialign.toolkit.captions import Captions
from vialign.toolkit.encoder import parse
from vialign.toolkit.fitting import texts_of
from vialign.toolkit.gallery import LEAST, see, with_texts
from vialign.toolkit.images import draw_unused
from vialign.toolkit.scoring import BATCH
from vialign.toolkit.signal import Signal

if TYPE_CHECKING:
    from spacy.language import Language

SHOWN = ("consistency", "agreement", "s_global", "s_local", "s_local_plain", "s_sum", BLIND)
"""Signals of the printed table, beside the driver."""
_BLIND_IMAGES = 1000
"""Further images whose captions the blind baseline learns from, at most."""


@dataclass(frozen=True)
class Diagnosis:
    """What the images say about a signal."""

    table: pd.DataFrame
    """Rows of `DIAGNOSIS`: every signal on every kind of wrong caption."""
    verdict: pd.DataFrame
    """Rows of `VERDICT`: the criteria of the signal gate, with its controls. Labelled relations and stress are not
    available here, so the whole claim is never shown by captions alone."""
    scores: pd.DataFrame
    """Rows of `SIGNAL_SCORES` behind both, with the blind baseline as a further column."""
    driver: str
    """The signal that was judged."""
    gate: SignalGateConfig
    """What was asked of it."""

    @property
    def holds(self) -> bool:
        """Whether every required criterion that captions alone can measure is met."""
        return len(missed(self.verdict)) == len(not_shown(self.verdict))

    def __str__(self) -> str:
        return "\n".join([*table_lines(self), "", *verdict_lines(self)])


def diagnose_signal(
    signal: Signal,
    captions: Captions,
    *,
    driver: str | None = None,
    gate: SignalGateConfig | None = None,
    seed: int = 0,
    batch: int = BATCH,
) -> Diagnosis:
    """Hold captions against random ones and against rule-made negatives, on images that no fit has seen.

    At most `signal.config.pairs` such images, drawn by seed; of each, the negatives of its first caption. Beside the
    signals stands the blind baseline: a classifier of words that sees no image. `driver` names the signal that is
    judged, instead of that of the signal's config. Raises UserError for an unknown driver, when fewer than 20 images
    are unused, or as `score_signal`.

    >>> from vialign.toolkit import load_signal, open_backbone, read_captions
    >>> signal = load_signal("units", open_backbone("vialign-scenes", "package"))
    >>> captions = read_captions("shapes/images", "shapes/captions.csv")
    >>> diagnosis = diagnose_signal(signal, captions, driver="agreement")
    >>> auc = diagnosis.table.set_index(["signal", "kind"])["auc"]
    >>> bool(auc["agreement", "random"] > 0.5)
    True
    >>> diagnosis.holds  # three steps of a fit are too few
    False
    """
    gate = gate or SignalGateConfig()
    config = driven_by(signal.config, driver)
    images = draw_unused(captions, signal.used, config.pairs, seed)
    if len(images) < LEAST:
        raise UserError(
            f"{captions.file}: {len(images)} of its images were used neither to fit nor to calibrate the signal; a "
            f"diagnosis needs {LEAST}: give more images, or other ones than those of the fit"
        )
    parser = signal.encoder.parser
    texts = with_negatives(texts_of(captions.table, images), parser, seed)
    pairs = build_pairs(texts, images, ["random", *NEGATIVE_KINDS], config.pairs, seed)
    with torch.random.fork_rng(devices=[]):
        unfitted = random_atoms(signal.encoder.visual, seed)
    seen = see(signal.encoder, captions, images, batch, unfitted, needs="a diagnosis needs")
    pairs = pairs[pairs["image_id"].isin(seen.names)].reset_index(drop=True)
    features = with_texts(seen, signal.encoder, texts, batch)
    scores = score_pairs(pairs, features, SignalCalibration.from_table(signal.calibration), config, seed)
    controls = _controls(pairs, features, seen.prototypes[1], config, seed)
    others = with_negatives(_other_captions(captions, images, seed), parser, seed)
    blind = blind_scores(texts, others, config.folds, seed)
    if blind is not None:
        scores, controls = (
            frame.assign(**{BLIND: frame["text_id"].map(blind).to_numpy()}) for frame in (scores, controls)
        )
    table = diagnose(scores, config, gate.level, seed)
    verdict = signal_verdict(scores, signal.calibration, table, PROBE.empty(), None, controls, config, gate, seed)
    return Diagnosis(table, verdict, scores, config.driver, gate)


def _controls(
    pairs: pd.DataFrame, features: SplitFeatures, unfitted: Prototypes, config: SignalConfig, seed: int
) -> pd.DataFrame:
    """SIGNAL_CONTROLS of the pairs: with the prototypes of other images, and with those of an unfitted dictionary.

    The curves of a control are fitted on these pairs themselves, which can only help it: the images that the signal
    was calibrated on may lie elsewhere.
    """
    drawn = replace(features, prototypes=unfitted)
    used = {control: features if control == SHUFFLED else drawn for control in CONTROLS}
    parts = [score_control(name, pairs, own, pairs, own, config, seed) for name, own in used.items()]
    return pd.concat(parts, ignore_index=True)


def driven_by(config: SignalConfig, driver: str | None) -> SignalConfig:
    """The config with another driver. Raises UserError where there is no such signal."""
    if driver is None:
        return config
    if driver not in DRIVERS:
        raise UserError(f"signal driver {driver!r}: not known; one of {', '.join(DRIVERS)}")
    return config.model_copy(update={"driver": driver})


def blind_scores(texts: pd.DataFrame, others: pd.DataFrame, folds: int, seed: int) -> dict[str, float] | None:
    """Log-odds that each of `texts` is a caption, by its words alone; None where there are no negatives to learn from.

    Both frames have the columns of `TEXTS`. A text is judged by a classifier that was fitted on `others` and on the
    texts of the other images, in folds by image.
    """
    fold = pd.Series(pd.factorize(texts["image_id"])[0] % folds, index=texts.index)
    found: dict[str, float] = {}
    for number in range(folds):
        own = texts[fold == number]
        classifier = fit_blind(pd.concat([others, texts[fold != number]], ignore_index=True), seed)
        if classifier is None:
            return None
        found |= dict(zip(own["text_id"], classifier.scores(own["text"].tolist()).tolist(), strict=True))
    return found


def _other_captions(captions: Captions, images: Sequence[str], seed: int) -> pd.DataFrame:
    """TEXTS of at most `_BLIND_IMAGES` images, drawn by seed, that are not among `images`."""
    rest = np.setdiff1d(captions.image_ids, images)
    return texts_of(captions.table, generator(seed, "toolkit blind").permutation(rest)[:_BLIND_IMAGES].tolist())


def with_negatives(true: pd.DataFrame, parser: "Language", seed: int) -> pd.DataFrame:
    """TEXTS rows with every rule-made negative of each image's first caption behind them."""
    units, _ = parse(true["text"].tolist(), true["text_id"].tolist(), parser)
    made = make_negatives(true, units, kinds=NEGATIVE_KINDS, seed=seed, every_kind=True)
    return pd.concat([true, made], ignore_index=True)


def table_lines(diagnosis: Diagnosis) -> list[str]:
    """The AUC of the most telling signals by kind of wrong caption, with its interval, for a terminal."""
    known = set(diagnosis.table["signal"])
    names = [name for name in dict.fromkeys((diagnosis.driver, *SHOWN)) if name in known]
    cells = diagnosis.table.set_index(["kind", "signal"])
    lines = [f"{'AUC [95 % interval]':20}" + "".join(f"{name:>20}" for name in names) + f"{'pairs':>8}"]
    for kind in diagnosis.table["kind"].unique():
        rows = [cells.loc[(kind, name)] for name in names]
        told = (f"{row.auc:.2f} [{row.low:.2f}, {row.high:.2f}]{_mark(row, diagnosis.gate)}" for row in rows)
        lines.append(f"{kind:20}" + "".join(f"{cell:>20}" for cell in told) + f"{int(rows[0].pairs):8d}")
    return [
        *lines,
        f"* above chance: interval over {diagnosis.gate.minimum_auc}, p below {diagnosis.gate.level} (Holm)",
    ]


def verdict_lines(diagnosis: Diagnosis) -> list[str]:
    """Plain sentences: whether the driver may be used here, on what it holds and where it does not."""
    driver, gate, table = diagnosis.driver, diagnosis.gate, diagnosis.table
    rows = table[table["signal"] == driver]
    blind = table[table["signal"] == BLIND].set_index("kind")["auc"]
    good, bad = [], []
    for row in rows[rows["kind"].isin(NEGATIVE_KINDS)].itertuples():
        words = blind.get(row.kind, 0.0)
        if _mark(row, gate) != "*":
            bad.append(_told(row))
        elif row.auc <= words:
            bad.append(f"{_told(row)}, where the words alone reach {words:.2f}")
        else:
            good.append(_told(row))
    if diagnosis.holds:
        lines = [
            f"Verdict: {driver} tells true captions from {', '.join(good)}, and adds to its parts. Not shown is what "
            "captions alone cannot tell, the probe of labelled relations: the pipeline runs it."
        ]
    else:
        failed = missed(diagnosis.verdict).drop(not_shown(diagnosis.verdict).index)
        lines = [f"Verdict: do not use {driver} here. It is not shown that {'; nor that '.join(failed['criterion'])}."]
        if good:
            lines.append(f"Above chance, but not surely above what the words alone give away: {', '.join(good)}.")
    if bad:
        lines.append(f"No evidence that it sees {'; '.join(bad)}.")
    random = rows[rows["kind"] == "random"]
    if len(random) and float(random["low"].iloc[0]) <= gate.minimum_auc:
        lines.append(
            f"It does not tell captions of other images: {_told(next(random.itertuples()))}. C asks whether both "
            "similarities say the same, so two low ones are consistent; `agreement` asks whether both say yes."
        )
    return lines


def _mark(row: Any, gate: SignalGateConfig) -> str:
    return "*" if row.low > gate.minimum_auc and row.p_holm < gate.level else " "


def _told(row: Any) -> str:
    return f"{row.kind} (AUC {row.auc:.2f} [{row.low:.2f}, {row.high:.2f}])"
