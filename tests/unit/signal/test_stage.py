from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tolerance import close
from unit.signal.conftest import make_world
from vialign.errors import UserError
from vialign.signal import pairs as stage
from vialign.signal.calibration import LogisticCalibration, SignalCalibration
from vialign.signal.drivers import SignalDriver
from vialign.signal.pairs import build_pairs, calibrate_signal, score_pairs, with_control

SIMILARITY = close(np.float32, 16, scale=8)
"""Cosines in sixteen dimensions, through maps of a slope up to two; eight of these in a sum at most."""

KINDS = ("random", "replace_relation", "shuffle")
MAPS = SignalCalibration(LogisticCalibration(8.0, -2.0), LogisticCalibration(5.0, -3.0))


@given(st.integers(2, 7), st.integers(1, 4), st.integers(2, 30), st.integers(0, 1000))
@settings(max_examples=20)
def test_pairs_are_what_their_kind_says(images, captions, count, seed):
    texts = make_world(images, captions, 0).texts
    pairs = build_pairs(texts, [f"i{n}" for n in range(images)], KINDS, count, seed)
    own = texts.set_index("text_id")["image_id"].loc[pairs["text_id"]].to_numpy() == pairs["image_id"].to_numpy()
    assert (own == (pairs["kind"] != "random").to_numpy()).all()
    assert not pairs.duplicated(["image_id", "text_id"]).any()
    expected = min(count, images * captions)
    assert pairs["kind"].value_counts().to_dict() == dict.fromkeys(("aligned", *KINDS), expected)
    aligned = pairs.loc[pairs["kind"] == "aligned", "text_id"]
    for kind in ("replace_relation", "shuffle"):
        assert set(pairs.loc[pairs["kind"] == kind, "text_id"].str.split("!").str[0]) <= set(aligned)
    per_image = pairs[pairs["kind"] == "aligned"]["image_id"].value_counts()
    assert len(per_image) == min(images, expected) and per_image.max() - per_image.min() <= 1


def test_pairs_depend_on_the_seed_and_on_the_given_images_alone(world):
    ids = world.features.image_ids
    one, again, other = (build_pairs(world.texts, ids, KINDS, 20, seed) for seed in (1, 1, 2))
    assert one.equals(again) and not one.equals(other)
    assert set(build_pairs(world.texts, ids[:5], KINDS, 20, 1)["image_id"]) == set(ids[:5])


def test_a_rare_kind_keeps_its_pairs(world):
    rare = world.texts[(world.texts["kind"] != "shuffle") | world.texts["image_id"].isin(["i1", "i2"])]
    pairs = build_pairs(rare, world.features.image_ids, KINDS, 10, 0)
    assert (pairs["kind"] == "shuffle").sum() == 4 and (pairs["kind"] == "aligned").sum() >= 10


def test_pairs_that_cannot_be_made_are_named(world):
    with pytest.raises(UserError, match="none of the images has a caption"):
        build_pairs(world.texts, ["nobody"], KINDS, 10, 0)
    with pytest.raises(UserError, match="belong to one image"):
        build_pairs(world.texts, ["i0"], KINDS, 10, 0)


def test_scores_equal_the_loop(world, small_config, monkeypatch):
    pairs = build_pairs(world.texts, world.features.image_ids, KINDS, 15, 0)
    monkeypatch.setattr(stage, "_pairs_in_a_block", lambda features: 7)
    scores = score_pairs(pairs, world.features, MAPS, small_config, 0)
    features = world.features
    for row in scores.sample(12, random_state=0).itertuples():
        image, text = features.image_ids.index(row.image_id), features.text_ids.index(row.text_id)
        s_global = float(features.image_pooled[image].double() @ features.text_pooled[text].double())
        matches = features.phrases.features[text].double() @ features.prototypes.features[image].double().T
        s_local = float(matches.max(dim=1).values.mean())
        calibrated = [1 / (1 + np.exp(-(8 * s_global - 2))), 1 / (1 + np.exp(-(5 * s_local - 3)))]
        c = 1 - abs(calibrated[0] - calibrated[1])
        assert [row.s_global, row.s_local] == pytest.approx([s_global, s_local], abs=SIMILARITY)
        assert [row.s_global_calibrated, row.s_local_calibrated] == pytest.approx(calibrated, abs=SIMILARITY)
        assert row.consistency == pytest.approx(c, abs=SIMILARITY)
        assert row.consistency_raw == pytest.approx(1 - abs(s_global - s_local), abs=SIMILARITY)
        assert row.agreement == pytest.approx(calibrated[0] * calibrated[1], abs=SIMILARITY)
        assert row.s_sum == pytest.approx(sum(calibrated), abs=SIMILARITY)
        assert row.certainty == pytest.approx(1 - row.local_entropy)
    whole = score_pairs(pairs.sample(frac=1, random_state=1), features, MAPS, small_config, 0)
    merged = scores.merge(whole, on=["image_id", "text_id"], suffixes=("", "_other"))
    np.testing.assert_allclose(merged["s_local"], merged["s_local_other"], atol=SIMILARITY)


def test_planted_alignment_is_seen_and_shuffled_prototypes_hide_it(world, small_config):
    pairs = build_pairs(world.texts, world.features.image_ids, ["random"], 100, 0)
    table = calibrate_signal(pairs, world.features, small_config, 0).set_index("similarity")
    control = small_config.model_copy(update={"shuffle_prototypes": True})
    hidden = calibrate_signal(pairs, world.features, control, 0).set_index("similarity")
    assert table.loc["s_local", "auc"] > 0.9
    assert 0.3 < hidden.loc["s_local", "auc"] < 0.7
    assert hidden.loc["s_global", "auc"] == table.loc["s_global", "auc"] > 0.9


def test_in_the_control_no_image_keeps_its_prototypes_and_none_is_lost(world, small_config):
    control = with_control(world.features, small_config.model_copy(update={"shuffle_prototypes": True}), 5)
    same = (control.prototypes.features == world.features.prototypes.features).flatten(1).all(dim=1)
    assert not same.any()

    def values(features):
        return sorted(features.prototypes.features[:, 0, 0].tolist())

    assert values(control) == values(world.features)
    assert with_control(world.features, small_config, 5) is world.features


@pytest.mark.parametrize("driver", ["consistency", "consistency_raw", "agreement"])
def test_the_driving_signal_is_the_column_of_its_name(world, small_config, driver):
    pairs = build_pairs(world.texts, world.features.image_ids, KINDS, 15, 0)
    scores = score_pairs(pairs, world.features, MAPS, small_config, 0)
    s_global, s_local = (torch.tensor(scores[name].to_numpy(), requires_grad=True) for name in ("s_global", "s_local"))
    value = SignalDriver(driver, MAPS)(s_global, s_local)
    np.testing.assert_allclose(value.detach().numpy(), scores[driver], atol=SIMILARITY)
    value.sum().backward()
    assert (s_global.grad != 0).all() and (s_local.grad != 0).all()


def test_a_pair_without_features_is_named(world, small_config):
    pairs = build_pairs(world.texts, world.features.image_ids, KINDS, 5, 0)
    fewer = replace(world.features, text_ids=["x", *world.features.text_ids[1:]])
    pairs.loc[0, "text_id"] = world.features.text_ids[0]
    with pytest.raises(UserError, match="text 'i0#0' has no features"):
        score_pairs(pairs, fewer, MAPS, small_config, 0)
