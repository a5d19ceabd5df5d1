import json

import numpy as np
import pytest
from PIL import Image

from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.data.base import image_table


@pytest.fixture(scope="session")
def backbone():
    """The demo architecture with random weights."""
    return load_backbone(BackboneConfig(checkpoint=None), seed=1)


@pytest.fixture(scope="session")
def trunk_backbone(tmp_path_factory):
    """A convolutional timm trunk with random weights."""
    vision = {"timm_model_name": "mobilenetv2_035", "timm_model_pretrained": False, "timm_pool": "avg"}
    vision |= {"timm_proj": "linear", "timm_proj_bias": True, "image_size": 64}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    path = tmp_path_factory.mktemp("models") / "features-trunk.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    return load_backbone(BackboneConfig(architecture="features-trunk", definition=str(path), checkpoint=None))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Eleven random images of several sizes: their table and the folder of their source."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(11):
        width, height = int(rng.integers(80, 200)), int(rng.integers(80, 200))
        pixels = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(folder / f"{number}.png")
        rows.append((f"image-{number}", "selection", f"{number}.png", width, height))
    return image_table(rows), {"data": folder}
