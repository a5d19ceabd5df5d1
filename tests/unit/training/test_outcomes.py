from types import SimpleNamespace

import pandas as pd
import pytest

from planted import CALIBRATION, Vocabulary, planted_world
from vialign.catalogue import SUBSETS
from vialign.config.experiment import Config
from vialign.config.methods import CurriculumConfig, TrainingConfig
from vialign.config.signal import SignalConfig
from vialign.evaluation.run import core_outcomes, negatives_by_kind
from vialign.files.artifacts import write_table
from vialign.methods.checkpoint import save_checkpoint
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.stage import Run
from vialign.tables.data import IMAGES
from vialign.training import outcomes
from vialign.training.job import SPLIT_PARTS
from vialign.training.loop import train

RECIPE = TrainingConfig(batch=16, steps=6, early_steps=3, checks=1)
NAMES = ("vialign", "vialign-correct")


def build(name, seed):
    return CurriculumMethod(SUBSETS[name], 16, 20.0, CALIBRATION, CurriculumConfig(), SignalConfig(), 1.0, seed)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Two methods, each trained until its best weights are not its last ones, and a split of its own."""
    vocabulary = Vocabulary(16)
    training, selection, own = (planted_world(vocabulary, size, seed) for size, seed in ((40, 1), (20, 2), (24, 3)))
    paths, trained = [], {}
    for seed, name in enumerate(NAMES):
        method = build(name, seed)
        trained[name] = train(method, training, selection, RECIPE, peak_rate=3.0, seed=seed, to_step=3, looks={0})
        paths.append(tmp_path / "train" / name / str(seed) / "early.safetensors")
        paths[-1].parent.mkdir(parents=True)
        save_checkpoint(trained[name].checkpoint, paths[-1], {})
    write_table(IMAGES.empty(), IMAGES, tmp_path / "images.parquet", {})
    read = []
    monkeypatch.setattr(outcomes, "read_split", lambda *parts, **options: read.append(parts) or own)
    monkeypatch.setattr(outcomes, "read_calibration", lambda path: CALIBRATION)
    monkeypatch.setattr(outcomes, "open_backbone", lambda *given: None)
    monkeypatch.setattr(outcomes, "build_method", lambda name, config, backbone, calibration, seed: build(name, seed))

    class Inputs(dict):
        images, calibration, image_features = str(tmp_path / "images.parquet"), "calibration", "image_features"

    run = Run(Inputs({part: part for part in SPLIT_PARTS}), {}, {}, {}, 1, Config(), {})
    return SimpleNamespace(run=run, paths=paths, trained=trained, own=own, read=read)


@pytest.mark.parametrize("weights", ["weights", "best"])
def test_each_checkpoint_is_measured_with_its_own_weights_on_the_split(world, weights):
    found = outcomes.checkpoint_outcomes(world.run, world.paths, "gate", weights=weights)
    for seed, name in enumerate(NAMES):
        method = build(name, seed)
        method.load_state(getattr(world.trained[name].checkpoint, weights))
        expected = core_outcomes(method.eval(), world.own, name, seed, "gate")
        own = found[found["method"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, expected)
        assert set(own["seed"]) == {seed} and own["benchmark"].str.startswith("gate/").all()
    assert world.read == [SPLIT_PARTS]


def test_last_and_best_weights_differ_and_negatives_are_left_out_where_not_wanted(world):
    last, best = (
        outcomes.checkpoint_outcomes(world.run, world.paths, "gate", weights=weights) for weights in ("weights", "best")
    )
    assert not last["value"].equals(best["value"]) and "gate/negatives" in set(last["benchmark"])
    bare = outcomes.checkpoint_outcomes(world.run, world.paths, "gate", weights="best", negatives=False)
    assert set(bare["benchmark"]) == {"gate/image_to_text", "gate/text_to_image"}


def test_each_kind_of_negatives_stands_by_itself_where_it_is_asked_for(world):
    asked = {"weights": "best", "kinds": True}
    whole = outcomes.checkpoint_outcomes(world.run, world.paths, "confirmation", **asked)
    apart = whole["benchmark"].str.startswith("confirmation/negatives/")
    expected = outcomes.checkpoint_outcomes(world.run, world.paths, "confirmation", weights="best")
    pd.testing.assert_frame_equal(whole[~apart].reset_index(drop=True), expected)
    method = build(NAMES[0], 0)
    method.load_state(world.trained[NAMES[0]].checkpoint.best)
    kinds = negatives_by_kind(method.eval(), world.own, NAMES[0], 0, split="confirmation")
    own = whole[apart & whole["method"].eq(NAMES[0])].reset_index(drop=True)
    assert len(kinds) and own["benchmark"].nunique() > 1
    pd.testing.assert_frame_equal(own, kinds, check_dtype=False)
