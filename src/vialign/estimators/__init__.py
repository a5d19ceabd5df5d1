"""Parts of the signal for those who fit them themselves, in scikit-learn's shape.

`SignalCalibrator`, `ConsistencyScorer` and `VisualDisentangler` take arrays and pass scikit-learn's `check_estimator`;
`TextDisentangler` takes texts and pictures, which that check has no form for.
"""

from vialign.estimators.disentanglers import TextDisentangler, VisualDisentangler
from vialign.estimators.scores import ConsistencyScorer, SignalCalibrator

__all__ = ["ConsistencyScorer", "SignalCalibrator", "TextDisentangler", "VisualDisentangler"]
