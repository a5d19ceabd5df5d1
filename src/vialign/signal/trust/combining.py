"""Several predictors as one: a logistic regression, fitted on one split and read on another, or cross-validated."""

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vialign.random import derive_seed
from vialign.signal.trust.predictors import design, doubt
from vialign.signal.validation.resampling import auc
from vialign.tables.signal import TRUST_SIMPLE

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def fitted_regression(fit: pd.DataFrame, wrong: Bool[np.ndarray, "fitted"]) -> "Pipeline | None":
    """A scaler and a regression that an answer is wrong; None where all are right or all wrong, so none can be learnt.

    A predictor that never changes has no weight.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if wrong.all() or not wrong.any():
        return None
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(design(fit), wrong)


def fitted_scores(
    fit: pd.DataFrame, wrong: Bool[np.ndarray, "fitted"], read: pd.DataFrame
) -> Float[np.ndarray, "query"]:
    """Log-odds that each answer of `read` is wrong, by `fitted_regression` of `fit`; 0 where nothing can be learnt.

    Both frames have the same predictors.
    """
    model = fitted_regression(fit, wrong)
    return np.zeros(len(read)) if model is None else np.asarray(model.decision_function(design(read)))


def crossed_scores(
    frame: pd.DataFrame,
    wrong: Bool[np.ndarray, "query"],
    images: Int[np.ndarray, "query"],
    folds: int,
    seed: int,
) -> Float[np.ndarray, "query"]:
    """As `fitted_scores`, each answer by a regression that saw no answer of its image; fewer folds where images lack.

    Raises ValueError for fewer than two images.
    """
    from sklearn.model_selection import GroupKFold

    count = min(folds, len(np.unique(images)))
    if count < 2:
        raise ValueError("answers of one image: a cross-validation by image needs two or more")
    division = GroupKFold(count, shuffle=True, random_state=derive_seed(seed, "trust folds") % 2**32)
    scores = np.empty(len(frame))
    for learned, held_out in division.split(frame, groups=images):
        scores[held_out] = fitted_scores(frame.iloc[learned], wrong[learned], frame.iloc[held_out])
    return scores


def best_simple(
    simple: pd.DataFrame,
    wrong: Bool[np.ndarray, "query"],
    images: Int[np.ndarray, "query"],
    folds: int,
    seed: int,
) -> tuple[str, ...]:
    """The simple confidences that tell best together: of all their subsets the one with the highest AUROC.

    A single one is taken as it is, several cross-validated by image. All of them where nothing can be told. Of `simple`
    the columns `TRUST_SIMPLE` are read.
    """
    if wrong.all() or not wrong.any():
        return TRUST_SIMPLE
    subsets = [some for size in range(1, len(TRUST_SIMPLE) + 1) for some in combinations(TRUST_SIMPLE, size)]

    def told(names: tuple[str, ...]) -> float:
        if len(names) == 1:
            score = doubt(simple, names[0])
        else:
            score = crossed_scores(simple[list(names)], wrong, images, folds, seed)
        return auc(score[wrong], score[~wrong])

    return max(subsets, key=told)
