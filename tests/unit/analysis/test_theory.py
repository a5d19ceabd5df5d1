"""C in worlds of known mutual information: bounds hold, good worlds are followed, misleading ones are not."""

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vialign.analysis.theory import (
    BATCH,
    WORLDS,
    calibrate,
    infonce,
    measure_world,
    score_sample,
    similarities,
    theory,
    trend,
)
from vialign.analysis.worlds import GaussianParts, Scenes, channel_information, symmetric_channel
from vialign.tables.theory import THEORY_WORLDS


@pytest.fixture(scope="module")
def tables():
    return theory()


@pytest.fixture(scope="module")
def trends(tables):
    return tables[1].set_index(["world", "measure"])


@pytest.fixture(scope="module")
def curves(tables):
    """A value by world and measure, one row a level, lowest information first."""
    return tables[0].pivot_table(index="mutual_information", columns=["world", "measure"], values="value", sort=True)


def test_every_world_has_every_measure_at_every_level(tables):
    table, _ = tables
    assert tuple(world.name for world in WORLDS) == THEORY_WORLDS
    for world in WORLDS:
        part = table[table["world"] == world.name]
        assert part.groupby("measure").size().nunique() == 1
        levels = part.groupby("parameter")["mutual_information"].unique()
        assert {float(value[0]) for value in levels} == {world.mutual_information(value) for value in world.grid}
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_c_follows_information_where_one_similarity_is_sure_and_the_other_sees_it(trends):
    assert trends.loc[("combination", "consistency"), "low"] > 0.8
    assert trends.loc[("combination", "consistency"), "change_low"] > 0.05
    assert trends.loc[("combination", "consistency auc exchanged"), "change_low"] > 0.3
    assert trends.loc[("gaussian", "consistency"), "correlation"] > 0.3


def test_c_misleads_where_both_are_blind_or_make_the_same_mistakes(trends, curves):
    for world in ("blind", "shared noise"):
        assert trends.loc[(world, "consistency"), "correlation"] < 0.3
        assert abs(trends.loc[(world, "consistency"), "change"]) < 0.03
    assert (curves["blind"]["consistency"].dropna() > curves["combination"]["consistency"].dropna()).all()
    assert (curves["blind"]["consistency auc exchanged"].dropna() == 0.5).all()
    without = curves["shared noise"]["consistency"].iloc[0]
    assert without > curves["gaussian"]["consistency"].iloc[:5].max()


def test_it_is_the_sharing_of_mistakes_that_misleads_and_not_their_size():
    def without_information(common):
        world = GaussianParts("shared noise", noise=0.5, common=common, information=(0.0, 8.0))
        frames = pd.concat([measure_world(world, seed, 200, 8) for seed in range(3)])
        return frames[(frames["measure"] == "consistency") & (frames["parameter"] == 0)]["value"]

    common, apart = without_information(common=True), without_information(common=False)
    assert common.min() > apart.max() and common.mean() > apart.mean() + 0.03


def test_agreement_follows_in_both_gaussian_worlds_and_tells_random_captions_apart(trends, curves):
    for world in ("gaussian", "shared noise"):
        assert trends.loc[(world, "agreement"), "low"] > 0.8
    assert (curves["combination"]["agreement auc random"].dropna() > 0.95).all()
    assert (curves["combination"]["consistency auc random"].dropna() < 0.6).all()


def test_c_dips_before_it_climbs_and_is_one_where_calibration_knows_nothing(curves):
    gaussian = curves["gaussian"]["consistency"].dropna()
    assert 0 < int(np.argmin(gaussian)) < len(gaussian) - 1
    own = curves["gaussian"]["consistency own"].dropna()
    assert own.iloc[0] > 0.95 and own.iloc[0] > own.iloc[1:6].max()


def test_bounds_keep_under_information_and_ceiling_and_the_best_critic_is_best(tables):
    table, _ = tables
    bounds = table[table["measure"].isin(["infonce", "infonce s_global", "infonce s_local"])]
    slack = (bounds["high"] - bounds["value"]).clip(lower=0.05)
    assert (bounds["value"] <= bounds["mutual_information"] + slack).all()
    assert (bounds["value"] <= math.log(BATCH)).all()
    assert (table.loc[table["measure"] == "infonce ceiling", "value"] == math.log(BATCH)).all()
    wide = bounds.pivot_table(index=["world", "parameter"], columns="measure", values="value")
    for measure in ("infonce s_global", "infonce s_local"):
        assert (wide[measure] <= wide["infonce"] + 0.1).all()
    most = wide.loc["gaussian"].sort_index().iloc[-1]
    assert most["infonce"] > 0.99 * math.log(BATCH), "24 nats fill any batch of this size"


@given(st.integers(2, 8), st.integers(0, 1000))
def test_infonce_is_the_loop_and_never_above_its_ceiling(pairs, seed):
    logits = np.random.default_rng(seed).normal(scale=5, size=(pairs, pairs))
    total = 0.0
    for i in range(pairs):
        row, column = np.exp(logits[i]), np.exp(logits[:, i])
        total += math.log(row[i] / row.mean()) / 2 + math.log(column[i] / column.mean()) / 2
    found = infonce(torch.from_numpy(logits))
    assert found == pytest.approx(total / pairs, abs=1e-9)
    assert found <= math.log(pairs) + 1e-12


