import pandas as pd
import pytest
import torch
from thinc.api import NumpyOps
from torch import nn

import vialign.backbone  # noqa: F401  (before the tests import open_clip)
from fake_clock import FakeClock
from vialign.budget.counting import (
    Counts,
    count_parameters,
    count_parser,
    count_stored,
    count_work,
    parser_counts,
    peak_memory,
)
from vialign.budget.ledger import Parser, Reading, Subject, measure_subjects
from vialign.config.methods import BudgetConfig
from vialign.tables.gates import BUDGET


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
    assert count_work(lambda: linear(torch.zeros(4, 3))).products == 2 * 4 * 3 * 5
    convolution = nn.Conv2d(2, 6, kernel_size=4, stride=4, bias=False)
    assert count_work(lambda: convolution(torch.zeros(3, 2, 8, 8))).products == 2 * 3 * (2 * 2) * 6 * (2 * 4 * 4)


def attention_flops(batch: int, length: int, width: int) -> int:
    """Four projections, the products of queries with keys and of weights with values: 2 operations a multiply-add."""
    return 2 * batch * (4 * length * width * width + 2 * length * length * width)


@pytest.mark.parametrize("need_weights", [False, True])
def test_operations_of_attention_are_all_seen(need_weights):
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    tokens = torch.zeros(3, 5, 8)
    with torch.no_grad():
        counted = count_work(lambda: attention(tokens, tokens, tokens, need_weights=need_weights)).products
    assert counted == attention_flops(3, 5, 8)


def test_operations_of_a_transformer_layer_are_seen_although_its_fast_path_would_hide_them():
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True).eval()
    assert torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        counted = count_work(lambda: layer(torch.zeros(3, 5, 8))).products
    assert counted == attention_flops(3, 5, 8) + 2 * 3 * 5 * 8 * 16 * 2
    assert torch.backends.mha.get_fastpath_enabled(), "the switch must be put back"


def test_the_fast_path_is_restored_when_the_work_fails():
    with pytest.raises(ZeroDivisionError):
        count_work(lambda: 1 / 0)
    assert torch.backends.mha.get_fastpath_enabled()


def test_peak_memory_is_the_most_held_at_a_time():
    megabyte = 1 << 20

    def work() -> None:
        first = torch.empty(megabyte, dtype=torch.uint8)
        second = torch.empty(2 * megabyte, dtype=torch.uint8)
        del first, second
        torch.empty(megabyte, dtype=torch.uint8)

    assert 3 * megabyte <= peak_memory(work) < 3 * megabyte + 4096


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


def measure(clock: FakeClock, method: Subject, reference: Subject, rounds: int = 51):
    return measure_all(clock, [method], reference, rounds).set_index("measure")


def measure_all(clock: FakeClock, methods: list[Subject], reference: Subject, rounds: int = 51):
    frame = measure_subjects(
        methods,
        reference,
        backbone="tiny",
        batch=4,
        rounds=rounds,
        limits=BudgetConfig(),
        seed=0,
        clock=clock,
        wall=clock,
    )
    return BUDGET.check(frame)


def test_the_ledger_of_a_method_inside_the_budget():
    clock = FakeClock()
    rows = measure(clock, subject(clock, "small", 1, 1.05, 2.0), subject(clock, "none", 0, 1.0, 1.9))
    counted = {
        "parameters_total": 101,
        "parameters_trainable": 1,
        "parameters_extra": 1,
        "parameters_extra_share": 0.01,
        "flops_image": 0,
        "flops_text": 0,
        "flops_pair": 2 * 10 * 10,
        "elementwise_pair": 10,  # the zeros that it makes
        "bytes_pair": 4 * (10 + (10 * 10 + 2 * 4 * 10) / 4),  # zeros written; weights, input and output of the product
        "inference_operations_overhead": 0,
        "inference_bytes_overhead": 0,
        "memory_peak": rows.loc["memory_peak", "value"],
        "inference_seconds": 1.05 / 4,
        "inference_seconds_wall": 1.05 / 4,
        "inference_seconds_image": 0.25 / 4,
        "inference_seconds_text": 0.5 / 4,
        "inference_control": 0,
        "inference_overhead": 0.05,
        "inference_overhead_wall": 0.05,
        "training_seconds": 2.0,
        "training_seconds_wall": 2.0,
        "training_control": 0,
        "training_overhead": 2.0 / 1.9 - 1,
        "training_overhead_wall": 2.0 / 1.9 - 1,
    }
    assert rows["value"].to_dict() == pytest.approx(counted)
    assert rows.loc["memory_peak", "value"] >= 2 * 10 * 4  # input and output of one sample, float32
    limited = rows.dropna(subset="limit")
    assert sorted(limited.index) == [
        "inference_bytes_overhead",
        "inference_operations_overhead",
        "inference_overhead",
        "parameters_extra",
        "parameters_extra_share",
        "training_overhead",
    ]
    assert (limited["outcome"] == "kept").all() and limited["reason"].isna().all()
    assert rows.drop(limited.index)["outcome"].isna().all()


