import pandas as pd
import pytest

from planted import CALIBRATION, Vocabulary, planted_world
from vialign.catalogue import GUIDED, MODULES
from vialign.config.methods import CurriculumConfig, MonitorConfig, TrainingConfig
from vialign.config.signal import SignalConfig
from vialign.methods.baselines.frozen import Frozen
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.training.loop import train
from vialign.training.unfinished import Unfinished

RECIPE = TrainingConfig(batch=16, steps=12, early_steps=5, checks=3, monitor=MonitorConfig(checks=6, images=8))
MADE_BY = {"config_digest": "a", "seed": "7"}


@pytest.fixture(scope="module")
def worlds():
    vocabulary = Vocabulary(16)
    return planted_world(vocabulary, 40, 1), planted_world(vocabulary, 20, 2)


def build(guided=False):
    return CurriculumMethod(MODULES, 16, 20.0, CALIBRATION, CurriculumConfig(), SignalConfig(), 1.0, 0, guided=guided)


class Killed(Exception):
    pass


class KilledAt(Unfinished):
    """Writes after every step, and is killed right after one of them."""

    def __init__(self, path, step):
        super().__init__(path, MADE_BY, 0.0)
        self.step = step

    def offer(self, make):
        super().offer(make)
        if make().checkpoint.step == self.step:
            raise Killed


def run(worlds, method=None, unfinished=None, to_step=12, start=None):
    method = build() if method is None else method
    return train(method, *worlds, RECIPE, peak_rate=1e-2, seed=7, to_step=to_step, start=start, unfinished=unfinished)


def assert_same(one, other):
    for part in ("weights", "best", "optimiser"):
        first, second = getattr(one.checkpoint, part), getattr(other.checkpoint, part)
        assert first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)
    assert (one.checkpoint.step, one.checkpoint.best_step) == (other.checkpoint.step, other.checkpoint.best_step)
    assert one.checkpoint.best_score == other.checkpoint.best_score
    pd.testing.assert_frame_equal(one.log.drop(columns="seconds"), other.log.drop(columns="seconds"))
    pd.testing.assert_frame_equal(one.monitor, other.monitor)
    pd.testing.assert_frame_equal(one.signal_monitor, other.signal_monitor)
    assert list(one.trail) == list(other.trail)
    assert all(bool((one.trail[s][n] == other.trail[s][n]).all()) for s in one.trail for n in one.trail[s])


@pytest.mark.parametrize("guided", [False, True])
def test_a_training_killed_three_times_ends_bit_for_bit_as_one_left_alone(guided, worlds, tmp_path):
    whole = run(worlds, build(guided))
    path = tmp_path / ".final.unfinished.safetensors"
    for step in (1, 6, 9):
        with pytest.raises(Killed):
            run(worlds, build(guided), KilledAt(path, step))
    resumed = Unfinished(path, MADE_BY, 1e9)
    assert resumed.read().checkpoint.step == 9
    assert_same(run(worlds, build(guided), resumed), whole)
    resumed.remove()
    assert not path.exists() and resumed.read() is None


def test_the_second_stretch_too_goes_on_where_it_was_killed(worlds, tmp_path):
    early = run(worlds, to_step=5)
    whole = run(worlds, start=early.checkpoint)
    path = tmp_path / "late.safetensors"
    with pytest.raises(Killed):
        run(worlds, unfinished=KilledAt(path, 8), start=early.checkpoint)
    assert_same(run(worlds, unfinished=Unfinished(path, MADE_BY, 1e9), start=early.checkpoint), whole)


def test_what_something_else_wrote_is_not_gone_on_from(worlds, tmp_path):
    path = tmp_path / "early.safetensors"
    with pytest.raises(Killed):
        run(worlds, unfinished=KilledAt(path, 4))
    assert Unfinished(path, {**MADE_BY, "config_digest": "b"}, 1e9).read() is None
    path.write_bytes(path.read_bytes()[:100])
    assert Unfinished(path, MADE_BY, 1e9).read() is None


def test_it_is_written_now_and_then_only(worlds, tmp_path):
    path = tmp_path / "rare.safetensors"
    run(worlds, unfinished=Unfinished(path, MADE_BY, 1e9))
    assert not path.exists()
    run(worlds, unfinished=Unfinished(path, MADE_BY, 1e-9))
    assert Unfinished(path, MADE_BY, 1e9).read().checkpoint.step == 11
    run(worlds, Frozen(20.0, 1.0), Unfinished(tmp_path / "frozen.safetensors", MADE_BY, 1e-9))
    assert not (tmp_path / "frozen.safetensors").exists()


def test_the_guided_method_is_the_full_one_with_another_rate(worlds):
    plain, guided = run(worlds), run(worlds, build(guided=True))
    assert build(guided=True).name == GUIDED
    first = guided.log["learning_rate"] / plain.log["learning_rate"]
    assert first[0] == 1.0 and (first[1:] != 1.0).any()
    assert guided.log["loss"][0] == plain.log["loss"][0]
    assert first.between(*CurriculumConfig().guide_range).all()
