import pandas as pd
import pytest
import spacy
import torch

from tolerance import close, transformer
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.disentangle import TextDisentangler
from vialign.signal.validation.statements import encode_statements

TOWER = close(torch.float32, transformer(width=128, layers=3))
"""Two ways through the demo text tower."""

TEXTS = ["a red circle is above a blue square", "a star", "there is a green ring and a white heart", "red"]


@pytest.fixture(scope="module")
def encode():
    torch.manual_seed(0)
    text = TextDisentangler(128, 4, 8, 2, confidence=0.8, trust=0.9, smoothing=0.1, lexical=128)
    parts = load_backbone(BackboneConfig()), spacy.blank("en"), text.eval().requires_grad_(False)

    def run(texts):
        return encode_statements(pd.DataFrame({"text_id": [f"t{t}" for t in texts], "text": texts}), *parts)

    return run


def test_texts_keep_their_order_whatever_their_length(encode):
    """Each text alone is the oracle."""
    pooled, phrases = encode(TEXTS)
    for row, text in enumerate(TEXTS):
        alone, own = encode([text])
        torch.testing.assert_close(pooled[row], alone[0], atol=TOWER, rtol=0)
        torch.testing.assert_close(phrases.features[row], own.features[0], atol=TOWER, rtol=0)
        assert torch.equal(phrases.kind[row], own.kind[0])
    assert not torch.allclose(pooled[0], pooled[1], atol=0.01)
