import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from vialign.errors import UserError
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import build_pairs, calibrate_signal, score_pairs
from vialign.signal.validation.diagnosis import HARD, cohen_d, contrast, diagnose
from vialign.signal.validation.resampling import auc, holm
from vialign.tables.signal import SIGNALS

KINDS = ("random", "replace_relation", "shuffle")


@pytest.fixture(scope="module")
def scores(world, small_config) -> pd.DataFrame:
    pairs = build_pairs(world.texts, world.features.image_ids, KINDS, 100, 0)
    maps = SignalCalibration.from_table(calibrate_signal(pairs, world.features, small_config, 0))
    return score_pairs(pairs, world.features, maps, small_config, 0)


def test_a_negative_meets_the_caption_it_was_made_from(scores):
    found = contrast(scores.sample(frac=1, random_state=0), "replace_relation")
    assert (found.aligned["text_id"].to_numpy() + "!replace_relation" == found.misaligned["text_id"].to_numpy()).all()
    assert (found.aligned["image_id"].to_numpy() == found.misaligned["image_id"].to_numpy()).all()
    right = found.aligned["s_local"].to_numpy() > found.misaligned["s_local"].to_numpy()
    assert found.auc("s_local") == pytest.approx(right.mean())


def test_hard_is_all_negatives_and_random_is_the_roc_curve(scores):
    parts = [contrast(scores, kind) for kind in KINDS[1:]]
    pooled = contrast(scores, HARD)
    sizes = [len(part.misaligned) for part in parts]
    assert pooled.auc("s_sum") == pytest.approx(np.average([part.auc("s_sum") for part in parts], weights=sizes))
    by_kind = scores.groupby("kind")["s_sum"]
    expected = auc(by_kind.get_group("aligned").to_numpy(), by_kind.get_group("random").to_numpy())
    assert contrast(scores, "random").auc("s_sum") == pytest.approx(expected)


def test_diagnosis_finds_what_was_planted_and_nothing_else(scores, small_config):
    table = diagnose(scores, small_config, 0.05, 0).set_index(["signal", "kind"])
    planted, none = table.loc["s_local", "replace_relation"], table.loc["s_local", "shuffle"]
    assert planted["low"] > 0.8 and planted["p_holm"] < 0.05 and planted["cohen_d"] > 1
    assert none["p_holm"] > 0.05
    assert table.loc["s_global", "random"]["low"] > 0.8
    np.testing.assert_allclose(table["p_holm"], holm(table["p_value"].to_numpy()))
    assert ((table["low"] <= table["auc"] + 1e-9) & (table["auc"] <= table["high"] + 1e-9)).all()


def test_diagnosis_repeats_by_seed(scores, small_config):
    one, again, other = (diagnose(scores, small_config, 0.05, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one["low"].equals(other["low"]) and one["auc"].equals(other["auc"])


def test_a_turned_signal_gives_the_mirrored_area_and_the_same_p(scores, small_config):
    turned = scores.assign(s_local=-scores["s_local"])
    one, other = (diagnose(frame, small_config, 0.05, 0, signals=["s_local"]) for frame in (scores, turned))
    np.testing.assert_allclose(one["auc"], 1 - other["auc"])
    np.testing.assert_allclose(one["p_value"], other["p_value"])


def test_a_planted_reference_signal_is_found_and_the_same_shuffled_is_not(scores, small_config):
    """Positive and negative control on the same numbers: only which pair they belong to differs."""
    rng = np.random.default_rng(0)
    planted = (scores["kind"] == "aligned") + 0.5 * rng.standard_normal(len(scores))
    shuffled = planted.groupby(scores["image_id"]).transform(lambda values: rng.permutation(values.to_numpy()))
    table = diagnose(scores.assign(s_token=planted, s_words=shuffled), small_config, 0.05, 0)
    assert set(table["signal"]) == {*SIGNALS, "s_token", "s_words"}
    found, none = (table[table["signal"] == name] for name in ("s_token", "s_words"))
    assert set(found["kind"]) == set(KINDS)
    assert (found["low"] > 0.7).all() and (found["p_holm"] < 0.05).all()
    assert (none["p_holm"] > 0.05).all() and (none["auc"] < 0.65).all()


def test_more_signals_ask_for_more_permutations(scores, small_config):
    tests = len(SIGNALS) * len(KINDS)
    enough = small_config.model_copy(update={"permutations": 20 * tests})
    diagnose(scores, enough, 0.05, 0)
    with pytest.raises(UserError, match=f"cannot show {tests + 3 * len(KINDS)} tests"):
        diagnose(scores.assign(s_token=0.0, s_words=0.0, blind=0.0), enough, 0.05, 0)


def test_cohen_d_from_the_t_statistic():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal(20) + 1, rng.standard_normal(30)
    assert cohen_d(first, second) == pytest.approx(ttest_ind(first, second).statistic * np.sqrt(1 / 20 + 1 / 30))
    assert cohen_d(np.ones(3), np.ones(3)) == 0


def test_too_few_permutations_are_an_error_and_not_a_stop(scores, small_config):
    few = small_config.model_copy(update={"permutations": 100})
    with pytest.raises(UserError, match="signal.permutations"):
        diagnose(scores, few, 0.05, 0)


def test_a_negative_without_its_caption_is_a_bug(scores):
    with pytest.raises(ValueError, match="has no aligned pair"):
        contrast(scores[scores["kind"] != "aligned"], "shuffle")


def test_a_kind_without_pairs_has_no_row(scores, small_config):
    assert contrast(scores, "swap_roles") is None
    assert set(diagnose(scores, small_config, 0.05, 0)["kind"]) == set(KINDS)
