"""The tables of trust: every predictor on the answers of every split, combinations against the simple confidences."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from vialign.random import generator
from vialign.signal.trust.answers import SHUFFLED, Answers, with_control
from vialign.signal.trust.combining import best_simple, crossed_scores, fitted_scores
from vialign.signal.trust.measures import (
    COVERAGES,
    Measured,
    Sample,
    expected_calibration_error,
    measure,
    paired_p,
)
from vialign.signal.trust.predictors import claimed_wrong, doubt, probability
from vialign.signal.validation.resampling import holm, image_counts, interval
from vialign.tables.signal import (
    TRUST,
    TRUST_CURVES,
    TRUST_DIRECTIONS,
    TRUST_RANKING,
    TRUST_RETURN,
    TRUST_SIGNALS,
    TRUST_SIMPLE,
)

REFERENCE = "best simple"
"""The best subset of the simple confidences, from which differences are measured."""
CLAIM = "simple and local ranking"
"""The combination that the goal is stated for, and that the control shuffles."""
RETURN = "simple and return"
"""The best simple confidences and whether the answer leads back: the strongest rival that knows global scores alone."""
ALL = "all"
"""Everything together, which must add to `RETURN`."""
_LOCAL_CONTENT = {
    "simple and signal": (*TRUST_SIGNALS,),
    CLAIM: (*TRUST_RANKING,),
    ALL: (*TRUST_RETURN, *TRUST_SIGNALS, *TRUST_RANKING),
}
"""What combinations with a local part hold beside the best simple confidences."""
_CURVES = (REFERENCE, RETURN, *_LOCAL_CONTENT, "consistency")
"""Predictors whose risk-coverage curve is kept."""

Directions = Mapping[str, Answers]
"""Answers of one split by direction of retrieval."""


@dataclass(frozen=True)
class Settings:
    """How the answers are judged."""

    bootstrap: int
    """Resamples of the images."""
    level: float
    """1 minus the coverage of intervals."""
    folds: int
    """Of a cross-validation by image."""
    seed: int


class _Score(NamedTuple):
    predictor: str
    local: str
    uses: tuple[str, ...]
    fitted_on: str
    doubt: Float[np.ndarray, "query"]
    claimed: Float[np.ndarray, "query"] | None
    """The probability of being wrong that it states; None where it states none."""


def trust_tables(
    splits: Mapping[str, Directions], fit: str | None, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of `TRUST` and `TRUST_CURVES` for the answers of every split.

    Combinations are fitted on the answers of the split `fit` and read on the others, which choose nothing; on `fit`
    itself, or on every split where it is None, they are cross-validated by image. The simple confidences that make
    `best simple` are always chosen where the fit is, by their own AUROC there, so on a cross-validated split the
    reference is chosen on the answers that it is judged on, to its advantage. Raises KeyError where `fit` is no split.
    """
    learned = None if fit is None else splits[fit]
    parts = [
        split_rows(split, answers, None if split == fit else fit, learned or {}, settings)
        for split, answers in splits.items()
    ]
    tables, curves = zip(*parts, strict=True)
    return (
        TRUST.check(pd.concat(tables, ignore_index=True)),
        TRUST_CURVES.check(pd.concat(curves, ignore_index=True)),
    )


