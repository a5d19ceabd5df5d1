"""Baselines that are told as much as vialign is: labelled boxes, grounded words, and as many pairs."""

import math
from dataclasses import replace

import pytest
import torch

from planted import CALIBRATION
from tolerance import close, transformer
from unit.baselines.conftest import IMAGES
from vialign.config.experiment import load_config
from vialign.disentangle.boxes import BoxTargets
from vialign.evaluation.run import score_matrix
from vialign.methods.build import build_method

SCORES = close(torch.float32, transformer(width=32, layers=2))
"""Two ways through the towers of these tests to a similarity."""
CONFIG = load_config({"training": {"lora_rank": 2}, "baselines": {"box_weight": 0.7}})


def build(name, backbone):
    return build_method(name, CONFIG, backbone, CALIBRATION, 0)


def moved(method):
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.trainable().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=stream))
    return method.eval()


# ------------------------------------------------------------------------------------------- labelled boxes


@torch.no_grad()
def test_the_loss_on_boxes_equals_loops_over_regions_and_labels(backbone, data):
    method = moved(build("lora-boxes", backbone))
    index = torch.tensor([4, 0, 3, 1])
    own = method.backbone
    regions, labels = [], []
    for image in index.tolist():
        patches = own.image_tokens(own.normalise(data.pixels[image : image + 1]), "final")[1][0]
        for target in range(2):
            if data.boxes.label[image, target] < 0:
                continue
            pooled = torch.zeros(patches.shape[1], dtype=torch.float64)
            for patch, share in zip(patches.double(), data.boxes.coverage[image, target].tolist(), strict=True):
                pooled += share * patch / patch.norm()
            regions.append(pooled / pooled.norm())
            labels.append(data.boxes.labels[int(data.boxes.label[image, target])])
    words = {label: own.encode_text(own.tokenize([f"a {label}"]).ids)[0].double() for label in set(labels)}
    total = 0.0
    for region, label in zip(regions, labels, strict=True):
        logits = {name: own.logit_scale * float(region @ vector) for name, vector in words.items()}
        total += math.log(sum(map(math.exp, logits.values()))) - logits[label]
    method._in_step = True
    patches = method.images(data, index)["patches"]
    assert len(regions) == 5 and len(words) == 3
    assert float(method.box_loss(data, index, patches)) == pytest.approx(total / 5, abs=10 * SCORES)


def test_the_loss_on_boxes_is_the_regularisation_with_its_weight(backbone, data, batch):
    method, plain = build("lora-boxes", backbone), build("lora", backbone)
    terms, usual = method.loss(data, batch), plain.loss(data, batch)
    sides, _, _ = method.sides(data, batch)
    expected = 0.7 * float(method.box_loss(data, batch.images, sides["patches"]).detach())
    assert float(terms["regularisation"].detach()) == pytest.approx(expected, rel=1e-5) and expected > 0
    for name in ("contrastive", "negative"):
        torch.testing.assert_close(terms[name], usual[name], atol=20 * SCORES, rtol=0)


@pytest.mark.parametrize("label", [-1, 1])
def test_without_two_labels_to_tell_apart_nothing_is_learned_of_boxes(backbone, data, batch, label):
    boxes = replace(data.boxes, label=torch.full_like(data.boxes.label, label))
    assert float(build("lora-boxes", backbone).loss(replace(data, boxes=boxes), batch)["regularisation"].detach()) == 0


def test_lora_learns_what_lies_in_the_boxes(backbone, data, batch):
    """On boxes that each cover one patch; dealt to other images, the same boxes teach nothing of these."""
    rows, columns = backbone.grid
    coverage = torch.zeros(IMAGES, 1, rows * columns)
    coverage[:, 0, 0] = 1
    boxes = BoxTargets(coverage, torch.arange(IMAGES)[:, None] % 3, data.boxes.labels)
    data = replace(data, boxes=boxes)
    method = build("lora-boxes", backbone)
    index = batch.images

    def box_loss():
        sides, _, _ = method.sides(data, batch)
        return method.box_loss(data, index, sides["patches"])

    before = float(box_loss().detach())
    optimiser = torch.optim.AdamW(method.trainable().values(), lr=3e-2)
    for _ in range(15):
        optimiser.zero_grad()
        box_loss().backward()
        optimiser.step()
    assert float(box_loss().detach()) < 0.7 * before


# ------------------------------------------------------------------------------------------- grounded words


def test_lora_with_grounding_is_loras_caption_with_the_words_of_the_fit(backbone, data):
    alone, method, plain = (build(name, backbone) for name in ("grounding", "lora-grounding", "lora"))
    for each in (alone, method):
        each.begin(data)
    for name, tensor in alone.grounding.named_buffers():
        torch.testing.assert_close(method.grounding.get_buffer(name), tensor)
    moved(method), moved(plain)
    index = torch.arange(len(data.texts))
    with torch.no_grad():
        texts, own = plain.texts(data, index)["pooled"], method.texts(data, index)["pooled"]
        images = plain.images(data, torch.arange(IMAGES))["pooled"]
    words = (data.words.double() - alone.grounding.mean) / alone.grounding.deviation @ alone.grounding.weight.double()
    seen = words / words.norm(dim=1, keepdim=True)
    both = texts.double() + CONFIG.baselines.grounding_share * seen
    expected = both / both.norm(dim=1, keepdim=True)
    torch.testing.assert_close(own.double(), expected, atol=10 * SCORES, rtol=0)
    whole = (images.double() @ expected[data.captions].T).float()
    torch.testing.assert_close(score_matrix(method, data, 8), whole, atol=10 * SCORES, rtol=0)
    torch.testing.assert_close(score_matrix(method.merged(), data, 8), whole, atol=20 * SCORES, rtol=0)
