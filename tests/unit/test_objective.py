import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from planted import Vocabulary, planted_world
from tolerance import close
from vialign.errors import UserError
from vialign.methods.baselines.frozen import Frozen
from vialign.methods.objective import Batch, assemble, hardest_losses, negative_losses


def test_negative_loss_is_the_two_way_cross_entropy():
    positive, negative = torch.randn(2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = F.cross_entropy(torch.stack([positive, negative], dim=1), torch.zeros(9, dtype=torch.long))
    found = float(negative_losses(positive, negative).mean())
    assert found == pytest.approx(float(expected), abs=close(torch.float64, 64))
    inputs = (positive.requires_grad_(), negative.requires_grad_())
    assert torch.autograd.gradcheck(negative_losses, inputs)


@pytest.fixture(scope="module")
def world():
    return planted_world(Vocabulary(8), images=3, seed=0)


def test_positions_link_texts_images_and_negatives(world):
    names = list(world.texts["text_id"])
    assert [names[c] for c in world.captions] == ["i0#0", "i0#1", "i1#0", "i1#1", "i2#0", "i2#1"]
    assert [f"i{i}" for i in world.image_of_text] == list(world.texts["image_id"])
    for text, row in enumerate(world.negatives.tolist()):
        found = [names[n] for n in row if n >= 0]
        is_caption = text in world.captions
        assert found == ([f"{names[text]}!swap_roles", f"{names[text]}!replace_relation"] if is_caption else [])


def assembled(world, texts, image_ids):
    names, count = ["i0#0", "i0#0!swap_roles"], len(image_ids)
    return assemble(
        texts,
        image_ids,
        names,
        world.image_pooled[:count],
        world.text_pooled[:2],
        world.prototypes.index(slice(count)),
        world.phrases.index(slice(2)),
    )


def test_texts_follow_the_features_in_any_order_and_errors_name_the_row(world):
    shuffled = world.texts.sample(frac=1, random_state=0)
    extra = pd.DataFrame(
        [{"text_id": "other", "split": "test", "image_id": "elsewhere", "kind": "caption", "text": "of another split"}]
    )
    data = assembled(world, pd.concat([extra, shuffled]), world.image_ids)
    assert list(data.texts["text_id"]) == ["i0#0", "i0#0!swap_roles"]
    assert data.negatives.tolist() == [[1], [-1]]
    with pytest.raises(UserError, match="'i0#0!swap_roles'"):
        assembled(world, world.texts[world.texts["kind"] == "caption"], world.image_ids)
    with pytest.raises(UserError, match="'i0#0' belongs to image 'i0'"):
        assembled(world, world.texts, ["i1", "i2"])


def test_the_plain_loss_is_the_sum_of_its_terms_and_skips_captions_without_negative(world):
    method = Frozen(logit_scale=10.0, negative_weight=0.5)
    texts = world.captions[[0, 2, 4]]
    some = torch.tensor([int(world.negatives[texts[0], 0]), -1, int(world.negatives[texts[2], 1])])
    terms = method.loss(world, Batch(torch.tensor([0, 1, 2]), texts, some))
    scores = world.image_pooled @ world.text_pooled.T
    right, wrong = scores[[0, 2], texts[[0, 2]]], scores[[0, 2], some[[0, 2]]]
    expected = torch.log1p((10 * (wrong - right)).exp()).mean()
    assert float(terms["negative"]) == pytest.approx(float(expected), abs=close(torch.float32, 64, scale=30))
    assert float(terms["loss"]) == pytest.approx(
        float(terms["contrastive"] + 0.5 * terms["negative"]), abs=close(torch.float32, 3, scale=float(terms["loss"]))
    )
    none = method.loss(world, Batch(torch.tensor([0, 1, 2]), texts, torch.full((3,), -1)))
    assert float(none["negative"]) == 0.0


def test_state_goes_back_and_refuses_other_weights():
    method = Frozen(10.0, 1.0)
    method.extra = torch.nn.Parameter(torch.ones(2))
    kept = method.state()
    with torch.no_grad():
        method.extra.zero_()
    assert kept["extra"].tolist() == [1, 1]
    method.load_state(kept)
    assert method.extra.tolist() == [1, 1]
    for wrong in ({}, {"extra": torch.ones(3)}, {**kept, "more": torch.ones(1)}):
        with pytest.raises(UserError, match="does not fit this config"):
            method.load_state(wrong)


def test_the_hardest_pairs_of_a_batch_against_a_loop():
    stream = torch.Generator().manual_seed(3)
    logits = torch.randn(5, 5, generator=stream, dtype=torch.float64).requires_grad_()
    expected = []
    for row in range(5):
        others = [column for column in range(5) if column != row]
        worst_text = max(float(logits[row, column].detach()) for column in others)
        worst_image = max(float(logits[column, row].detach()) for column in others)
        true = float(logits[row, row].detach())
        expected.append(sum(-math.log(1 / (1 + math.exp(worst - true))) for worst in (worst_text, worst_image)) / 2)
    losses = hardest_losses(logits)
    assert losses.tolist() == pytest.approx(expected)
    assert torch.autograd.gradcheck(hardest_losses, (logits,))
