"""The light baselines against plain loops, and what each refuses."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planted import CALIBRATION
from tolerance import close, transformer
from unit.baselines import naive
from vialign.config.experiment import load_config
from vialign.errors import UserError
from vialign.methods.baselines.adapter import Adapter
from vialign.methods.baselines.bitfit import BitFit
from vialign.methods.baselines.clip_adapter import EmbeddingAdapter
from vialign.methods.baselines.coop import Coop, make_room
from vialign.methods.baselines.filip import Filip, late_interaction, reduce_matches
from vialign.methods.baselines.prompt import Prompt, widen
from vialign.methods.baselines.tuned import TunedBackbone
from vialign.methods.build import build_method

CLOSE = {"atol": close(torch.float32, transformer(width=32, layers=2)), "rtol": 0}
IMAGES, TEXTS = torch.arange(2), torch.tensor([0, 3, 8])


def shaken(method):
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.trainable().values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=stream))
    return method.eval()


def words(model, ids):
    """Embeddings of a row's tokens up to its end token, with positions."""
    end = int(ids.argmax())
    return [naive.numbers(model.token_embedding.weight[i]) for i in ids[: end + 1]]


def placed(model, states):
    return [x + naive.numbers(model.positional_embedding[place]) for place, x in enumerate(states)]


def embeddings(method, data):
    with torch.no_grad():
        return method.images(data, IMAGES)["pooled"].double(), method.texts(data, TEXTS)["pooled"].double()


def test_adapter_equals_plain_loops(backbone, data):
    method = shaken(Adapter(backbone, 8, 1.0, seed=0))
    images, texts = embeddings(method, data)
    model = method.model

    def through(states, blocks, causal):
        for part in blocks:
            states = naive.block(states, part, causal, adapters=(part.ls_1[1], part.ls_2[1]))
        return states

    for row, text in enumerate(TEXTS):
        states = through(placed(model, words(model, data.token_ids[text])), model.transformer.resblocks, True)
        torch.testing.assert_close(texts[row], naive.text_embedding(model, states[-1]), **CLOSE)
    if backbone.trunk_width:
        head, added = model.visual.head
        for row in range(len(IMAGES)):
            expected = naive.unit(naive.bottleneck(naive.numbers(head(data.trunk[row])), added))
            torch.testing.assert_close(images[row], expected, **CLOSE)
        return
    for row, pixels in enumerate(backbone.normalise(data.pixels[IMAGES])):
        states = through(naive.image_states(model.visual, pixels), model.visual.transformer.resblocks, False)
        torch.testing.assert_close(images[row], naive.image_embedding(model.visual, states), **CLOSE)


def test_prompts_equal_plain_loops(backbone, data):
    method = shaken(Prompt(backbone, 3, 2, 1.0, seed=0))
    images, texts = embeddings(method, data)
    model = method.model

    def through(states, blocks, causal):
        for part in blocks:
            states = naive.block(states, part.block, causal, prompts=part.prompts)
        return states

    for row, text in enumerate(TEXTS):
        states = through(placed(model, words(model, data.token_ids[text])), model.transformer.resblocks, True)
        torch.testing.assert_close(texts[row], naive.text_embedding(model, states[-1]), **CLOSE)
    if backbone.trunk_width:
        assert torch.equal(images, data.image_pooled[IMAGES].double())
        return
    for row, pixels in enumerate(backbone.normalise(data.pixels[IMAGES])):
        states = through(naive.image_states(model.visual, pixels), model.visual.transformer.resblocks, False)
        torch.testing.assert_close(images[row], naive.image_embedding(model.visual, states), **CLOSE)


@pytest.mark.parametrize("count", [2, 9])
def test_coop_equals_plain_loops_also_where_the_end_of_a_caption_is_cut(backbone, data, count):
    """With nine vectors in a context of sixteen places, start and end included, five tokens of a caption are left."""
    method = shaken(Coop(backbone, count, 1.0, seed=0))
    images, texts = embeddings(method, data)
    assert torch.equal(images, data.image_pooled[IMAGES].double())
    model, cut = backbone.model, 0
    context = [naive.numbers(vector) for vector in method.model.token_embedding.context]
    for row, text in enumerate(TEXTS):
        start, *own, end = words(model, data.token_ids[text])
        cut += len(own) > 14 - count
        states = placed(model, [start, *context, *own[: 14 - count], end])
        for part in model.transformer.resblocks:
            states = naive.block(states, part, True)
        torch.testing.assert_close(texts[row], naive.text_embedding(model, states[-1]), **CLOSE)
    assert (cut > 0) == (count == 9)


@given(st.data())
def test_room_for_a_context_by_hand(draw):
    limit = draw.draw(st.integers(4, 12))
    count = draw.draw(st.integers(1, limit - 3))
    lengths = draw.draw(st.lists(st.integers(0, limit - 2), min_size=1, max_size=4))
    longest = max(lengths) + 2
    rows = [[90, *range(1, n + 1), 99, *[0] * (longest - n - 2)] for n in lengths]
    for end_id in (None, 99):
        found = make_room(torch.tensor(rows), count, limit, end_id)
        assert found.shape[1] == min(longest + count, limit)
        for row, n in zip(found.tolist(), lengths, strict=True):
            text = [90] + [90] * count + list(range(1, min(n, limit - 2 - count) + 1)) + [99]
            assert row == text + [0] * (len(row) - len(text))


def test_an_end_token_that_is_not_the_highest_id_is_found_by_its_name():
    assert make_room(torch.tensor([[1, 50, 60, 2]]), 2, 5, end_id=2).tolist() == [[1, 1, 1, 50, 2]]


@given(st.integers(2, 6), st.integers(1, 4))
def test_a_mask_is_widened_as_if_the_prompts_were_tokens_behind_the_first(length, count):
    causal = torch.full((length, length), -torch.inf).triu(1)
    assert torch.equal(widen(causal, count), torch.full((length + count, length + count), -torch.inf).triu(1))
    assert torch.equal(widen(torch.zeros(length, length), count), torch.zeros(length + count, length + count))
    padded = torch.zeros(3, length, length)
    padded[1, :, -1] = -torch.inf
    wide = widen(padded, count)
    visible = wide[1].isfinite().all(dim=0).tolist()
    assert wide.shape == (3, length + count, length + count) and visible == [True] * (length + count - 1) + [False]
    assert bool((wide[[0, 2]] == 0).all())


def test_late_interaction_equals_plain_loops(backbone, data):
    method = shaken(Filip(backbone.dimension, backbone.logit_scale, 0.25, 1.0))
    with torch.no_grad():
        found = method.scores(method.images(data, IMAGES), method.texts(data, TEXTS))
    for row, image in enumerate(IMAGES):
        pooled = data.image_pooled[image]
        patches = [mapped(method.image, patch) for patch in [pooled, *data.patches[image].float()]]
        for column, text in enumerate(TEXTS):
            own = [state[: backbone.dimension] for state in data.states[text][data.mask[text]].float()]
            tokens = [mapped(method.text, token) for token in [data.text_pooled[text], *own]]
            to_text = sum(max(float(patch @ token) for token in tokens) for patch in patches) / len(patches)
            to_image = sum(max(float(patch @ token) for patch in patches) for token in tokens) / len(tokens)
            expected = 0.75 * (to_text + to_image) / 2 + 0.25 * float(pooled @ data.text_pooled[text])
            assert float(found[row, column]) == pytest.approx(expected, abs=CLOSE["atol"])


def mapped(module, token):
    return naive.unit(naive.unit(naive.numbers(token)) @ naive.numbers(module.weight) + naive.numbers(module.offset))


def test_late_interaction_finds_its_own_pair_and_padding_takes_no_part():
    stream = torch.Generator().manual_seed(0)
    patches = torch.nn.functional.normalize(torch.randn(4, 6, 8, generator=stream), dim=-1)
    tokens = patches[:, :3].clone()
    present = torch.tensor([[True, True, False]] * 4)
    scores = late_interaction(patches, tokens, present)
    assert scores.argmax(dim=1).tolist() == [0, 1, 2, 3]
    tokens[:, 2] = 1e3
    torch.testing.assert_close(late_interaction(patches, tokens, present), scores)
    matches = torch.randn(2, 3, 4, dtype=torch.float64, generator=stream, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: reduce_matches(m, torch.ones(2, 4, dtype=torch.bool)), (matches,))


def test_gallery_blocks_change_no_score(backbone, data, monkeypatch):
    method = shaken(Filip(backbone.dimension, backbone.logit_scale, 0.25, 1.0))
    with torch.no_grad():
        images, texts = method.images(data, torch.arange(6)), method.texts(data, torch.arange(len(data.texts)))
        whole = method.scores(images, texts)
        monkeypatch.setattr("vialign.methods.baselines.filip._BLOCK", 1)
        torch.testing.assert_close(method.scores(images, texts), whole)


