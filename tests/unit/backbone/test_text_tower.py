import pytest
import torch

from tolerance import close, transformer
from vialign.backbone import OpenClipBackbone, create_model, make_tokenizer
from vialign.backbone.text_tower import text_tower
from vialign.errors import UserError

TOWER = close(torch.float32, transformer(width=32, layers=2))
"""Two ways through the towers of these tests."""

TEXTS = ["a red circle above a blue square", "red", "", "blue red circle " * 8]


def build(define, name, **settings):
    name, path = define(name, **settings)
    model = create_model(name, path, seed=5)
    # biases and norms start at constants that would hide a mistake
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
    return OpenClipBackbone(model, make_tokenizer(name, path), {"architecture": name})


FORMS = {
    "plain": {},
    "custom": {"custom_text": True},
    "bias": {"custom_text": True, "text": {"proj_bias": True}},
    "unprojected": {"custom_text": True, "text": {"proj_type": "none", "width": 24}},
    "eos": {"custom_text": True, "text": {"pool_type": "eos", "eos_id": 519}},
    "both-ways": {"custom_text": True, "text": {"no_causal_mask": True}},
    "last": {"text": {"pool_type": "last"}},
    "class": {"custom_text": True, "text": {"embed_cls": True}},
    "class-both-ways": {"custom_text": True, "text": {"embed_cls": True, "no_causal_mask": True}},
}
LENGTHS = {"both-ways": 16, "last": 16, "class": 4, "class-both-ways": 4}
"""Positions of a text of one token: all where padding is seen, one more where one position of it is."""


@pytest.mark.parametrize("form", FORMS)
def test_cut_texts_give_what_open_clip_gives_on_the_whole_context(define, form):
    backbone = build(define, f"text-{form}", **FORMS[form])
    whole = backbone.tokenizer(TEXTS)
    expected = backbone.model.encode_text(whole, normalize=True)
    for texts, rows in ((TEXTS, slice(None)), (TEXTS[:2], slice(2)), (TEXTS[2:3], slice(2, 3))):
        tokens = backbone.tokenize(texts)
        length = tokens.ids.shape[1]
        assert torch.equal(tokens.ids, whole[rows, :length])
        assert not whole[rows, length:].any()
        pooled, states = backbone.text_tokens(tokens.ids)
        torch.testing.assert_close(pooled, expected[rows], atol=TOWER, rtol=0)
        torch.testing.assert_close(backbone.encode_text(tokens.ids), expected[rows], atol=TOWER, rtol=0)
        words = backbone.model.get_submodule(
            "token_embedding" if hasattr(backbone.model, "token_embedding") else "text.token_embedding"
        )(tokens.ids)
        assert states.shape == (len(texts), length, 24 + words.shape[-1])
        assert torch.equal(states[..., 24:], words)
    assert backbone.tokenize(["red"]).ids.shape[1] == LENGTHS.get(form, 3)


def test_the_state_of_the_end_token_is_the_pooled_embedding(define):
    backbone = build(define, "text-states")
    tokens = backbone.tokenize(TEXTS)
    pooled, states = backbone.text_tokens(tokens.ids)
    end = tokens.ids.argmax(dim=1)
    at_end = torch.nn.functional.normalize(states[torch.arange(4), end, : backbone.dimension], dim=-1)
    torch.testing.assert_close(at_end, pooled, atol=TOWER, rtol=0)


def test_a_longer_neighbour_never_changes_a_text(define):
    backbone = build(define, "text-neighbour")
    alone = backbone.text_tokens(backbone.tokenize(TEXTS[:1]).ids)[1]
    beside = backbone.text_tokens(backbone.tokenize([TEXTS[0], TEXTS[3]]).ids)[1]
    allowed = TOWER * float(alone.abs().max())
    torch.testing.assert_close(beside[:1, : alone.shape[1]], alone, atol=allowed, rtol=0)


def test_mask_and_offsets_cover_the_texts_own_tokens_only(define):
    backbone = build(define, "text-mask")
    tokens = backbone.tokenize(TEXTS)
    for row, text in enumerate(TEXTS):
        count = min(len(backbone.tokenizer.encode(text)), 14)
        assert tokens.mask[row].nonzero().flatten().tolist() == list(range(1, count + 1))
        assert tokens.ids[row, count + 1] == backbone.tokenizer.eot_token_id
    assert not tokens.offsets[~tokens.mask].any()
    start, end = tokens.offsets[0, 2]
    assert TEXTS[0][start:end] == "red"


def test_text_towers_of_another_kind_are_refused():
    model = torch.nn.Module()
    model.text = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"text tower of text-linear \(Linear\) is not one that vialign can read"):
        text_tower(model, "text-linear")


@pytest.mark.parametrize("form", FORMS)
def test_token_embeddings_stand_in_for_ids(define, form):
    backbone = build(define, f"text-{form}", **FORMS[form])
    ids = backbone.tokenize(TEXTS).ids
    embeddings = backbone.token_embeddings(ids)
    assert torch.equal(backbone.encode_token_embeddings(embeddings, ids), backbone.encode_text(ids))
    # Other words at the same places: the ids then only say where a text ends.
    other = backbone.tokenize(["a blue circle above a red square", "blue", "", "red blue circle " * 8]).ids
    exchanged = backbone.encode_token_embeddings(backbone.token_embeddings(other), ids)
    assert other.shape == ids.shape and not torch.equal(other, ids)
    torch.testing.assert_close(exchanged, backbone.encode_text(other), atol=TOWER, rtol=0)


def test_gradients_in_token_embeddings_are_those_of_finite_differences(define):
    backbone = build(define, "text-gradient")
    backbone.model.double()
    ids = backbone.tokenize(TEXTS[:2]).ids
    target = torch.randn(2, backbone.dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    embeddings = backbone.token_embeddings(ids).detach().requires_grad_(True)
    (backbone.encode_token_embeddings(embeddings, ids) * target).sum().backward()
    for place in [(0, 2, 5), (0, 7, 0), (1, 1, 31)]:
        bump = torch.zeros_like(embeddings)
        bump[place] = 1e-6
        up, down = (
            (backbone.encode_token_embeddings(embeddings.detach() + sign * bump, ids) * target).sum()
            for sign in (1, -1)
        )
        assert float(embeddings.grad[place]) == pytest.approx(float(up - down) / 2e-6, rel=1e-4, abs=1e-9)
    assert not embeddings.grad[1, 3:].any()
