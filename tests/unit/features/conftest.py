import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vialign.backbone import load_backbone
from vialign.config import BackboneConfig


@pytest.fixture(scope="session")
def backbone():
    """The demo architecture with random weights."""
    return load_backbone(BackboneConfig(checkpoint=None), seed=1)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Eleven random images of several sizes: their table and its folder."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(11):
        width, height = int(rng.integers(80, 200)), int(rng.integers(80, 200))
        pixels = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(folder / f"{number}.png")
        rows.append((f"image-{number}", "validation", f"{number}.png", width, height))
    return pd.DataFrame(rows, columns=["image_id", "split", "path", "width", "height"]), folder
