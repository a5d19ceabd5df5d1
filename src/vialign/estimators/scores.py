"""Calibration and consistency of similarities as estimators: columns are similarities, rows are pairs."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from vialign.signal.calibration import fit_logistic
from vialign.signal.validation.resampling import auc


class SignalCalibrator(TransformerMixin, ClassifierMixin, BaseEstimator):
    """Monotone maps from raw similarities to the chance of an aligned pair (`vialign.signal.calibration`).

    `X` (pair, similarity) holds one or more similarities of every pair, `y` two classes of which the later one in
    order means aligned. Both classes weigh the same, and no slope is negative: a similarity that is lower for aligned
    pairs is mapped to 0.5. As a classifier it takes the mean of the calibrated values.

    >>> import numpy as np
    >>> from vialign.estimators import SignalCalibrator
    >>> similarity = np.array([[0.1], [0.2], [0.3], [0.4]])
    >>> calibrated = SignalCalibrator().fit(similarity, [0, 0, 1, 1]).transform(similarity)
    >>> bool((np.diff(calibrated[:, 0]) > 0).all())
    True
    """

    def fit(self, X: Any, y: Any) -> "SignalCalibrator":
        """Fit one map a column. Raises ValueError for more or fewer than two classes."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) > 2:
            kind = type_of_target(y, input_name="y")
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        if len(self.classes_) < 2:
            raise ValueError("The calibration needs pairs of two classes; the data hold one class.")
        aligned = (y == self.classes_[1]).astype(np.int64)
        maps = [fit_logistic(column, aligned)[0] for column in X.T]
        self.slope_ = np.array([found.slope for found in maps])
        self.intercept_ = np.array([found.intercept for found in maps])
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Calibrated values in [0, 1], (pair, similarity)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        from scipy.special import expit

        return np.asarray(expit(self.slope_ * X + self.intercept_))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Chance of either class, (pair, 2)."""
        aligned = self.transform(X).mean(axis=1)
        return np.stack([1 - aligned, aligned], axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """The likelier class of each pair."""
        found = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[found])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.poor_score = True  # a slope is never negative, whatever random data ask for
        return tags


class ConsistencyScorer(TransformerMixin, BaseEstimator):
    """C of calibrated similarities: one minus the largest difference of a pair's columns (`vialign.signal.score`).

    `X` (pair, similarity). With `agreement` the product of the columns instead: whether all say yes. Nothing is fitted;
    `fit` learns the number of columns.

    >>> import numpy as np
    >>> from vialign.estimators import ConsistencyScorer
    >>> ConsistencyScorer().fit_transform(np.array([[0.9, 0.8], [0.9, 0.1]])).round(2).tolist()
    [[0.9], [0.2]]
    """

    def __init__(self, agreement: bool = False) -> None:
        self.agreement = agreement

    def fit(self, X: Any, y: Any = None) -> "ConsistencyScorer":
        """Take over the number of columns."""
        validate_data(self, X, dtype=np.float64)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """C, or agreement, of each pair, (pair, 1)."""
        X = validate_data(self, X, dtype=np.float64, reset=False)
        if self.agreement:
            return np.asarray(X.prod(axis=1, keepdims=True))
        return np.asarray(1 - (X.max(axis=1, keepdims=True) - X.min(axis=1, keepdims=True)))

    def score(self, X: Any, y: Any) -> float:
        """AUC: how often an aligned pair (the last class of `y`) is more consistent than another.

        Raises ValueError where all pairs are of one class.
        """
        values, y = self.transform(X)[:, 0], np.asarray(y)
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError("the score needs pairs of two classes; all are of one class")
        return auc(values[y == classes[-1]], values[y != classes[-1]])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags
