import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from vialign.evaluation.compare import comparison_table, results_table
from vialign.evaluation.statistics import detectable_effect, mcnemar, replicate_means
from vialign.tables.evaluation import COMPARISONS, RESULTS


def outcomes_of(method, seed, values, *, benchmark="test/aro", tags=None, images=None, ties=None):
    items = [f"item{n:05}" for n in range(len(values))]
    return pd.DataFrame(
        {
            "method": method,
            "seed": seed,
            "benchmark": benchmark,
            "item_id": items,
            "measure": "accuracy",
            "value": np.asarray(values, dtype=float),
            "tag": tags,
            "tie": False if ties is None else ties,
            "chosen": None,
            "image_id": items if images is None else images,
        }
    )


def three_methods(items=400, seed=0):
    """Frozen at 50 %; lora right wherever frozen is, and on a fifth of the rest; a copy of frozen."""
    rng = np.random.default_rng(seed)
    frozen = rng.random(items) < 0.5
    frames = [outcomes_of("frozen", 0, frozen), outcomes_of("copy", 0, frozen)]
    frames += [outcomes_of("lora", s, frozen | (rng.random(items) < 0.2)) for s in (0, 1, 2)]
    return pd.concat(frames)


def test_results_are_means_over_items_and_seeds_with_ties_counted():
    tags = ["rare", "common", "common", "common"]
    first = outcomes_of("m", 0, [1, 0, 0, 1], tags=tags, ties=[False, True, False, False])
    second = outcomes_of("m", 1, [1, 1, 0, 1], tags=tags)
    table = RESULTS.check(results_table(pd.concat([first, second]), 200)).set_index("convention")
    assert table.loc["micro", "value"] == pytest.approx((2 + 3) / 8)
    assert table.loc["macro", "value"] == pytest.approx(((1 + 1 / 3) / 2 + (1 + 2 / 3) / 2) / 2)
    assert table.loc["micro", ["items", "seeds", "ties"]].tolist() == [4, 2, 1]


def test_without_tags_there_is_no_macro_mean():
    assert set(results_table(three_methods(), 200)["convention"]) == {"micro"}


def test_the_interval_of_a_mean_is_the_textbook_one_for_many_independent_items():
    table = results_table(three_methods(4000), 4000).set_index("method")
    frozen = table.loc["frozen"]
    error = (frozen["value"] * (1 - frozen["value"]) / 4000) ** 0.5
    assert frozen["high"] - frozen["low"] == pytest.approx(2 * 1.96 * error, rel=0.08)


def test_a_perfect_score_is_not_certain():
    row = results_table(outcomes_of("m", 0, np.ones(20)), 200).iloc[0]
    assert (row["value"], row["high"]) == (1, 1)
    assert 0.8 < row["low"] < 0.9


def test_the_spread_of_seeds_widens_the_interval():
    rng = np.random.default_rng(0)
    hard = rng.random(2000)
    even = pd.concat([outcomes_of("m", s, hard < 0.5) for s in range(3)])
    uneven = pd.concat([outcomes_of("m", s, hard < share) for s, share in enumerate((0.3, 0.5, 0.7))])
    width = [table["high"][0] - table["low"][0] for table in (results_table(even), results_table(uneven))]
    assert width[1] > 3 * width[0]


def test_comparisons_are_paired_and_a_copy_does_not_differ():
    table = COMPARISONS.check(comparison_table(three_methods())).set_index(["method", "reference"])
    assert set(table.index) == {("lora", "frozen"), ("copy", "frozen"), ("copy", "lora")}
    gain, copy = table.loc[("lora", "frozen")], table.loc[("copy", "frozen")]
    assert gain["low"] > 0.05
    assert gain["p_holm"] < 1e-6
    assert (copy["difference"], copy["low"], copy["high"], copy["p_value"]) == (0, 0, 0, 1)
    # Every difference is a gain, so its paired error is far below that of two unpaired shares.
    unpaired = 2 * 1.96 * (2 * 0.25 / 400) ** 0.5
    assert gain["high"] - gain["low"] < 0.75 * unpaired
    assert copy["detectable"] == pytest.approx(detectable_effect(1 / 400, 0.05))
    assert table.loc[("copy", "lora"), "difference"] == pytest.approx(-gain["difference"])


