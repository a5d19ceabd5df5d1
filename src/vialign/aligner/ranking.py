"""How far the first answer of a search is to be trusted: simple confidences, the local look, and both as one number."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vialign.signal.trust.combining import crossed_scores, fitted_regression
from vialign.signal.trust.predictors import design, local_ranking, simple_confidences
from vialign.signal.validation.resampling import auc
from vialign.tables.signal import TRUST_SIMPLE

PREDICTORS = (*TRUST_SIMPLE, "local_rank", "local_gap")
"""What the regression reads of an answer; `vialign.signal.trust.predictors` says what each is."""
_FOLDS = 5


@dataclass(frozen=True)
class Trust:
    """What is known of one first answer."""

    right: float | None
    """Chance that the answer is right, by the regression of the exported folder; None where there is none."""
    similarity: float
    """Score of the answer."""
    margin: float
    """The score less that of the second."""
    local_rank: float | None
    """Pictures that the local look puts before the answer; None without a signal."""
    local_gap: float | None
    """How much better the local look's own first picture matches the phrases."""

    def __str__(self) -> str:
        unknown = "how likely it is right is not known"
        said = unknown if self.right is None else f"{100 * self.right:.0f} % likely right"
        if self.local_rank is None:
            return said
        agrees = "agrees" if self.local_rank < 0.5 else f"puts {self.local_rank:.0f} other pictures before it"
        return f"{said}; the local look {agrees}"


@dataclass(frozen=True)
class Ranking:
    """The best pictures for some words, best first."""

    indices: list[int]
    """Places among the pictures that were given."""
    scores: list[float]
    trust: Trust | None
    """In the first of them; None where there is no other picture that it could be mistaken for."""


@dataclass(frozen=True)
class TrustRule:
    """A logistic regression that an answer is wrong, fitted on queries of which the right answer was known."""

    centre: tuple[float, ...]
    """Mean of each predictor (a rank by its logarithm)."""
    spread: tuple[float, ...]
    weight: tuple[float, ...]
    intercept: float
    gallery: int
    """Pictures that were searched: among many more, an answer is less certain than the rule says."""
    queries: int
    wrong: float
    """Share of those queries whose answer was wrong."""
    auroc: float
    """Of telling wrong answers from right ones, each query by a rule that saw no query of its image."""

    def right(self, predictors: pd.DataFrame) -> Float[np.ndarray, "query"]:
        """Chance that each answer is right."""
        values = (design(predictors[list(PREDICTORS)]) - np.array(self.centre)) / np.array(self.spread)
        result: Float[np.ndarray, "query"] = 1 / (1 + np.exp(values @ np.array(self.weight) + self.intercept))
        return result


def fit_trust(
    predictors: pd.DataFrame, wrong: Bool[np.ndarray, "query"], images: Int[np.ndarray, "query"], gallery: int
) -> TrustRule | None:
    """The rule for queries with the columns `PREDICTORS`; None where all answers are right, or all wrong."""
    used = predictors[list(PREDICTORS)]
    model = fitted_regression(used, wrong)
    if model is None or len(np.unique(images)) < 2:
        return None
    scaler, regression = model[0], model[-1]
    crossed = crossed_scores(used, wrong, images, _FOLDS, 0)
    return TrustRule(
        centre=tuple(scaler.mean_.tolist()),
        spread=tuple(scaler.scale_.tolist()),
        weight=tuple(regression.coef_[0].tolist()),
        intercept=float(regression.intercept_[0]),
        gallery=gallery,
        queries=len(wrong),
        wrong=float(wrong.mean()),
        auroc=float(auc(crossed[wrong], crossed[~wrong])),
    )


def predictors_of(
    scores: Float[np.ndarray, "query image"],
    scale: float,
    answers: Int[np.ndarray, "query"],
    local: Float[np.ndarray, "query image"] | None,
) -> pd.DataFrame:
    """Columns `PREDICTORS` of the answers of a gallery of two or more images; without `local` the simple ones alone."""
    simple = simple_confidences(scores, scale * scores, answers)
    return simple if local is None else pd.concat([simple, local_ranking(local, answers)], axis=1)


def trust_of(
    scores: Float[np.ndarray, "image"], scale: float, local: Float[np.ndarray, "image"] | None, rule: TrustRule | None
) -> Trust | None:
    """Trust in the best of some scores; None for fewer than two."""
    if len(scores) < 2:
        return None
    answers = np.array([int(scores.argmax())])
    frame = predictors_of(scores[None], scale, answers, None if local is None else local[None])
    right = None if rule is None or local is None else float(rule.right(frame)[0])
    row = frame.iloc[0]
    rank, gap = (None, None) if local is None else (float(row["local_rank"]), float(row["local_gap"]))
    return Trust(right, float(row["similarity"]), float(row["margin"]), rank, gap)
