from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vialign.config.experiment import Config
from vialign.evaluation.compare import comparison_table, results_table
from vialign.evaluation.compare_job import compare_methods
from vialign.evaluation.two_level import two_level
from vialign.files.artifacts import read_table, write_table
from vialign.stage import Run
from vialign.tables.evaluation import COMPARISONS, OUTCOMES, RANKS, RESULTS


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
    table = RESULTS.check(results_table(pd.concat([first, second]))).set_index("convention")
    assert table.loc["micro", "value"] == pytest.approx((2 + 3) / 8)
    assert table.loc["macro", "value"] == pytest.approx(((1 + 1 / 3) / 2 + (1 + 2 / 3) / 2) / 2)
    assert table.loc["micro", ["items", "seeds", "ties"]].tolist() == [4, 2, 1]


def test_without_tags_there_is_no_macro_mean():
    assert set(results_table(three_methods())["convention"]) == {"micro"}


def test_the_interval_of_a_mean_is_the_textbook_one_for_many_independent_items():
    table = results_table(three_methods(4000)).set_index("method")
    frozen = table.loc["frozen"]
    error = (frozen["value"] * (1 - frozen["value"]) / 4000) ** 0.5
    assert frozen["high"] - frozen["low"] == pytest.approx(2 * 1.96 * error, rel=1e-3)


def test_a_perfect_score_is_not_certain():
    row = results_table(outcomes_of("m", 0, np.ones(20))).iloc[0]
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
    # Methods that agree on every item could differ by one that was not drawn: nothing is certain.
    reach = stats.t.ppf(0.975, 399) / 400
    assert copy[["difference", "low", "high", "p_value"]].tolist() == pytest.approx([0, -reach, reach, 1])
    # Every difference is a gain, so its paired error is far below that of two unpaired shares.
    unpaired = 2 * 1.96 * (2 * 0.25 / 400) ** 0.5
    assert gain["high"] - gain["low"] < 0.75 * unpaired
    assert copy["detectable"] == pytest.approx(reach + stats.t.ppf(0.8, 399) / 400)
    assert table.loc[("copy", "lora"), "difference"] == pytest.approx(-gain["difference"])


def test_with_one_seed_the_test_is_the_paired_t_test_over_images_alone():
    rng = np.random.default_rng(3)
    frozen, method = rng.random(60) < 0.5, rng.random(60) < 0.65
    expected = stats.ttest_rel(method.astype(float), frozen.astype(float))
    frames = [outcomes_of("frozen", 0, frozen), outcomes_of("m", 0, method)]
    alone = comparison_table(pd.concat(frames)).iloc[0]
    assert alone["p_value"] == pytest.approx(expected.pvalue)
    assert alone[["low", "high"]].tolist() == pytest.approx(list(expected.confidence_interval()))
    assert alone[["item_low", "item_high"]].tolist() == alone[["low", "high"]].tolist()
    assert (alone["seeds"], alone["df"]) == (1, 59) and np.isnan(alone["seed_spread"])
    # Five copies of sixty items are as much evidence as sixty items.
    images = [f"image{n // 5}" for n in range(300)]
    frames = [outcomes_of(name, 0, np.repeat(v, 5), images=images) for name, v in (("frozen", frozen), ("m", method))]
    copies = comparison_table(pd.concat(frames)).iloc[0]
    told = ["difference", "low", "high", "p_value", "detectable", "df"]
    assert copies[told].tolist() == pytest.approx(alone[told].tolist())
    assert copies["items"] == 300


def seeded(name, hard, cuts):
    """A method that gets right what is easier than its seed's cut."""
    return [outcomes_of(name, seed, hard < cut) for seed, cut in cuts.items()]


