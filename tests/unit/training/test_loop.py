import pandas as pd
import pytest
import torch
from torch import nn

from planted import CALIBRATION, Vocabulary, planted_world
from vialign.catalogue import MODULES
from vialign.config.methods import CurriculumConfig, MonitorConfig, TrainingConfig
from vialign.config.signal import SignalConfig
from vialign.errors import UserError
from vialign.files.artifacts import write_tensors
from vialign.methods.baselines.frozen import Frozen
from vialign.methods.checkpoint import load_best, load_checkpoint, load_trail, save_checkpoint, save_trail
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.objective import part_of
from vialign.tables.training import MONITOR, SIGNAL_MONITOR, TRAINING_LOG
from vialign.training.loop import Diverged, check_steps, rate_at, train
from vialign.training.monitor import check, sample_images, selection_score

RECIPE = TrainingConfig(batch=16, steps=12, early_steps=5, checks=3, monitor=MonitorConfig(checks=6, images=8))


@pytest.fixture(scope="module")
def worlds():
    vocabulary = Vocabulary(16)
    return planted_world(vocabulary, 40, 1), planted_world(vocabulary, 20, 2)


def build(seed=0):
    return CurriculumMethod(MODULES, 16, 20.0, CALIBRATION, CurriculumConfig(), SignalConfig(), 1.0, seed)


def run(method, worlds, to_step, start=None, **changes):
    recipe = RECIPE.model_copy(update=changes)
    return train(method, *worlds, recipe, peak_rate=1e-2, seed=7, to_step=to_step, start=start)


def same(first, second):
    assert set(first) == set(second)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_schedule_by_hand():
    recipe = TrainingConfig(steps=100, warmup=0.1, early_steps=10)
    assert rate_at(1, 2.0, recipe) == pytest.approx(0.2)
    assert rate_at(10, 2.0, recipe) == pytest.approx(2.0)
    assert rate_at(11, 2.0, recipe) == pytest.approx(2.0)
    assert rate_at(56, 2.0, recipe) == pytest.approx(1.0)
    assert 0 < rate_at(100, 2.0, recipe) < 0.01
    assert rate_at(1, 2.0, TrainingConfig(steps=100, warmup=0.0, early_steps=10)) == pytest.approx(2.0)
    assert check_steps(RECIPE, RECIPE.checks) == {0, 4, 5, 8, 12}
    assert check_steps(RECIPE, 24) == set(range(13))


def test_two_stretches_through_a_file_equal_one_bit_for_bit(worlds, tmp_path):
    whole = run(build(), worlds, 12)
    early = run(build(), worlds, 5)
    save_checkpoint(early.checkpoint, tmp_path / "early.safetensors", {"seed": "7"})
    torch.manual_seed(123)
    late = run(build(), worlds, 12, start=load_checkpoint(tmp_path / "early.safetensors"))
    for part in ("weights", "best", "optimiser"):
        assert same(getattr(late.checkpoint, part), getattr(whole.checkpoint, part))
    assert late.checkpoint.best_score == whole.checkpoint.best_score
    assert late.checkpoint.best_step == whole.checkpoint.best_step
    log = pd.concat([early.log, late.log], ignore_index=True)
    pd.testing.assert_frame_equal(log.drop(columns="seconds"), whole.log.drop(columns="seconds"))
    monitor = pd.concat([early.monitor, late.monitor], ignore_index=True)
    pd.testing.assert_frame_equal(monitor, whole.monitor)
    light = pd.concat([early.signal_monitor, late.signal_monitor], ignore_index=True)
    pd.testing.assert_frame_equal(light, whole.signal_monitor)
    save_trail(early.trail, tmp_path / "early_trail.safetensors", {"seed": "7"})
    trail = {**load_trail(tmp_path / "early_trail.safetensors"), **late.trail}
    assert list(trail) == list(whole.trail) == [0, 2, 4, 5, 6, 8, 10, 12]
    assert all(same(trail[step], whole.trail[step]) for step in trail)
    other = run(build(), worlds, 12, start=early.checkpoint, clip=0.01)
    assert not same(other.checkpoint.weights, whole.checkpoint.weights)


def test_tables_are_as_declared_and_best_weights_are_those_of_the_best_check(worlds, tmp_path):
    result = run(build(), worlds, 12)
    TRAINING_LOG.check(result.log)
    MONITOR.check(result.monitor)
    assert result.log["step"].tolist() == list(range(1, 13))
    assert result.monitor["step"].tolist() == sorted(check_steps(RECIPE, RECIPE.checks))
    scores = (result.monitor["recall"] + result.monitor["negatives"]) / 2
    best = int(scores.idxmax())
    assert result.checkpoint.best_score == scores[best]
    assert result.checkpoint.best_step == result.monitor["step"][best]
    save_checkpoint(result.checkpoint, tmp_path / "final.safetensors", {})
    method = load_best(build(seed=5), tmp_path / "final.safetensors")
    assert same(method.state(), result.checkpoint.best) and not method.training
    partial = run(build(), worlds, result.checkpoint.best_step)
    assert same(partial.checkpoint.weights, result.checkpoint.best)


