import gc

import numpy as np
import pytest
import torch
from torch import nn

import vialign.backbone  # noqa: F401  (before the tests import open_clip)
from vialign.budget.ledger import (
    RESAMPLES,
    WARM_UP,
    Subject,
    count_flops,
    count_parameters,
    count_stored,
    measure_overhead,
    measure_subject,
    peak_memory,
    ratio_interval,
    time_rounds,
    time_until_decided,
)
from vialign.config import BudgetConfig
from vialign.tables import BUDGET


class FakeClock:
    """A clock that only the work itself advances, so that times are known and no machine matters."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, *seconds: float):
        """Work that takes these seconds, call by call, again and again."""
        calls = 0

        def run() -> None:
            nonlocal calls
            self.now += seconds[calls % len(seconds)]
            calls += 1

        return run


def test_parameters_are_counted_by_hand_and_shared_ones_once():
    linear, norm = nn.Linear(3, 5), nn.BatchNorm1d(5)
    model = nn.Sequential(linear, norm)
    assert count_parameters([model]) == 3 * 5 + 5 + 5 + 5
    assert count_parameters([model, linear]) == count_parameters([model])
    assert count_stored([model]) == 30 + 5 + 5  # running mean and variance, not the integer count of batches
    assert count_stored([model, norm]) == 40


def test_a_dictionary_hidden_in_a_buffer_is_stored_all_the_same():
    module = nn.Module()
    module.register_buffer("atoms", torch.zeros(7, 11))
    module.register_buffer("scratch", torch.zeros(1000), persistent=False)
    assert count_parameters([module]) == 0
    assert count_stored([module]) == 77


def test_operations_of_linear_and_convolution_by_hand():
    linear = nn.Linear(3, 5)
    assert count_flops(lambda: linear(torch.zeros(4, 3))) == 2 * 4 * 3 * 5
    convolution = nn.Conv2d(2, 6, kernel_size=4, stride=4, bias=False)
    assert count_flops(lambda: convolution(torch.zeros(3, 2, 8, 8))) == 2 * 3 * (2 * 2) * 6 * (2 * 4 * 4)


def attention_flops(batch: int, length: int, width: int) -> int:
    """Four projections, the products of queries with keys and of weights with values: 2 operations a multiply-add."""
    return 2 * batch * (4 * length * width * width + 2 * length * length * width)


@pytest.mark.parametrize("need_weights", [False, True])
def test_operations_of_attention_are_all_seen(need_weights):
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    tokens = torch.zeros(3, 5, 8)
    with torch.no_grad():
        counted = count_flops(lambda: attention(tokens, tokens, tokens, need_weights=need_weights))
    assert counted == attention_flops(3, 5, 8)


def test_operations_of_a_transformer_layer_are_seen_although_its_fast_path_would_hide_them():
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True).eval()
    assert torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        counted = count_flops(lambda: layer(torch.zeros(3, 5, 8)))
    assert counted == attention_flops(3, 5, 8) + 2 * 3 * 5 * 8 * 16 * 2
    assert torch.backends.mha.get_fastpath_enabled(), "the switch must be put back"


def test_the_fast_path_is_restored_when_the_work_fails():
    with pytest.raises(ZeroDivisionError):
        count_flops(lambda: 1 / 0)
    assert torch.backends.mha.get_fastpath_enabled()


def test_peak_memory_is_the_most_held_at_a_time():
    megabyte = 1 << 20

    def work() -> None:
        first = torch.empty(megabyte, dtype=torch.uint8)
        second = torch.empty(2 * megabyte, dtype=torch.uint8)
        del first, second
        torch.empty(megabyte, dtype=torch.uint8)

    assert 3 * megabyte <= peak_memory(work) < 3 * megabyte + 4096


def test_interleaving_gives_every_work_every_round_in_a_seeded_order():
    def order(seed: int) -> list[str]:
        calls: list[str] = []
        time_rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 40, seed)
        return calls

    calls = order(0)
    rounds = [calls[start : start + 2] for start in range(0, len(calls), 2)]
    assert len(rounds) == 40 + WARM_UP
    assert all(sorted(pair) == ["a", "b"] for pair in rounds)
    assert {tuple(pair) for pair in rounds[WARM_UP:]} == {("a", "b"), ("b", "a")}
    assert order(0) == calls != order(1)


def test_the_garbage_collector_rests_and_comes_back():
    states: list[bool] = []
    time_rounds({"a": lambda: states.append(gc.isenabled())}, 3, 0)
    assert states[WARM_UP:] == [False] * 3
    assert gc.isenabled()


def test_a_constant_overhead_is_found_exactly():
    clock = FakeClock()
    found = measure_overhead(clock.work(2.0), clock.work(2.5), repeats=9, seed=0, clock=clock)
    assert (found.ratio, found.low, found.high) == (1.25, 1.25, 1.25)


def test_slow_drift_of_the_machine_cancels_in_pairs_but_not_in_unpaired_times():
    drift = np.linspace(1, 10, 41)
    overhead = ratio_interval(drift, 1.05 * drift, seed=0)
    assert np.allclose((overhead.ratio, overhead.low, overhead.high), 1.05)
    shuffled = np.random.default_rng(0).permutation(1.05 * drift)
    unpaired = ratio_interval(drift, shuffled, seed=0)
    assert unpaired.high - unpaired.low > 0.1


def test_the_interval_agrees_with_scipys_bootstrap():
    from scipy.stats import bootstrap

    draws = np.random.default_rng(1)
    reference, method = draws.gamma(50, size=61), 1.1 * draws.gamma(50, size=61)
    found = ratio_interval(reference, method, seed=2)
    assert found.ratio == np.median(method / reference)
    expected = bootstrap(
        (method / reference,), np.median, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert abs(found.low - expected.low) < 0.02
    assert abs(found.high - expected.high) < 0.02


def subject(clock: FakeClock, method: str, extra: int, pair: float, step: float | None) -> Subject:
    torch.manual_seed(0)
    backbone = nn.Linear(10, 10, bias=False)
    modules = (backbone, nn.Linear(extra, 1, bias=False)) if extra else (backbone,)
    image, text, score = clock.work(0.25), clock.work(0.5), clock.work(pair)

    def both() -> None:
        backbone(torch.zeros(4, 10))
        score()

    return Subject(
        method=method,
        modules=modules,
        trainable=tuple(modules[-1].parameters()) if extra else (),
        image=image,
        text=text,
        pair=both,
        step=None if step is None else clock.work(step),
    )


def measure(clock: FakeClock, method: Subject, reference: Subject):
    frame = measure_subject(
        method, reference, backbone="tiny", batch=4, repeats=5, limits=BudgetConfig(), seed=0, clock=clock
    )
    return BUDGET.check(frame).set_index("measure")


def test_the_ledger_of_a_method_inside_the_law():
    clock = FakeClock()
    rows = measure(clock, subject(clock, "small", 1, 1.05, 2.0), subject(clock, "none", 0, 1.0, 1.9))
    assert rows["value"].to_dict() == pytest.approx(
        {
            "parameters_total": 101,
            "parameters_trainable": 1,
            "parameters_extra": 1,
            "parameters_extra_share": 0.01,
            "flops_image": 0,
            "flops_text": 0,
            "flops_pair": 2 * 10 * 10,
            "memory_peak": rows.loc["memory_peak", "value"],
            "inference_seconds": 1.05 / 4,
            "inference_seconds_image": 0.25 / 4,
            "inference_seconds_text": 0.5 / 4,
            "inference_overhead": 0.05,
            "training_seconds": 2.0,
            "training_overhead": 2.0 / 1.9 - 1,
        }
    )
    assert rows.loc["memory_peak", "value"] >= 2 * 10 * 4  # input and output of one sample, float32
    limited = rows.dropna(subset="limit")
    assert sorted(limited.index) == [
        "inference_overhead",
        "parameters_extra",
        "parameters_extra_share",
        "training_overhead",
    ]
    assert limited["kept"].all()
    assert rows.drop(limited.index)["kept"].isna().all()


def test_each_limit_can_be_broken_and_the_limit_itself_is_not_under_the_limit():
    clock = FakeClock()
    rows = measure(clock, subject(clock, "large", 2, 1.2, 2.0), subject(clock, "none", 0, 1.0, 1.0))
    assert rows["kept"].dropna().to_dict() == {
        "parameters_extra": False,
        "parameters_extra_share": False,
        "inference_overhead": False,
        "training_overhead": False,
    }


def test_an_interval_that_reaches_over_the_limit_is_not_kept_although_its_middle_is_under_it():
    clock = FakeClock()
    noisy = subject(clock, "noisy", 0, 1.0, None)
    noisy = Subject(**{**vars(noisy), "pair": clock.work(1.0, 1.4)})
    rows = measure(clock, noisy, subject(clock, "none", 0, 1.0, None))
    overhead = rows.loc["inference_overhead"]
    assert overhead["low"] < 0.1 < overhead["high"]
    assert not overhead["kept"]


@pytest.mark.parametrize(
    ("times", "rounds", "decided"),
    [
        ((1.05,), 5, True),
        ((1.2,), 5, True),
        # Of the first rounds after the warm-up two are disturbed; those that follow are not.
        ((1.0, 1.0, 1.4, 1.4, *[1.0] * 36), 15, True),
        ((1.0, 1.4), 20, False),
    ],
    ids=["kept", "broken", "disturbed", "unsteady"],
)
def test_rounds_are_added_only_while_the_limit_lies_inside_the_interval(times, rounds, decided):
    clock = FakeClock()
    works = {"reference": clock.work(1.0), "method": clock.work(*times)}
    seconds, overhead = time_until_decided(works, 0.1, 5, seed=0, looks=4, clock=clock)
    assert {len(found) for found in seconds.values()} == {rounds}
    assert (overhead.low <= 1.1 <= overhead.high) is not decided
    assert overhead == ratio_interval(seconds["reference"], seconds["method"], seed=0)


def test_a_method_without_training_has_no_rows_on_training():
    clock = FakeClock()
    rows = measure(clock, subject(clock, "frozen", 0, 1.0, None), subject(clock, "none", 0, 1.0, 1.0))
    assert not [name for name in rows.index if name.startswith("training")]
    assert rows.loc["parameters_extra", "value"] == 0


def block_flops(batch: int, length: int, width: int) -> int:
    """A transformer block whose feed-forward part is four times as wide: attention and two products."""
    return attention_flops(batch, length, width) + 2 * batch * length * 2 * 4 * width * width


def test_operations_of_a_block_of_open_clips_vision_transformer_by_hand():
    from open_clip.transformer import ResidualAttentionBlock

    block = ResidualAttentionBlock(768, 12).eval()  # ViT-B/32's block on its 50 tokens
    with torch.no_grad():
        counted = count_flops(lambda: block(torch.zeros(2, 50, 768)))
    assert counted == block_flops(2, 50, 768) == 2 * (12 * 50 * 768**2 + 2 * 50**2 * 768) * 2


def test_operations_of_a_whole_small_dual_encoder_by_hand():
    from open_clip.model import CLIP

    vision = {"image_size": 32, "layers": 3, "width": 64, "head_width": 16, "patch_size": 8}
    text = {"context_length": 10, "vocab_size": 30, "width": 48, "heads": 4, "layers": 2}
    model = CLIP(embed_dim=24, vision_cfg=vision, text_cfg=text).eval()
    images, ids = torch.zeros(2, 3, 32, 32), torch.ones(5, 10, dtype=torch.long)
    with torch.no_grad():
        image, words = count_flops(lambda: model.encode_image(images)), count_flops(lambda: model.encode_text(ids))
    patches = 2 * 2 * 16 * (3 * 8 * 8) * 64
    assert image == patches + 3 * block_flops(2, 17, 64) + 2 * 2 * 64 * 24
    assert words == 2 * block_flops(5, 10, 48) + 2 * 5 * 48 * 24