def test_each_limit_can_be_broken_and_the_limit_itself_is_not_under_the_limit():
    clock = FakeClock()
    rows = measure(clock, subject(clock, "large", 2, 1.2, 2.0), subject(clock, "none", 0, 1.0, 1.0))
    broken = rows.index[rows["outcome"] == "broken"]
    assert set(broken) == {"parameters_extra", "parameters_extra_share", "inference_overhead", "training_overhead"}


def test_an_interval_that_holds_the_limit_is_undecided_although_its_middle_is_under_it():
    clock = FakeClock()
    noisy = subject(clock, "noisy", 0, 1.0, None)
    noisy = Subject(**{**vars(noisy), "pair": clock.work(*[1.0] * 3, *[1.25] * 5)})
    rows = measure(clock, noisy, subject(clock, "none", 0, 1.0, None), rounds=63)
    overhead = rows.loc["inference_overhead"]
    assert overhead["value"] < 0.1 < overhead["high"]
    assert (overhead["outcome"], overhead["reason"]) == ("undecided", "the interval holds the limit")


@pytest.mark.parametrize("pair", [1.05, 1.2], ids=["would be kept", "would be broken"])
def test_a_reference_that_differs_from_itself_decides_nothing(pair):
    clock = FakeClock()
    restless = subject(clock, "none", 0, 1.0, None)
    restless = Subject(**{**vars(restless), "pair": clock.work(1.0, 1.3, 0.8, 1.1, 0.9)})
    row = measure(clock, subject(clock, "steady", 0, pair, None), restless).loc["inference_overhead"]
    assert row["outcome"] == "undecided" and "the reference against itself" in row["reason"]


def test_too_few_rounds_decide_nothing():
    clock = FakeClock()
    rows = measure(clock, subject(clock, "small", 1, 1.05, None), subject(clock, "none", 0, 1.0, None), rounds=9)
    assert rows.loc["inference_overhead", ["value", "outcome"]].tolist() == [pytest.approx(0.05), "undecided"]
    assert "9 rounds are too few" in rows.loc["inference_overhead", "reason"]


def test_of_a_table_only_what_is_looked_up_counts_as_read():
    table, places = torch.zeros(1000, 8), torch.tensor([3, 5])
    for work in (lambda: table[places], lambda: torch.nn.functional.embedding(places, table)):
        assert count_work(work).bytes == 2 * (2 * 8 * 4)
    assert count_work(lambda: table + 1).bytes == 2 * 1000 * 8 * 4


def test_what_is_expanded_lies_in_memory_once():
    row = torch.zeros(1, 8)
    assert count_work(lambda: row.expand(1000, 8) + 1).bytes == (8 + 1000 * 8) * 4
    assert count_work(lambda: torch.zeros(0, 8) + 1).bytes == 0
    # A frozen matrix that torch expands along a batch costs what the same matrix costs while it can be trained.
    tokens, matrix = torch.zeros(16, 50, 8), torch.zeros(8, 8)
    frozen = count_work(lambda: tokens @ matrix).bytes
    assert frozen == count_work(lambda: tokens @ matrix.requires_grad_()).bytes == (2 * 16 * 50 * 8 + 8 * 8) * 4


def test_what_a_parser_stores_and_does_is_counted_and_its_share_moves_the_overhead():
    clock = FakeClock()
    reading = {"none": Reading(0.0, clock.work(0.0)), "half": Reading(0.5, clock.work(0.02))}
    parser = Parser(30, {**reading, "all": Reading(1.0, clock.work(0.04))}, "half", Counts(outside=400), Counts())
    method = Subject(**{**vars(subject(clock, "parses", 1, 1.05, None)), "parser": parser})
    rows = measure(clock, method, subject(clock, "none", 0, 1.0, None))
    assert rows.loc["parameters_extra", "value"] == 1 + 30 and rows.loc["parameters_parser", "value"] == 30
    assert rows.loc["parameters_extra_share", "outcome"] == "broken"
    assert rows.loc["inference_operations_overhead", "value"] == pytest.approx(400 / (4 * 210))
    curve = {name: rows.loc[f"inference_overhead_{name}", "value"] for name in ("none", "half", "all")}
    assert curve == pytest.approx({"none": 0.03, "half": 0.05, "all": 0.07})
    assert rows.loc["inference_overhead", "value"] == pytest.approx(0.05)
    shares = [rows.loc[f"parser_share_{name}", "value"] for name in ("none", "half", "all")]
    assert shares == [0, 0.5, 1]