def split_rows(
    split: str, answers: Directions, fit: str | None, learned: Directions, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of both tables for one split; without `fit` its combinations are cross-validated by image.

    A direction that `learned` lacks is cross-validated too, and a split whose answers are of one image alone is left
    out: nothing can be resampled there.
    """
    rows: list[dict[str, object]] = []
    curves: list[dict[str, object]] = []
    for direction in TRUST_DIRECTIONS:
        own = answers.get(direction)
        if own is None or own.images.max() == 0:
            continue
        fitted = learned.get(direction) if fit is not None else None
        key = {"split": split, "direction": direction}
        fitted_on = split if fitted is None or fit is None else fit
        new = _direction_rows(key, own, fitted, fitted_on, settings)
        rows.extend(new[0])
        curves.extend(new[1])
    table = pd.DataFrame(rows, columns=list(TRUST.columns))
    return _corrected(table), pd.DataFrame(curves, columns=list(TRUST_CURVES.columns))


def _direction_rows(
    key: Mapping[str, object], answers: Answers, fitted: Answers | None, fitted_on: str, settings: Settings
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    images = int(answers.images.max()) + 1
    weights = image_counts(images, settings.bootstrap, generator(settings.seed, "trust", images))
    sample = Sample(answers.wrong, answers.images, weights)
    common = {"wrong": float(answers.wrong.mean()), "queries": len(answers.wrong), "images": images}
    references: dict[str, Measured] = {}
    rows, curves = [], []
    for score in _scores(answers, fitted, fitted_on, settings):
        measured = measure(score.doubt, sample)
        name = {**key, "predictor": score.predictor, "local": score.local}
        if score.predictor in (REFERENCE, RETURN):
            references[score.predictor] = measured
        about = {"fitted_on": score.fitted_on, "uses": ",".join(score.uses), **common}
        row = {**name, **about, **_levels(measured, settings)}
        if score.claimed is not None:
            row["calibration_error"] = expected_calibration_error(score.claimed, answers.wrong)
        if score.fitted_on and score.predictor != REFERENCE:
            reference = RETURN if score.predictor == ALL else REFERENCE
            row |= {"reference": reference, **_difference(measured, references[reference], settings)}
        rows.append(row)
        if score.predictor in _CURVES:
            low, high = np.quantile(measured.risks, [settings.level / 2, 1 - settings.level / 2], axis=0)
            for place, coverage in enumerate(COVERAGES):
                ends = {"risk": measured.risk[place], "low": low[place], "high": high[place]}
                curves.append({**name, "coverage": coverage, **ends})
    return rows, curves


def _looked(way: str, side: Answers) -> pd.DataFrame:
    """What one way of looking locally says of the answers."""
    return side.local[way]


def _scores(answers: Answers, fitted: Answers | None, fitted_on: str, settings: Settings) -> Iterator[_Score]:
    """Every predictor of one direction; the references come before all that is compared with them."""
    for name in (*TRUST_SIMPLE, TRUST_RETURN[0]):
        yield _single(name, "none", name, "", answers.simple)
    chosen_on = answers if fitted is None else fitted
    best = best_simple(chosen_on.simple, chosen_on.wrong, chosen_on.images, settings.folds, settings.seed)

    def combined(predictor: str, way: str, uses: tuple[str, ...], local: Callable[[Answers], pd.DataFrame]) -> _Score:
        columns = list(uses)
        of = pd.concat([answers.simple, local(answers)], axis=1)[columns]
        if fitted is None:
            score = crossed_scores(of, answers.wrong, answers.images, settings.folds, settings.seed)
        else:
            learned = pd.concat([fitted.simple, local(fitted)], axis=1)[columns]
            score = fitted_scores(learned, fitted.wrong, of)
        # Answers that are all right or all wrong teach a regression nothing, and 0 is then no probability.
        taught = answers.wrong if fitted is None else fitted.wrong
        told = probability(score) if taught.any() and not taught.all() else None
        return _Score(predictor, way, uses, fitted_on, score, told)

    def alone(side: Answers) -> pd.DataFrame:
        return side.simple.iloc[:, :0]

    if len(best) == 1:
        yield _single(REFERENCE, "none", best[0], fitted_on, answers.simple)
    else:
        yield combined(REFERENCE, "none", best, alone)
    yield combined("simple", "none", TRUST_SIMPLE, alone)
    yield combined(RETURN, "none", (*best, TRUST_RETURN[0]), alone)
    for way, local in answers.local.items():
        for name in (*TRUST_SIGNALS, *TRUST_RANKING, TRUST_RETURN[1]):
            yield _single(name, way, name, "", local)
        for name, further in _LOCAL_CONTENT.items():
            yield combined(name, way, (*best, *further), partial(_looked, way))
    if answers.local:
        uses = (*best, *_LOCAL_CONTENT[CLAIM])
        yield combined(CLAIM, SHUFFLED, uses, lambda side: with_control(side, settings.seed))


def _single(predictor: str, way: str, name: str, fitted_on: str, frame: pd.DataFrame) -> _Score:
    """One predictor as it stands."""
    score = doubt(frame, name)
    return _Score(predictor, way, (name,), fitted_on, score, claimed_wrong(name, score))


def _levels(measured: Measured, settings: Settings) -> dict[str, object]:
    low, high = _ends(measured.aurocs, settings)
    aurc_low, aurc_high = _ends(measured.aurcs, settings)
    return {
        "auroc": measured.auroc,
        "low": low,
        "high": high,
        "aurc": measured.aurc,
        "aurc_low": aurc_low,
        "aurc_high": aurc_high,
    }


def _difference(measured: Measured, reference: Measured, settings: Settings) -> dict[str, object]:
    """AUROC and AURC less those of the reference, paired by resample; without an AUROC its columns stay empty."""
    low, high = _ends(measured.aurcs - reference.aurcs, settings)
    found: dict[str, object] = {
        "aurc_difference": measured.aurc - reference.aurc,
        "aurc_difference_low": low,
        "aurc_difference_high": high,
    }
    if np.isnan(measured.auroc):
        return found
    low, high = _ends(measured.aurocs - reference.aurocs, settings)
    p_value = paired_p(measured.aurocs - reference.aurocs)
    difference = {"difference": measured.auroc - reference.auroc, "difference_low": low, "difference_high": high}
    return {**found, **difference, "p_value": p_value}


def _ends(values: Float[np.ndarray, "repeat"], settings: Settings) -> tuple[float, float]:
    return (np.nan, np.nan) if np.isnan(values).all() else interval(values, settings.level)


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """With Holm's correction of every combination over the directions of the split."""
    table = table.astype({"p_value": float, "p_holm": float, "calibration_error": float})
    for _, part in table[table["p_value"].notna()].groupby(["predictor", "local"]):
        table.loc[part.index, "p_holm"] = holm(part["p_value"].to_numpy())
    return table
