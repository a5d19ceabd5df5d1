import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from vialign.errors import UserError
from vialign.files.artifacts import write_table
from vialign.signal.calibration import (
    LogisticCalibration,
    SignalCalibration,
    calibration_error,
    fit_calibration,
    fit_logistic,
    read_calibration,
)
from vialign.tables.signal import SIGNAL_CALIBRATION


def similarities(gap_global: float, gap_local: float, pairs: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    aligned = np.repeat([1, 0], pairs)
    return pd.DataFrame(
        {
            "image_id": [f"i{n % pairs}" for n in range(2 * pairs)],
            "kind": np.where(aligned, "aligned", "random"),
            "s_global": 0.25 + gap_global * aligned + 0.03 * rng.standard_normal(2 * pairs),
            "s_local": 0.4 + gap_local * aligned + 0.1 * rng.standard_normal(2 * pairs),
        }
    )


def test_the_map_is_the_maximum_of_the_likelihood():
    frame = similarities(0.03, 0.1)
    x, y = frame["s_local"].to_numpy(), (frame["kind"] == "aligned").to_numpy(dtype=int)
    found, free = fit_logistic(x, y)

    def cost(parameters: np.ndarray) -> float:
        logits = parameters[0] * x + parameters[1]
        return float(np.sum(np.logaddexp(0, logits) - y * logits))

    best = minimize(cost, np.zeros(2), method="BFGS").x
    assert [found.slope, found.intercept] == pytest.approx(best, rel=1e-3)
    assert free == found.slope


def test_a_negative_slope_becomes_the_flat_map_and_keeps_what_was_found():
    table = fit_calibration(similarities(0.05, -0.1)).set_index("similarity")
    assert table.loc["s_global", "slope"] > 0
    assert table.loc["s_local", "slope"] == 0 and table.loc["s_local", "free_slope"] < 0
    flat = SignalCalibration.from_table(table.reset_index()).s_local
    np.testing.assert_allclose(flat.numpy(np.array([-1.0, 0.0, 1.0])), 0.5)


def test_kinds_weigh_the_same_whatever_their_number():
    frame = similarities(0.03, 0.1)
    more = pd.concat([frame, frame[frame["kind"] == "random"]])
    one, other = fit_calibration(frame), fit_calibration(more)
    assert other["intercept"].to_numpy() == pytest.approx(one["intercept"].to_numpy(), rel=1e-3)


def test_separable_similarities_give_a_finite_map():
    table = fit_calibration(similarities(10.0, 10.0))
    assert np.isfinite(table["slope"]).all() and (table["auc"] == 1).all() and (table["brier"] < 0.01).all()


def test_reliability_tells_a_good_map_from_none():
    good = fit_calibration(similarities(0.1, 0.0, seed=3)).set_index("similarity")
    assert good.loc["s_global", "brier"] < 0.05 and good.loc["s_global", "calibration_error"] < 0.05
    assert good.loc["s_local", "brier"] == pytest.approx(0.25, abs=0.02)


def test_calibration_error_by_hand():
    predicted, aligned = np.array([0.2, 0.2, 0.8, 0.8]), np.array([0, 1, 1, 1])
    assert calibration_error(predicted, aligned, bins=2) == pytest.approx((0.3 + 0.2) / 2)


@given(st.floats(0, 50), st.floats(-20, 20), st.lists(st.floats(-1, 1), min_size=2, max_size=10))
def test_numpy_and_torch_agree_and_never_fall(slope, intercept, values):
    calibration = LogisticCalibration(slope, intercept)
    x = np.sort(np.array(values))
    levels = calibration.numpy(x)
    np.testing.assert_allclose(calibration.torch(torch.from_numpy(x)).numpy(), levels, atol=1e-12)
    assert (np.diff(levels) >= 0).all() and (levels >= 0).all() and (levels <= 1).all()


def test_the_map_passes_gradients():
    x = torch.tensor([0.1, 0.3], requires_grad=True)
    LogisticCalibration(4.0, -1.0).torch(x).sum().backward()
    level = torch.sigmoid(4 * x.detach() - 1)
    assert torch.allclose(x.grad, 4 * level * (1 - level))


def test_reading_gives_what_was_written_and_refuses_half(tmp_path):
    table = fit_calibration(similarities(0.03, 0.1))
    path = tmp_path / "calibration.parquet"
    write_table(table, SIGNAL_CALIBRATION, path, {})
    assert read_calibration(path) == SignalCalibration.from_table(table)
    write_table(table.head(1), SIGNAL_CALIBRATION, path, {})
    with pytest.raises(UserError, match=r"calibration\.parquet: has maps for \['s_global'\]"):
        read_calibration(path)


@pytest.mark.parametrize("kinds", [["aligned"], ["random"], []])
def test_a_missing_kind_is_named(kinds):
    frame = similarities(0.03, 0.1)
    with pytest.raises(UserError, match="both kinds"):
        fit_calibration(frame[frame["kind"].isin(kinds)])


def test_the_midpoint_is_where_the_map_says_one_half():
    calibration = LogisticCalibration(slope=8.0, intercept=-2.0)
    assert calibration.numpy(np.array([calibration.midpoint])) == pytest.approx([0.5])
    assert LogisticCalibration(slope=0.0, intercept=0.0).midpoint == 0.0
