"""Monotone maps from a raw similarity to [0, 1], fitted on the calibration split and used for nothing else.

A logistic map with two numbers (Platt scaling) per similarity, fitted on as many aligned as random pairs, so that 0.5
means "as likely aligned as random". The slope may not be negative: where aligned pairs do not score higher, the
maximum-likelihood map under that constraint is flat, and the signal gate then says that the similarity carries nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vialign.errors import UserError
from vialign.files.artifacts import read_table
from vialign.tables.signal import SIGNAL_CALIBRATION

if TYPE_CHECKING:
    from torch import Tensor

SIMILARITIES = ("s_global", "s_local")
_STRENGTH = 1e4
"""Inverse ridge penalty on standardised similarities: without effect on real data, finite on separable data."""


@dataclass(frozen=True)
class LogisticCalibration:
    """x -> 1 / (1 + exp(-(slope x + intercept)))."""

    slope: float
    """Not negative."""
    intercept: float

    @property
    def midpoint(self) -> float:
        """The similarity at which a pair is as likely aligned as random; 0 where the map is flat."""
        return -self.intercept / self.slope if self.slope > 0 else 0.0

    def numpy(self, similarity: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Calibrated values in [0, 1]."""
        from scipy.special import expit

        return expit(self.slope * similarity + self.intercept)

    def torch(self, similarity: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """Calibrated values in [0, 1]; differentiable."""
        return (self.slope * similarity + self.intercept).sigmoid()


@dataclass(frozen=True)
class SignalCalibration:
    """The maps of both similarities."""

    s_global: LogisticCalibration
    s_local: LogisticCalibration

    @staticmethod
    def from_table(table: pd.DataFrame) -> "SignalCalibration":
        """From a frame with the columns of `SIGNAL_CALIBRATION`, one row a similarity."""
        columns = (table[name].tolist() for name in ("similarity", "slope", "intercept"))
        maps = {name: LogisticCalibration(slope, intercept) for name, slope, intercept in zip(*columns, strict=True)}
        return SignalCalibration(s_global=maps["s_global"], s_local=maps["s_local"])


def read_calibration(path: str | Path) -> SignalCalibration:
    """Read the maps from `signal/calibration.parquet`; raises UserError where the file is not that table."""
    table = read_table(path, SIGNAL_CALIBRATION)
    if set(table["similarity"]) != set(SIMILARITIES):
        raise UserError(f"{path}: has maps for {sorted(table['similarity'])}, not for {list(SIMILARITIES)}; delete it")
    return SignalCalibration.from_table(table)


def fit_calibration(similarities: pd.DataFrame, folds: int = 5) -> pd.DataFrame:
    """Fit both maps; rows as `SIGNAL_CALIBRATION`.

    `similarities` has image_id, kind (aligned or random; other kinds are left out), s_global and s_local. Both kinds
    weigh the same in total, whatever their number. Raises UserError when one of the kinds has no pair, or when there
    are fewer images than folds.
    """
    used = similarities[similarities["kind"].isin(("aligned", "random"))]
    aligned = (used["kind"] == "aligned").to_numpy(dtype=np.int64)
    images = pd.factorize(used["image_id"])[0]
    if len(used) == 0 or aligned.min() == aligned.max() or images.max() + 1 < folds:
        raise UserError(
            f"signal calibration: {int(aligned.sum())} aligned and {int((1 - aligned).sum())} random pairs of "
            f"{used['image_id'].nunique()} images; both kinds and at least {folds} images are needed: "
            "raise data.sizes.calibration"
        )
    rows = [
        {"similarity": name, **_fit_one(used[name].to_numpy(dtype=np.float64), aligned, images, folds)}
        for name in SIMILARITIES
    ]
    return SIGNAL_CALIBRATION.check(pd.DataFrame(rows))


def fit_logistic(
    similarity: Float[np.ndarray, "pair"], aligned: Int[np.ndarray, "pair"]
) -> tuple[LogisticCalibration, float]:
    """The maximum-likelihood map with a slope that is not negative, and the slope without that constraint.

    The likelihood is concave in (slope, intercept), so where the free slope is negative the constrained optimum lies
    at slope 0; with both kinds weighing the same, that map is 0.5 everywhere.
    """
    from sklearn.linear_model import LogisticRegression

    centre, spread = float(similarity.mean()), float(similarity.std())
    if spread == 0:
        return LogisticCalibration(0.0, 0.0), 0.0
    model = LogisticRegression(C=_STRENGTH, class_weight="balanced", tol=1e-8, max_iter=1000)
    model.fit(((similarity - centre) / spread)[:, None], aligned)
    slope = float(model.coef_[0, 0]) / spread
    if slope <= 0:
        return LogisticCalibration(0.0, 0.0), slope
    return LogisticCalibration(slope, float(model.intercept_[0]) - slope * centre), slope


def calibration_error(predicted: Float[np.ndarray, "pair"], aligned: Int[np.ndarray, "pair"], bins: int = 10) -> float:
    """Expected calibration error over `bins` bins of equal count: mean |mean prediction - observed rate|, by size."""
    parts = np.array_split(np.argsort(predicted, kind="stable"), bins)
    gaps = [len(part) * abs(predicted[part].mean() - aligned[part].mean()) for part in parts if len(part)]
    return float(np.sum(gaps) / len(predicted))


def _fit_one(
    similarity: Float[np.ndarray, "pair"],
    aligned: Int[np.ndarray, "pair"],
    images: Int[np.ndarray, "pair"],
    folds: int,
) -> dict[str, float | int]:
    from sklearn.metrics import roc_auc_score

    calibration, free_slope = fit_logistic(similarity, aligned)
    held_out = np.empty_like(similarity)
    for fold in range(folds):
        inside = images % folds == fold
        held_out[inside] = fit_logistic(similarity[~inside], aligned[~inside])[0].numpy(similarity[inside])
    return {
        "slope": calibration.slope,
        "intercept": calibration.intercept,
        "free_slope": free_slope,
        "pairs": len(similarity),
        "auc": float(roc_auc_score(aligned, similarity)),
        "brier": float(np.mean((held_out - aligned) ** 2)),
        "calibration_error": calibration_error(held_out, aligned),
    }