def test_light_checks_look_at_the_same_sample_and_leave_the_weights_there(worlds):
    result = run(build(), worlds, 12)
    SIGNAL_MONITOR.check(result.signal_monitor)
    assert result.signal_monitor["step"].tolist() == list(result.trail)
    method, sample = build(seed=3), sample_images(worlds[1], 8)
    for row in result.signal_monitor.to_dict("records"):
        method.load_state(result.trail[row["step"]])
        again, _ = check(method, part_of(worlds[1], sample), row["step"])
        assert {**again, "score": selection_score(again)} == row
    assert same(result.trail[12], result.checkpoint.weights)


def test_light_checks_change_neither_the_training_nor_what_is_selected(worlds):
    few = run(build(), worlds, 12, monitor=MonitorConfig(checks=1, images=2))
    many = run(build(), worlds, 12, monitor=MonitorConfig(checks=12, images=20))
    pd.testing.assert_frame_equal(few.monitor, many.monitor)
    assert same(few.checkpoint.best, many.checkpoint.best) and same(few.checkpoint.weights, many.checkpoint.weights)
    whole = many.signal_monitor[many.signal_monitor["step"].isin(many.monitor["step"])].drop(columns="score")
    pd.testing.assert_frame_equal(whole.reset_index(drop=True), many.monitor)


def test_the_frozen_backbone_goes_the_same_way(worlds, tmp_path):
    result = run(Frozen(20.0, 1.0), worlds, 5)
    TRAINING_LOG.check(result.log)
    MONITOR.check(result.monitor)
    assert len(result.log) == 0 and result.monitor["step"].tolist() == [0]
    assert SIGNAL_MONITOR.check(result.signal_monitor).empty and result.trail == {}
    save_trail(result.trail, tmp_path / "trail.safetensors", {})
    assert load_trail(tmp_path / "trail.safetensors") == {}
    save_checkpoint(result.checkpoint, tmp_path / "early.safetensors", {})
    again = run(Frozen(20.0, 1.0), worlds, 12, start=load_checkpoint(tmp_path / "early.safetensors"))
    MONITOR.check(again.monitor)
    assert len(again.monitor) == 0 and again.checkpoint.best_score == result.checkpoint.best_score
    load_best(Frozen(20.0, 1.0), tmp_path / "early.safetensors")


def test_a_tensor_without_gradient_is_an_error_that_names_it(worlds):
    method = build()
    method.forgotten = nn.Parameter(torch.ones(2))
    with pytest.raises(RuntimeError, match="vialign: no gradient reaches forgotten"):
        run(method, worlds, 2)


def test_a_loss_that_is_not_finite_is_an_error(worlds):
    method = build()
    with torch.no_grad():
        method.head.image.up.fill_(torch.nan)
    with pytest.raises(Diverged, match="the loss is nan"):
        train(method, *worlds, RECIPE, peak_rate=1e-2, seed=7, to_step=2, looks={2})
    with pytest.raises(Diverged, match="vialign: scores of images 0 to .* are not finite"):
        run(method, worlds, 2)


def test_a_gradient_that_is_not_finite_is_an_error_at_its_own_step(worlds):
    method = build()
    method.head.image.up.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(Diverged, match="vialign: the gradient is not finite"):
        run(method, worlds, 1)


def test_selection_does_not_change_training(worlds):
    few, many = run(build(), worlds, 12, checks=1), run(build(), worlds, 12, checks=12)
    assert same(few.checkpoint.weights, many.checkpoint.weights)


def test_another_file_is_refused(tmp_path):
    write_tensors({"other": torch.ones(1)}, tmp_path / "other.safetensors", {})
    with pytest.raises(UserError, match="not a training checkpoint"):
        load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="not a checkpoint trail"):
        load_trail(tmp_path / "other.safetensors")


def test_a_trail_keeps_names_with_dots_and_steps_in_order(tmp_path):
    trail = {step: {"a.b": torch.full((2,), float(step)), "c": torch.tensor(float(step))} for step in (0, 10, 5, 100)}
    save_trail(trail, tmp_path / "trail.safetensors", {"seed": "1"})
    read = load_trail(tmp_path / "trail.safetensors")
    assert list(read) == [0, 5, 10, 100] and all(same(read[step], trail[step]) for step in trail)