def test_clip_adapter_equals_the_equation():
    module = EmbeddingAdapter(8, 2, 0.2, seed=0, name="image")
    with torch.no_grad():
        module.up.normal_(generator=torch.Generator().manual_seed(1))
    given = torch.nn.functional.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(2)), dim=-1)
    for row, x in zip(module(given), given, strict=True):
        hidden = [max(0.0, float(w @ x)) for w in module.down.detach()]
        adapted = sum(h * module.up[:, place] for place, h in enumerate(hidden))
        torch.testing.assert_close(row, naive.unit(0.2 * adapted + 0.8 * x))


def test_bitfit_trains_every_bias_of_the_towers_and_nothing_else(backbone):
    trained = {name.removeprefix("model.") for name in BitFit(backbone, True, 1.0).trainable()}
    names = {name for name, parameter in backbone.model.named_parameters() if "bias" in name}
    assert trained == names and len(names) > 20
    assert all(parameter.ndim == 1 for parameter in BitFit(backbone, True, 1.0).trainable().values())


def test_each_method_reads_no_more_of_an_image_than_it_must(backbone):
    trunk = backbone.trunk_width > 0
    inside = "trunk" if trunk else "pixels"
    assert Adapter(backbone, 8, 1.0, 0).needs == {inside, "token_ids"}
    assert Prompt(backbone, 2, 2, 1.0, 0).needs == ({"token_ids"} if trunk else {"pixels", "token_ids"})
    assert Coop(backbone, 2, 1.0, 0).needs == {"token_ids"}
    assert BitFit(backbone, True, 1.0).needs == {"pixels", "token_ids"}
    without = BitFit(backbone, False, 1.0)
    assert without.needs == {inside, "token_ids"}
    if trunk:
        assert [name for name in without.trainable() if ".visual." in name] == ["model.visual.head.proj.bias"]


def test_a_context_that_leaves_no_caption_is_refused(backbone):
    assert Coop(backbone, 13, 1.0, 0).count == 13
    with pytest.raises(UserError, match="context_vectors is 14, .* reads 16 tokens.* at most 13"):
        Coop(backbone, 14, 1.0, 0)


def test_towers_of_another_kind_are_refused(backbone, monkeypatch):
    model = backbone.model
    monkeypatch.setattr(model, "text_pool_type", "last")
    with pytest.raises(UserError, match="pools at its last position"):
        Coop(backbone, 2, 1.0, 0)
    monkeypatch.undo()
    other = torch.nn.Module()
    other.visual = torch.nn.Identity()
    other.transformer = model.transformer
    with pytest.raises(UserError, match="adapter: the image tower .* has no residual blocks"):
        Adapter(replaced(backbone, other, trunk_width=0), 8, 1.0, 0)
    with pytest.raises(UserError, match="bitfit: .* is not an open_clip model"):
        BitFit(replaced(backbone, torch.nn.Linear(2, 2)), True, 1.0)
    with pytest.raises(UserError, match="bitfit: .* has no bias"):
        BitFit(replaced(backbone, other_without_bias()), True, 1.0)


def other_without_bias():
    model = torch.nn.Module()
    model.visual = torch.nn.Linear(2, 2, bias=False).requires_grad_(False)
    return model


def replaced(backbone, model, **changes):
    """The same backbone around another model."""
    other = copy.copy(backbone)
    other.model = model
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def test_a_copy_runs_dropout_and_norms_as_in_evaluation(backbone, data):
    method = BitFit(backbone, True, 1.0).train()
    assert method.training and not any(module.training for module in method.model.modules())
    first, second = embeddings(method, data), embeddings(method.eval(), data)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_plain_copy_is_the_backbone_and_shares_its_memory(backbone, data):
    method = TunedBackbone.__new__(Coop)
    TunedBackbone.__init__(method, backbone, 1.0)
    method.settle()
    assert method.needs == {"token_ids"} and not method.trainable()
    own = {name: tensor.data_ptr() for name, tensor in method.model.state_dict().items()}
    assert own == {name: tensor.data_ptr() for name, tensor in backbone.model.state_dict().items()}
    with pytest.raises(ValueError, match="coop needs token ids"):
        method.texts(replace(data, token_ids=None), TEXTS)


@pytest.mark.parametrize("name", ["lora", "prompt", "coop"])
def test_texts_in_groups_of_one_length_are_the_texts_at_once(name, backbone, data):
    """The captions have 1 to 9 words, and come in no order of length."""
    method = build_method(name, load_config({}), backbone, CALIBRATION, 0).eval()
    ids = data.token_ids
    assert len(ids) > 32 or len({int((row > 0).sum()) for row in ids}) > 3
    with torch.no_grad():
        torch.testing.assert_close(method.encode_by_length(ids), method.encode_text(ids), **CLOSE)
