import numpy as np
import pandas as pd
import pytest
from scipy import stats

from planted import CALIBRATION, Vocabulary, planted_world
from vialign.config.signal import SignalConfig
from vialign.evaluation.agreement import agreement_table, bootstrap_tau_b, rating_agreement
from vialign.tables.data import RATINGS
from vialign.tables.evaluation import AGREEMENT
from vialign.tables.signal import REFERENCES, SIGNALS


def rated(images=40, each=6, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    rating = rng.integers(5, size=images * each) / 4
    frame = pd.DataFrame(
        {
            "image_id": np.repeat([f"i{n}" for n in range(images)], each),
            "caption_id": [f"c{n}" for n in range(images * each)],
            "source": "crowd",
            "judge": 0,
            "rating": rating,
        }
    )
    scores = frame[["image_id"]].assign(
        text_id=frame["caption_id"],
        s_global=rating + noise * rng.normal(size=len(frame)),
        chance=rng.random(len(frame)),
    )
    return frame, scores.sample(frac=1, random_state=0)


def test_tau_is_that_of_every_pair_of_items_and_follows_the_pairs_not_the_order():
    ratings, scores = rated(8, 4)
    row = agreement_table(scores, ratings, ["s_global"], "crowd", replicates=20).iloc[0]
    merged = ratings.merge(scores, left_on="caption_id", right_on="text_id")
    x, y = merged["s_global"].to_numpy(), merged["rating"].to_numpy()
    sign = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
    untied = [np.abs(np.sign(v[:, None] - v)).sum() for v in (x, y)]
    assert row["tau_b"] == pytest.approx(sign.sum() / (untied[0] * untied[1]) ** 0.5)
    levels = len(np.unique(y))
    assert row["tau_c"] == pytest.approx(sign.sum() * levels / (len(x) ** 2 * (levels - 1)))


def test_a_signal_agrees_and_chance_does_not():
    ratings, scores = rated()
    table = AGREEMENT.check(agreement_table(scores, ratings, ["s_global", "chance"], "crowd", replicates=200))
    table = table.set_index("signal")
    assert table.loc["s_global", "low"] > 0.3
    assert table.loc["chance", "low"] < 0 < table.loc["chance", "high"]
    assert (table["low"] <= table["tau_b"]).all()
    assert (table["tau_b"] <= table["high"]).all()


def test_the_bootstrap_resamples_images_not_pairs():
    """Twenty copies of each pair of ten images: the interval must stay that of ten images."""
    rng = np.random.default_rng(1)
    score, rating = rng.normal(size=10), rng.normal(size=10)
    alone = bootstrap_tau_b(score, rating, np.arange(10), 400, 0)
    copied = bootstrap_tau_b(np.repeat(score, 20), np.repeat(rating, 20), np.repeat(np.arange(10), 20), 400, 0)
    assert np.nanstd(copied) == pytest.approx(np.nanstd(alone), rel=0.05)


def test_a_rated_pair_without_score_is_an_error_and_no_ratings_are_none():
    ratings, scores = rated(4, 3)
    with pytest.raises(ValueError, match="1 rated pairs have no score"):
        agreement_table(scores[scores["text_id"] != "c5"], ratings, ["s_global"], "crowd")
    assert agreement_table(scores, ratings.iloc[:0], ["s_global"], "crowd").empty


def test_ratings_of_a_split_are_scored_by_every_signal_and_outsiders_are_counted(capsys):
    data = planted_world(Vocabulary(16), 12, 0)
    captions = data.texts.loc[data.texts["kind"] == "caption"]
    own = captions.assign(rating=1.0)
    following = dict(zip(data.image_ids, np.roll(data.image_ids, 1).tolist(), strict=True))
    other = captions.assign(image_id=captions["image_id"].map(following), rating=0.0)
    ratings = pd.concat([own, other]).rename(columns={"text_id": "caption_id"}).assign(source="crowd", judge=0)
    ratings = ratings[list(RATINGS.columns)]
    ratings = pd.concat([ratings, pd.DataFrame([("nowhere", "c", "crowd", 0, 0.5)], columns=ratings.columns)])
    table = rating_agreement(data, ratings, CALIBRATION, SignalConfig()).set_index("signal")
    assert set(table.index) == set(SIGNALS)
    assert table.loc["s_global", "tau_b"] > 0.3
    assert (table["pairs"] == len(ratings) - 1).all()
    assert f"1 of {len(ratings)} ratings are of pairs that are not in this split" in capsys.readouterr().out


def test_reference_signals_are_asked_for_the_rated_pairs_and_empty_ones_have_no_row():
    data = planted_world(Vocabulary(16), 12, 0)
    own = data.texts.loc[data.texts["kind"] == "caption"].rename(columns={"text_id": "caption_id"})
    following = dict(zip(data.image_ids, np.roll(data.image_ids, 1).tolist(), strict=True))
    rated = pd.concat([own, own.assign(image_id=own["image_id"].map(following))]).assign(source="crowd", judge=0)
    rated["rating"] = np.random.default_rng(0).integers(5, size=len(rated)) / 4
    ratings = rated[list(RATINGS.columns)]
    rating_of = dict(zip(zip(ratings["image_id"], ratings["caption_id"], strict=True), ratings["rating"], strict=True))

    def references(pairs: pd.DataFrame) -> pd.DataFrame:
        values = [rating_of[pair] for pair in zip(pairs["image_id"], pairs["text_id"], strict=True)]
        return REFERENCES.check(pairs.assign(s_token=values, s_words=-np.array(values), blind=np.nan))

    table = rating_agreement(data, ratings, CALIBRATION, SignalConfig(), references=references).set_index("signal")
    assert set(table.index) == {*SIGNALS, "s_token", "s_words"}
    assert table.loc["s_token", "tau_b"] == pytest.approx(1) and table.loc["s_words", "tau_b"] == pytest.approx(-1)

    def never(pairs: pd.DataFrame) -> pd.DataFrame:
        raise AssertionError("references are not needed without ratings")

    assert rating_agreement(data, ratings[:0], CALIBRATION, SignalConfig(), references=never).empty


def test_every_judgement_of_a_pair_counts_on_its_own_and_pairs_are_counted_once():
    ratings, scores = rated(8, 4)
    judged = pd.concat([ratings.assign(judge=n, rating=ratings["rating"] + n) for n in range(3)])
    row = agreement_table(scores, judged, ["s_global"], "expert", replicates=20).iloc[0]
    merged = judged.merge(scores, left_on="caption_id", right_on="text_id")
    tau = stats.kendalltau(merged["s_global"], merged["rating"], variant="c").statistic
    assert len(merged) == 3 * len(ratings)
    assert row["tau_c"] == pytest.approx(tau)
    assert row["pairs"] == len(ratings)


def test_experts_and_crowd_are_held_apart_and_only_experts_lose_own_captions():
    data = planted_world(Vocabulary(16), 12, 0)
    captions = data.texts.loc[data.texts["kind"] == "caption"].rename(columns={"text_id": "caption_id"})
    following = dict(zip(data.image_ids, np.roll(data.image_ids, 1).tolist(), strict=True))
    own = captions.assign(rating=np.arange(len(captions)) % 4 + 1.0)
    other = own.assign(image_id=captions["image_id"].map(following))
    expert = [pairs.assign(source="expert", judge=judge) for pairs in (own, other) for judge in range(3)]
    crowd = [pairs.assign(source="crowdflower", judge=0) for pairs in (own, other)]
    ratings = RATINGS.check(pd.concat([*expert, *crowd])[list(RATINGS.columns)])
    table = rating_agreement(data, ratings, CALIBRATION, SignalConfig()).set_index("ratings")
    assert (table.loc["expert", "pairs"] == len(captions)).all()
    assert (table.loc["crowdflower", "pairs"] == 2 * len(captions)).all()
    alone = ratings[
        (ratings["source"] == "expert")
        & ratings["image_id"].ne(
            ratings["caption_id"].map(dict(zip(captions["caption_id"], captions["image_id"], strict=True)))
        )
    ]
    expected = rating_agreement(data, alone, CALIBRATION, SignalConfig())
    pd.testing.assert_frame_equal(table.loc["expert"].reset_index()[expected.columns], expected)