def products_of(nlp, texts):
    """Operations and bytes of the matrix products that thinc is seen to do while a pipeline reads the texts."""
    seen = []

    class Watched(NumpyOps):
        def gemm(self, x, y, *args, **kwargs):
            result = super().gemm(x, y, *args, **kwargs)
            seen.append((2 * result.size * x.shape[1], sum(array.nbytes for array in (x, y, result))))
            return result

    for _, pipe in nlp.components:
        for node in pipe.model.walk():
            node.ops = Watched()
    assert len(list(nlp.pipe(texts))) == len(texts)
    return tuple(map(sum, zip(*seen, strict=True)))


def test_a_spacy_pipeline_is_counted_by_its_shapes():
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    encoder = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 8,
        "depth": 1,
        "embed_size": 10,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": False,
    }
    nlp.add_pipe("tok2vec", config={"model": encoder})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 8}
    nlp.add_pipe("tagger", config={"model": {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}})
    tagger = nlp.get_pipe("tagger")
    tagger.add_label("NN")
    tagger.add_label("VB")
    nlp.initialize()
    # Embedding: a table, mixed by a maxout of three pieces. Encoder: a window of three words, a maxout of two pieces.
    table, mix, window, tags, norm = 10 * 8, 3 * 8 * 8, 2 * 8 * (3 * 8), 2 * 8, 2 * 8
    assert count_parser(nlp) == table + (mix + 3 * 8 + norm) + (window + 2 * 8 + norm) + (tags + 2)
    products = mix + window + tags
    found = parser_counts(nlp, [3, 2])
    # The hash table is a matrix by its shape too, but looked up, not multiplied. A matrix is read once a batch; the
    # window reads an empty word before, between and after the two texts.
    sides = 5 * (8 + 3 * 8) + 8 * (3 * 8 + 2 * 8) + 5 * (8 + 2)
    assert found.outside == 2 * (5 * products + 3 * window) and found.bytes == 4 * (products + sides)
    assert parser_counts(nlp, []) == Counts()
    assert products_of(nlp, ["a red circle", "a square"]) == (found.outside, found.bytes)


def test_methods_that_share_their_rounds_are_each_measured_as_if_alone():
    clock = FakeClock()
    ran = []
    reference = subject(clock, "none", 0, 1.0, 1.9)
    reference = Subject(**{**vars(reference), "pair": lambda pair=reference.pair: (ran.append("none"), pair())})
    methods = [subject(clock, "small", 1, 1.05, 2.0), subject(clock, "large", 50, 1.5, None)]
    together = measure_all(clock, methods, reference)
    # Twice a round and in warming up, once to be counted: as often for two methods as for one.
    assert len(ran) == 2 * (51 + 2) + 1
    alone = pd.concat([measure_all(clock, [method], reference) for method in methods], ignore_index=True)
    measured = together["measure"] != "memory_peak"
    pd.testing.assert_frame_equal(together[measured], alone[measured], rtol=1e-9)
    assert together.set_index(["method", "measure"]).loc[("large", "inference_overhead"), "outcome"] == "broken"
    with pytest.raises(ValueError, match="each method once"):
        measure_all(clock, [methods[0], methods[0]], reference)


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
        counted = count_work(lambda: block(torch.zeros(2, 50, 768))).products
    assert counted == block_flops(2, 50, 768) == 2 * (12 * 50 * 768**2 + 2 * 50**2 * 768) * 2


def test_operations_of_a_whole_small_dual_encoder_by_hand():
    from open_clip.model import CLIP

    vision = {"image_size": 32, "layers": 3, "width": 64, "head_width": 16, "patch_size": 8}
    text = {"context_length": 10, "vocab_size": 30, "width": 48, "heads": 4, "layers": 2}
    model = CLIP(embed_dim=24, vision_cfg=vision, text_cfg=text).eval()
    images, ids = torch.zeros(2, 3, 32, 32), torch.ones(5, 10, dtype=torch.long)
    with torch.no_grad():
        image = count_work(lambda: model.encode_image(images)).products
        words = count_work(lambda: model.encode_text(ids)).products
    patches = 2 * 2 * 16 * (3 * 8 * 8) * 64
    assert image == patches + 3 * block_flops(2, 17, 64) + 2 * 2 * 64 * 24
    assert words == 2 * block_flops(5, 10, 48) + 2 * 5 * 48 * 24
