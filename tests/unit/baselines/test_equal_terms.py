"""Baselines that are told as much as vialign is: labelled boxes, grounded words, and as many pairs."""

import torch

from planted import CALIBRATION
from tolerance import close, transformer
from unit.baselines.conftest import IMAGES
from vialign.config.experiment import load_config
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
