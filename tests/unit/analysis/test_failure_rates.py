"""Rates and moves against a case done by hand and against loops over queries."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vialign.analysis.failures.rates import failure_tables
from vialign.evaluation.statistics import wilson_interval
from vialign.tables.failures import FAILURE_CLASSES, PHRASE_KINDS, QUERY_STATES

MISSING, COMBINATION, AMBIGUITY, OTHER = FAILURE_CLASSES


def run(queries):
    """OUTCOMES and FAILURES columns of (method, seed, benchmark, item, image, state, kind of phrase)."""
    rows = pd.DataFrame(
        queries, columns=["method", "seed", "benchmark", "item_id", "image_id", "failure", "phrase_kind"]
    )
    measure = np.where(rows["benchmark"].str.endswith("text_to_image"), "r1", "accuracy")
    outcomes = rows.assign(measure=measure, value=(rows["failure"] == "solved").astype(float))
    again = outcomes[outcomes["measure"] == "r1"].assign(measure="r5")
    return pd.concat([outcomes, again], ignore_index=True), rows[rows["failure"] != "solved"]


def tables(queries, draws=50, level=0.05, seed=0):
    return failure_tables(*run(queries), draws=draws, level=level, seed=seed)


def query(method, seed, item, state, kind="entity", benchmark="test/text_to_image", image=None):
    return (method, seed, benchmark, item, image or item, state, kind)


# Four queries; the frozen backbone fails on three, the method on two with one seed and on one with the other.
BY_HAND = [
    query("frozen", 0, "a", MISSING),
    query("frozen", 0, "b", COMBINATION, "relation"),
    query("frozen", 0, "c", COMBINATION, "relation"),
    query("frozen", 0, "d", "solved"),
    query("m", 0, "a", MISSING),
    query("m", 0, "b", "solved"),
    query("m", 0, "c", AMBIGUITY, "none"),
    query("m", 0, "d", "solved"),
    query("m", 1, "a", "solved"),
    query("m", 1, "b", "solved"),
    query("m", 1, "c", "solved"),
    query("m", 1, "d", OTHER, "attribute"),
]


def test_rates_of_a_case_done_by_hand():
    rates, _ = tables(BY_HAND)
    found = (
        rates[rates["benchmark"] == "test/text_to_image"].set_index(["method", "failure", "phrase_kind"]).sort_index()
    )
    assert found.loc[("frozen", "all", "all"), ["count", "rate", "share"]].tolist() == [3, 0.75, 1]
    assert found.loc[("frozen", COMBINATION, "relation"), ["count", "rate", "share"]].tolist() == [2, 0.5, 2 / 3]
    assert found.loc[("m", "all", "all"), ["count", "rate", "change"]].tolist() == [1.5, 0.375, -0.375]
    assert found.loc[("m", COMBINATION, "all"), ["rate", "change"]].tolist() == [0, -0.5]
    assert found.loc[("m", "all", "attribute"), ["rate", "change"]].tolist() == [0.125, 0.125]
    assert found.loc[("m", AMBIGUITY, "none"), ["share", "change"]].tolist() == [pytest.approx(1 / 3), 0.125]
    assert set(found["queries"]) == {4} and set(found["images"]) == {4}
    assert found.loc["frozen", "change"].isna().all()
    assert (found["low"] <= found["rate"]).all() and (found["rate"] <= found["high"]).all()


def test_moves_of_a_case_done_by_hand():
    _, moves = tables(BY_HAND)
    found = moves[moves["benchmark"] == "test/text_to_image"].set_index(["before", "after"])
    assert set(found["method"]) == {"m"}
    assert found.loc[(MISSING, MISSING), "count"] == 0.5 and np.isnan(found.loc[(MISSING, MISSING), "net"])
    assert found.loc[(COMBINATION, "solved"), ["count", "share", "net"]].tolist() == [1.5, 0.375, 0.375]
    assert found.loc[("solved", OTHER), ["share", "net"]].tolist() == [0.125, 0.125]
    assert found.loc[(OTHER, "solved"), ["share", "net"]].tolist() == [0, -0.125]
    assert found["share"].sum() == 1


def random_run(seed, items=30, images=9, methods=("frozen", "m", "other"), seeds=2):
    draw = np.random.default_rng(seed)
    queries = []
    for benchmark, count in (("test/text_to_image", items), ("test/choice", items // 2)):
        belongs = draw.integers(images, size=count)
        for method in methods:
            for number in range(1 if method == "frozen" else seeds):
                for item in range(count):
                    state = QUERY_STATES[draw.choice(5, p=[0.5, 0.1, 0.2, 0.1, 0.1])]
                    kind = PHRASE_KINDS[draw.integers(4)]
                    queries.append(query(method, number, f"q{item}", state, kind, benchmark, f"i{belongs[item]}"))
    return queries


@settings(max_examples=8)
@given(st.integers(0, 2**31))
def test_tables_equal_loops_over_the_queries(seed):
    queries = random_run(seed)
    rates, moves = tables(queries)
    for benchmark in ("test/text_to_image", "test/choice", "test/all"):
        own = [q for q in queries if benchmark in (q[2], "test/all")]
        state = {q[:4]: q[5] for q in own}
        total = len({q[2:4] for q in own})
        for row in rates[rates["benchmark"] == benchmark].to_dict("records"):
            seeds = {q[1] for q in own if q[0] == row["method"]}
            count = sum(
                q[0] == row["method"]
                and q[5] != "solved"
                and row["failure"] in ("all", q[5])
                and row["phrase_kind"] in ("all", q[6])
                for q in own
            )
            assert row["queries"] == total and row["seeds"] == len(seeds)
            assert row["count"] == pytest.approx(count / len(seeds))
            assert row["rate"] == pytest.approx(count / len(seeds) / total)
        for row in moves[moves["benchmark"] == benchmark].to_dict("records"):
            seeds = {q[1] for q in own if q[0] == row["method"]}
            count = sum(
                state[("frozen", 0, *q[2:4])] == row["before"] and q[5] == row["after"]
                for q in own
                if q[0] == row["method"]
            )
            assert row["count"] == pytest.approx(count / len(seeds))


@settings(max_examples=8)
@given(st.integers(0, 2**31))
def test_moves_add_up_to_the_rates_before_and_after(seed):
    rates, moves = tables(random_run(seed))
    rates = rates[rates["phrase_kind"] == "all"].set_index(["method", "benchmark", "failure"])["rate"]
    for (method, benchmark), own in moves.groupby(["method", "benchmark"]):
        assert own["share"].sum() == pytest.approx(1)
        for failure in FAILURE_CLASSES:
            before = own.loc[own["before"] == failure, "share"].sum()
            after = own.loc[own["after"] == failure, "share"].sum()
            assert before == pytest.approx(rates["frozen", benchmark, failure])
            assert after == pytest.approx(rates[method, benchmark, failure])
        square = own.pivot(index="before", columns="after", values="net").fillna(0)
        assert np.allclose(square, -square.T)


def test_intervals_resample_images_and_pair_the_methods():
    """Oracle: one loop over resamples of the list of images, with another generator."""
    queries = random_run(3, items=120, images=25, methods=("frozen", "m"), seeds=1)
    # Queries of one image fail together, so images, not queries, are what is independent.
    queries = [(*q[:5], COMBINATION if int(q[4][1:]) % 3 == 0 else q[5], q[6]) if q[0] == "m" else q for q in queries]
    rates, moves = tables(queries, draws=3000)
    own = [q for q in queries if q[2] == "test/text_to_image"]
    images = sorted({q[4] for q in own})
    of = {image: [q for q in own if q[4] == image] for image in images}
    before = {q[3]: q[5] for q in own if q[0] == "frozen"}
    draw = np.random.default_rng(5)
    drawn = []
    for _ in range(3000):
        picked = [q for place in draw.integers(len(images), size=len(images)) for q in of[images[place]]]
        mine = [q for q in picked if q[0] == "m"]
        failed = np.mean([q[5] == COMBINATION for q in mine])
        drawn.append(
            (
                failed,
                failed - np.mean([q[5] == COMBINATION for q in picked if q[0] == "frozen"]),
                failed / np.mean([q[5] != "solved" for q in mine]),
                np.mean([(before[q[3]] == "solved") * (q[5] == COMBINATION) for q in mine])
                - np.mean([(before[q[3]] == COMBINATION) * (q[5] == "solved") for q in mine]),
            )
        )
    expected = np.quantile(drawn, [0.025, 0.975], axis=0).T
    chosen = (rates["method"] == "m") & (rates["benchmark"] == "test/text_to_image")
    row = rates[chosen & (rates["failure"] == COMBINATION) & (rates["phrase_kind"] == "all")].iloc[0]
    move = moves[moves["benchmark"] == "test/text_to_image"].set_index(["before", "after"]).loc[("solved", COMBINATION)]
    found = [
        (row["low"], row["high"]),
        (row["change_low"], row["change_high"]),
        (row["share_low"], row["share_high"]),
        (move["net_low"], move["net_high"]),
    ]
    assert np.allclose(found, expected, atol=0.02)
    # Control: taking each query for a cluster of its own would claim too much.
    alone, _ = tables([(*q[:4], q[2] + q[3], *q[5:]) for q in queries], draws=3000)
    naive = alone[chosen & (rates["failure"] == COMBINATION) & (rates["phrase_kind"] == "all")].iloc[0]
    assert naive["high"] - naive["low"] < 0.8 * (row["high"] - row["low"])


def test_seeds_that_differ_widen_an_interval_and_equal_seeds_do_not_narrow_it():
    same = [query("m", s, f"q{n}", COMBINATION if n % 4 == 0 else "solved") for s in (0, 1) for n in range(80)]
    differing = [query("m", s, f"q{n}", COMBINATION if n % 4 < 2 * s else "solved") for s in (0, 1) for n in range(80)]

    def width(queries):
        rates, moves = tables(queries, draws=1000)
        assert moves.empty and rates["change"].isna().all(), "there is no frozen backbone here"
        row = rates[(rates["failure"] == COMBINATION) & (rates["phrase_kind"] == "all")].iloc[0]
        assert row["rate"] == 0.25 and row["seeds"] == 2
        return row["high"] - row["low"]

    one = width([q for q in same if q[1] == 0] + [(*q[:1], 1, *q[2:]) for q in same if q[1] == 0])
    assert width(same) == pytest.approx(one) and width(differing) > 2 * one


def test_none_of_a_class_is_no_certainty():
    rates, moves = tables(BY_HAND)
    high = wilson_interval(0, 4, 0.05)[1]
    none = rates[(rates["rate"] == 0)]
    assert len(none) and np.allclose(none["high"], high) and (none["low"] == 0).all()
    never = moves.set_index(["before", "after"]).loc[(AMBIGUITY, MISSING)].iloc[0]
    assert (never["net"], never["net_low"], never["net_high"]) == (0, -high, pytest.approx(high))


def test_a_method_that_never_fails_has_no_mix_of_failures():
    rates, _ = tables([query("m", 0, f"q{n}", "solved") for n in range(5)])
    assert rates["share"].isna().all() and (rates["rate"] == 0).all()


def test_methods_on_other_queries_and_failures_of_no_query_are_refused():
    outcomes, failures = run(BY_HAND)
    with pytest.raises(ValueError, match="same items"):
        failure_tables(outcomes.drop(index=0), failures.drop(index=0), draws=10, level=0.05, seed=0)
    with pytest.raises(ValueError, match="belong to no query"):
        failure_tables(outcomes, failures.assign(item_id="elsewhere"), draws=10, level=0.05, seed=0)


def test_the_same_seed_gives_the_same_tables():
    queries = random_run(1)
    one, two, other = tables(queries, seed=4), tables(queries, seed=4), tables(queries, seed=5)
    pd.testing.assert_frame_equal(one[0], two[0])
    pd.testing.assert_frame_equal(one[1], two[1])
    assert not one[0].equals(other[0])