@pytest.mark.parametrize("error", [0.05, 0.3, 2 / 3])
def test_the_expected_bound_is_under_the_information_by_enumeration(error):
    """All pairs of two scenes of three symbols with their captions, each with its probability, for two critics."""
    channel = symmetric_channel(3, error)
    information = channel_information(channel)
    critics = {"best": np.log(3 * channel), "other": np.array([[2.0, -1, 0], [0, 1, 0.5], [-2, 0, 3]])}
    for critic in critics.values():
        expected, mass = 0.0, 0.0
        for x, y, other_x, other_y in itertools.product(range(3), repeat=4):
            chance = channel[x, y] * channel[other_x, other_y] / 9
            logits = critic[np.ix_([x, other_x], [y, other_y])]
            expected += chance * infonce(torch.from_numpy(logits))
            mass += chance
        assert mass == pytest.approx(1)
        assert expected <= min(information, math.log(2)) + 1e-9
    if error == 0.05:
        assert expected < information - 0.2, "the other critic is a worse one"


def test_random_pairs_are_never_aligned_ones_and_local_similarity_reads_the_relation():
    sample = Scenes(noise=0.0, jitter=0.0, object_error=0.0).draw(0.0, 60, np.random.default_rng(0))
    scored = score_sample(sample)
    own = torch.arange(60)
    assert torch.allclose(scored.random.s_global, (sample.image * sample.text.roll(1, 0)).sum(-1))
    assert torch.equal(scored.aligned.s_local, similarities(sample, own, own).s_local)
    assert torch.allclose(scored.aligned.s_global, torch.ones(60, dtype=torch.float64))
    assert (scored.exchanged.s_local < scored.aligned.s_local - 0.2).all()
    assert torch.equal(scored.exchanged.s_global, scored.aligned.s_global)


def test_calibration_is_flat_without_information_and_steep_with_much():
    def slopes(information):
        world = GaussianParts(information=(information,))
        maps = calibrate([score_sample(world.draw(world.grid[0], 400, np.random.default_rng(1)))])
        return maps.s_global.slope, maps.s_local.slope

    assert max(slopes(0.0)) < 1.5 < 5 < min(slopes(16.0))


def test_twins_are_drawn_alike_and_a_seed_repeats():
    first, again = (measure_world(Scenes(), 5, 40, 8) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    twin = measure_world(Scenes("blind", reads_relations=False), 5, 40, 8)
    best = [frame.loc[frame["measure"] == "infonce", "value"].tolist() for frame in (first, twin)]
    assert best[0] == best[1]
    other = measure_world(Scenes(), 6, 40, 8)
    assert other.loc[other["measure"] == "infonce", "value"].tolist() != best[0]


def test_trend_of_a_rise_a_fall_and_a_constant():
    def found(values):
        return trend(pd.DataFrame({"mutual_information": [0.0, 1.0, 2.0], "value": values})).tolist()

    assert found([1.0, 2.0, 9.0]) == pytest.approx([1, 8])
    assert found([3.0, 2.0, 1.0]) == pytest.approx([-1, -2])
    assert math.isnan(found([1.0, 1.0, 1.0])[0]) and found([1.0, 1.0, 1.0])[1] == 0


def test_intervals_are_students_over_drawings():
    from scipy.stats import t

    table, _ = theory([Scenes(errors=(0.75, 0.0))], seeds=3, pairs=40, batch=8, seed=4)
    values = [
        float(frame.loc[frame["measure"] == "agreement", "value"].iloc[0])
        for frame in (measure_world(Scenes(errors=(0.75, 0.0)), 4 + number, 40, 8) for number in range(3))
    ]
    row = table[(table["measure"] == "agreement") & (table["parameter"] == 0.75)].iloc[0]
    half = t.interval(0.95, 2, scale=np.std(values, ddof=1) / math.sqrt(3))[1]
    assert row["value"] == pytest.approx(np.mean(values))
    assert row["high"] == pytest.approx(min(1, np.mean(values) + half))


def test_the_table_of_the_page_is_that_of_the_default_seed(repository, trends, curves):
    page = (repository / "docs/theory.md").read_text().replace("\N{MINUS SIGN}", "-")
    shown = {line.split("|")[1].strip(): line.split("|")[2:6] for line in page.splitlines() if line.count("|") == 6}
    for world in THEORY_WORLDS:
        for measure, (rank, change) in zip(
            ("consistency", "agreement"), (shown[world][:2], shown[world][2:]), strict=True
        ):
            row = trends.loc[(world, measure)]
            numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", rank + change)]
            assert numbers == pytest.approx(row[["correlation", "low", "high", "change"]].tolist(), abs=0.02)
    combination = {name: values.dropna().tolist() for name, values in curves["combination"].items()}
    exchanged, random = combination["consistency auc exchanged"], combination["consistency auc random"]
    assert exchanged[0] < 0.55 and exchanged[-1] > 0.9 and random[0] < 0.4 and max(random) < 0.55
    assert min(combination["agreement auc random"]) > 0.9 and min(combination["s_global"]) > 0.9
    gaussian = curves["gaussian"].dropna(subset=["infonce"])
    assert (gaussian["infonce s_local"] >= gaussian["infonce s_global"])[gaussian.index >= 2].all()
    assert f"log {BATCH}" in page