def test_same_seeds_are_paired():
    """Two methods that share the luck of each seed differ by a constant: no spread of seeds is left."""
    hard = np.random.default_rng(0).permutation(1000)
    cuts = dict(enumerate((300, 500, 700)))
    shifted = {seed: cut + 50 for seed, cut in cuts.items()}
    row = comparison_table(pd.concat([*seeded("lora", hard, cuts), *seeded("m", hard, shifted)])).iloc[0]
    assert row["difference"] == pytest.approx(0.05) and row["seeds"] == 3
    assert row["seed_spread"] == pytest.approx(0, abs=1e-9)
    assert row["low"] > 0.03
    # The control: other seeds, nothing to pair, so the spread of both counts.
    other = {seed + 10: cut for seed, cut in shifted.items()}
    apart = comparison_table(pd.concat([*seeded("lora", hard, cuts), *seeded("m", hard, other)])).iloc[0]
    assert apart["difference"] == pytest.approx(0.05) and apart["low"] < -0.1
    assert apart["seed_spread"] == pytest.approx(2**0.5 * 0.2)


def test_only_the_seeds_of_both_are_paired_whatever_the_order_of_the_rows():
    """Seeds 1 and 2 are common: any other choice or order of columns gives another difference or spread."""
    hard = np.random.default_rng(0).permutation(1000)
    lora = seeded("lora", hard, {0: 100, 1: 300, 2: 500})
    method = seeded("m", hard, {1: 340, 2: 560, 5: 900})
    row = comparison_table(pd.concat([*lora[::-1], *method[::-1]])).iloc[0]
    assert row["difference"] == pytest.approx((0.04 + 0.06) / 2) and row["seeds"] == 2
    assert row["seed_spread"] == pytest.approx(0.02 / 2**0.5)


def test_the_spread_of_a_methods_seeds_counts_against_the_frozen_backbone():
    hard = np.random.default_rng(0).permutation(1000)
    frozen = outcomes_of("frozen", 0, hard < 400)
    even = seeded("even", hard, dict.fromkeys(range(5), 500))
    uneven = seeded("uneven", hard, dict(enumerate((300, 400, 500, 600, 700))))
    table = comparison_table(pd.concat([frozen, *even, *uneven])).set_index("method")
    assert table["difference"].tolist() == pytest.approx([0.1, 0.1])
    assert table["seeds"].tolist() == [5, 5]
    assert table["seed_spread"].tolist() == pytest.approx([0, np.std([0.3, 0.4, 0.5, 0.6, 0.7], ddof=1)])
    assert table.loc["even", "p_value"] < 1e-6 < 0.05 < table.loc["uneven", "p_value"]
    assert table.loc["even", "df"] == pytest.approx(999) and table.loc["uneven", "df"] < 5
    # Over images alone, for these very seeds, both are as sure.
    assert (table["item_low"] > 0.07).all()


def test_a_run_compares_no_measure_that_tells_the_items_of_another_again(tmp_path):
    parts = [
        outcomes_of(method, 0, [1, 0, 0, won], benchmark="winoground/winoground").assign(measure=measure)
        for method, won in (("frozen", 0), ("lora", 1))
        for measure in ("group", "match")
    ]
    write_table(pd.concat(parts, ignore_index=True), OUTCOMES, tmp_path / "outcomes.parquet", {})
    write_table(RANKS.empty(), RANKS, tmp_path / "own_ranks.parquet", {})
    files = {name: tmp_path / f"{name}.parquet" for name in ("results", "ranks", "comparisons")}
    given = SimpleNamespace(outcomes=[tmp_path / "outcomes.parquet"], ranks=[tmp_path / "own_ranks.parquet"])
    params, output = SimpleNamespace(own=[]), SimpleNamespace(**files)
    compare_methods(Run(given, output, params, None, 1, Config(), {}))
    assert set(read_table(files["results"], RESULTS)["measure"]) == {"group", "match"}
    assert read_table(files["comparisons"], COMPARISONS)["measure"].tolist() == ["group"]


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


def test_all_pairs_share_one_pass_over_the_items(monkeypatch):
    """One benchmark of 10 methods x 3 seeds x 5,000 items: one matrix of products, or it would take minutes."""
    rng = np.random.default_rng(0)
    frames = [outcomes_of(f"m{m}" if m else "frozen", s, rng.random(5000) < 0.4) for m in range(10) for s in range(3)]
    passes = []

    def counted(values, contrasts):
        passes.append((values.shape, len(contrasts)))
        return two_level(values, contrasts)

    monkeypatch.setattr("vialign.evaluation.compare.two_level", counted)
    assert len(comparison_table(pd.concat(frames))) == 9
    assert passes == [((5000, 30), 9)]