def test_the_p_value_is_mcnemars_for_single_items_and_the_bootstraps_for_clusters():
    rng = np.random.default_rng(3)
    frozen, method = rng.random(300) < 0.5, rng.random(300) < 0.6
    single = pd.concat([outcomes_of("frozen", 0, frozen), outcomes_of("m", 0, method)])
    table = [[0, (method & ~frozen).sum()], [(frozen & ~method).sum(), 0]]
    expected = reference_mcnemar(table, exact=True).pvalue
    assert comparison_table(single)["p_value"][0] == pytest.approx(expected)
    images = [f"image{n // 5}" for n in range(300)]
    same = [np.repeat(values[:60], 5) for values in (frozen, method)]
    clustered = pd.concat(
        [outcomes_of(name, 0, v, images=images) for name, v in zip(["frozen", "m"], same, strict=True)]
    )
    first = pd.concat([outcomes_of("frozen", 0, frozen[:60]), outcomes_of("m", 0, method[:60])])
    # Five copies of sixty items are as much evidence as sixty items; McNemar's test would take them for 300.
    alone, copies = comparison_table(first).iloc[0], comparison_table(clustered).iloc[0]
    assert 0.5 < copies["p_value"] / alone["p_value"] < 2
    assert mcnemar(same[1], same[0]) < copies["p_value"] / 3
    assert copies["high"] == pytest.approx(alone["high"], abs=0.02)


def test_mcnemar_compares_the_first_seed_of_both_methods():
    """Any other choice of columns, on either side, would give another p-value."""
    rng = np.random.default_rng(8)
    columns = {
        (name, seed): rng.random(300) < base + 0.04 * seed
        for name, base in (("frozen", 0.5), ("m", 0.62))
        for seed in range(3)
    }
    # The order of the rows says nothing about which seed is the first.
    frames = [outcomes_of(name, seed, columns[name, seed]) for name, seed in reversed(columns)]
    by_choice = {
        (one, other): reference_mcnemar(
            [
                [0, (columns["m", one] & ~columns["frozen", other]).sum()],
                [(columns["frozen", other] & ~columns["m", one]).sum(), 0],
            ],
            exact=True,
        ).pvalue
        for one in range(3)
        for other in range(3)
    }
    expected = by_choice.pop((0, 0))
    assert all(abs(value / expected - 1) > 0.05 for value in by_choice.values())
    assert comparison_table(pd.concat(frames), [("m", "frozen")])["p_value"][0] == pytest.approx(expected)


def test_same_seeds_are_paired():
    """Two methods that share the luck of each seed differ by a constant: no spread is left."""
    hard = np.random.default_rng(0).permutation(1000)
    frames = [outcomes_of("lora", s, hard < cut) for s, cut in enumerate((300, 500, 700))]
    frames += [outcomes_of("m", s, hard < cut + 50) for s, cut in enumerate((300, 500, 700))]
    row = comparison_table(pd.concat(frames)).iloc[0]
    assert row["difference"] == pytest.approx(0.05)
    assert row["low"] > 0.03
    shifted = pd.concat(frames).assign(seed=lambda f: f["seed"] + 10 * (f["method"] == "m"))
    assert comparison_table(shifted)["low"][0] < -0.1  # the control: other seeds, nothing to pair


def test_holm_spans_the_whole_table():
    table = comparison_table(three_methods())
    assert (table["p_holm"] >= table["p_value"]).all()
    assert (table["p_holm"] > table["p_value"]).any()


def test_different_items_are_refused():
    frames = [outcomes_of("frozen", 0, np.ones(5)), outcomes_of("m", 0, np.ones(4))]
    with pytest.raises(ValueError, match="m, seed 0 lacks items"):
        comparison_table(pd.concat(frames))


def test_empty_outcomes_give_empty_tables():
    empty = outcomes_of("m", 0, [])
    assert results_table(empty).empty
    assert comparison_table(empty).empty


def test_all_methods_and_seeds_share_one_bootstrap(monkeypatch):
    """One benchmark of 10 methods x 3 seeds x 5,000 items: one pass over all of them, or it would take minutes."""
    rng = np.random.default_rng(0)
    frames = [outcomes_of(f"m{m}" if m else "frozen", s, rng.random(5000) < 0.4) for m in range(10) for s in range(3)]
    outcomes = pd.concat(frames)
    passes = []

    def counted(sums, *arguments):
        passes.append(sums.shape)
        return replicate_means(sums, *arguments)

    monkeypatch.setattr("vialign.evaluation.compare.replicate_means", counted)
    assert len(comparison_table(outcomes)) == 9
    assert passes == [(5000, 30, 2)]  # the items, one by one and all together
