import hashlib

import torch

from tolerance import close, transformer
from vialign.backbone import load_backbone
from vialign.backbone.byte_pairs import vocabulary_size
from vialign.backbone.registry import ASSETS, DEMO
from vialign.config.data import BackboneConfig


def test_the_default_config_loads_the_shipped_weights_with_their_own_tokenizer():
    file = ASSETS / f"{DEMO}.safetensors"
    assert file.stat().st_size <= 16 * 2**20
    backbone = load_backbone(BackboneConfig())
    assert backbone.contract["checkpoint"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (backbone.contract["architecture"], backbone.grid, backbone.dimension) == (DEMO, (7, 7), 128)
    assert vocabulary_size(backbone.tokenizer) <= backbone.model.vocab_size
    tokens = backbone.tokenize(["a red circle is above a blue square", "there is a green star"])
    assert int(tokens.mask[1].sum()) == 5  # every word of the world is one token
    whole = backbone.model.encode_text(backbone.tokenizer(["there is a green star"]), normalize=True)
    allowed = close(torch.float32, transformer(width=128, layers=3))
    torch.testing.assert_close(backbone.encode_text(tokens.ids)[1:], whole, atol=allowed, rtol=0)
