"""The light baselines on CoCa, whose text tower pools at a class token behind the caption, and on BLIP."""

import pytest
import torch

from planted import CALIBRATION
from tolerance import close, transformer
from unit.baselines.test_lora_families import blip, coca
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.config.experiment import load_config
from vialign.errors import UserError
from vialign.methods.build import build_method
from vialign.training.loop import require_gradients

INSIDE = ("adapter", "bitfit", "prompt", "coop")
TEXTS = ["a red circle", "a star", "dogs"]


def build(name, backbone):
    return build_method(name, load_config({}), backbone, CALIBRATION, 0)


@pytest.fixture(scope="module", params=["coca", "blip"])
def backbone(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    name, definition = ("lora-coca", coca(folder)) if request.param == "coca" else ("blip", blip(folder))
    return load_backbone(BackboneConfig(architecture=name, definition=definition, checkpoint=None))


@pytest.mark.parametrize("name", INSIDE)
def test_it_trains_all_that_it_adds_or_says_that_it_cannot(name, backbone):
    if backbone.contract["architecture"] == "blip" and name != "bitfit":
        with pytest.raises(UserError, match=f"{name}: the (image|text) tower of blip .* remove {name} from"):
            build(name, backbone)
        return
    method = build(name, backbone)
    pixels = torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pixels, ids = backbone.normalise(pixels), backbone.tokenize(TEXTS).ids
    images, texts = method.backbone.encode_image(pixels), method.encode_text(ids)
    changed = float((texts - backbone.encode_text(ids)).abs().max().detach())
    assert changed == 0 if name in ("adapter", "bitfit") else changed > 1e-3
    (images[:, 0] * texts[:, 1]).sum().backward()
    require_gradients(name, method.trainable())
    alone = method.encode_text(backbone.tokenize(TEXTS[1:2]).ids)
    torch.testing.assert_close(alone[0], texts[1], atol=close(torch.float32, transformer(width=48, layers=4)), rtol=0)
