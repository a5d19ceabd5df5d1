from dataclasses import replace

import numpy as np
import pytest

from vialign.signal.validation.decay import CLEAN, Point, relative_area, stress_summary, stress_table

REPEATS = 400


def curve(attack: str, signal: str, values: list[float], spread: float = 0.02, seed: int = 0, unit: str = "severity"):
    """Points from clean on, with the same deviation in every resample of every curve with the same seed."""
    noise = spread * np.random.default_rng(seed).standard_normal(REPEATS)
    return [
        Point(CLEAN if place == 0 else attack, float(place), unit, signal, "hard", value, value + noise, 9)
        for place, value in enumerate(values)
    ]


def rows(points: list[Point]):
    return stress_summary(points).set_index(["attack", "signal"])


def test_areas_by_hand():
    points = curve("none", "s_global", [0.9] * 3) + curve("fall", "s_global", [0.9, 0.7, 0.5])[1:]
    table = rows(points)
    assert table.loc[("none", "s_global"), "relative_area"] == pytest.approx(1.0)
    assert table.loc[("fall", "s_global"), "relative_area"] == pytest.approx((0.3 + 0.1) / 2 / 0.4)
    assert table.loc[("all", "s_global"), "relative_area"] == pytest.approx((1.0 + 0.5) / 2)
    assert (table["clean"] == 0.9).all() and table["difference"].isna().all()


def test_a_curve_that_starts_at_chance_has_no_area_and_does_not_hide_the_other_signal():
    points = curve("blur", "agreement", [0.52, 0.6]) + curve("blur", "s_global", [0.9, 0.8])
    table = rows(points)
    own = table.loc["blur", "agreement"], table.loc["all", "agreement"]
    assert all(
        np.isnan(row[["relative_area", "low", "high", "difference", "difference_low"]].astype(float)).all()
        for row in own
    )
    assert own[0]["clean"] == 0.52 and table.loc[("all", "s_global"), "relative_area"] == pytest.approx(0.875)


def test_intervals_and_differences_are_those_of_the_same_resamples():
    """The oracle goes through every resample by itself."""
    fall, rise = [0.9, 0.8, 0.6], [0.8, 0.8, 0.7]
    points = curve("a", "s_global", fall, seed=1) + curve("b", "s_global", [0.9, 0.7], seed=1)[1:]
    points += curve("a", "agreement", rise, seed=2) + curve("b", "agreement", [0.8, 0.75], seed=2)[1:]
    table = rows(points)
    clean = {p.signal: p.resampled for p in points if p.attack == CLEAN}

    def area(signal: str, attack: str, draw: int) -> float:
        values = [clean[signal][draw]] + [p.resampled[draw] for p in points if (p.signal, p.attack) == (signal, attack)]
        return np.trapezoid(np.array(values) - 0.5) / (len(values) - 1) / (values[0] - 0.5)

    mean = {s: [(area(s, "a", d) + area(s, "b", d)) / 2 for d in range(REPEATS)] for s in ("s_global", "agreement")}
    for signal, draws in mean.items():
        row = table.loc["all", signal]
        assert [row["low"], row["high"]] == pytest.approx(np.quantile(draws, [0.025, 0.975]).tolist())
    difference = np.subtract(mean["agreement"], mean["s_global"])
    row = table.loc["all", "agreement"]
    ends = [row["difference_low"], row["difference_high"]]
    assert ends == pytest.approx(np.quantile(difference, [0.025, 0.975]).tolist())
    assert row["difference"] == pytest.approx(row["relative_area"] - table.loc[("all", "s_global"), "relative_area"])
    # Paired: the same deviation in both signals leaves nearly nothing of their difference to chance.
    twin = rows(curve("a", "s_global", fall, seed=1) + curve("a", "agreement", fall, seed=1)).loc["all", "agreement"]
    assert twin["difference_low"] == twin["difference_high"] == 0 and twin["low"] < twin["high"]


def aimed(points: list[Point], target: str) -> list[Point]:
    return [replace(point, target=target) for point in points]


def test_the_mean_takes_every_signal_under_attacks_on_itself_and_the_difference_is_to_s_global_under_its_own():
    points = curve("blur", "s_global", [0.9, 0.9]) + curve("blur", "s_local", [0.9, 0.9])
    points += aimed(curve("pgd", "s_global", [0.9, 0.5])[1:], "s_global")
    points += aimed(curve("pgd", "s_local", [0.9, 0.8])[1:], "s_global")
    points += aimed(curve("pgd", "s_local", [0.9, 0.7])[1:], "s_local")
    table = stress_summary(points).set_index(["attack", "target", "signal"])
    assert table.loc[("pgd", "s_local", "s_local"), "relative_area"] == pytest.approx(0.75)
    assert table.loc[("pgd", "s_global", "s_local"), "relative_area"] == pytest.approx(0.875)
    assert table.loc[("all", "own", "s_local"), "relative_area"] == pytest.approx((1 + 0.75) / 2)
    assert table.loc[("all", "own", "s_global"), "relative_area"] == pytest.approx((1 + 0.5) / 2)
    assert table.loc[("all", "own", "s_local"), "difference"] == pytest.approx(0.125)
    assert table.loc[("pgd", "s_local", "s_local"), "difference"] == pytest.approx(0.25)
    assert table.loc[("pgd", "s_global", "s_local"), "difference"] == pytest.approx(0.375)


def test_resamples_below_chance_have_no_ratio():
    found = relative_area([np.array([0.7, 0.5, 0.4]), np.array([0.6, 0.6, 0.6])])
    assert found[0] == pytest.approx(0.15 / 0.2) and np.isnan(found[1:]).all()


def test_the_table_has_every_curve_from_clean_on_in_order_of_strength():
    points = curve("a", "s_global", [0.9, 0.8, 0.7]) + curve("words", "s_global", [0.9, 0.6], unit="words replaced")[1:]
    table = stress_table(points[::-1])
    assert list(table[table["attack"] == "a"]["auc"]) == [0.9, 0.8, 0.7]
    assert set(table[table["attack"] == "words"]["unit"]) == {"words replaced"}
    assert (table["low"] < table["auc"]).all() and (table["auc"] < table["high"]).all()
