"""Two tiny backbones with random weights, and a split in which everything that a method may read belongs to them."""

import json

import pytest
import torch

from planted import Vocabulary, planted_world
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.disentangle.boxes import BoxTargets
from vialign.features.regions import Regions
from vialign.methods.ground import word_summary
from vialign.methods.objective import Batch, SplitData

DIMENSION = 16
IMAGES = 6
VISION = {
    "vit": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "trunk": {
        "timm_model_name": "test_efficientnet",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "timm_proj_bias": True,
        "image_size": 32,
    },
}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
WORDS = ["a", "red", "circle", "above", "the", "small", "blue", "square", "with", "two", "big", "green", "stars"]


@pytest.fixture(scope="session", params=list(VISION))
def tower(request):
    """Which image tower: `vit`, or `trunk` for a timm convolutional one."""
    return request.param


@pytest.fixture(scope="session")
def backbone(tower, tmp_path_factory):
    name = f"tiny-baselines-{tower}"
    path = tmp_path_factory.mktemp("models") / f"{name}.json"
    path.write_text(json.dumps({"embed_dim": DIMENSION, "vision_cfg": VISION[tower], "text_cfg": TEXT}))
    return load_backbone(BackboneConfig(architecture=name, definition=str(path), checkpoint=None))


@pytest.fixture(scope="session")
def captions():
    """Texts of 1 to 9 words, all different."""
    world = planted_world(Vocabulary(DIMENSION), images=IMAGES, seed=0)
    return [" ".join(WORDS[n % 5 : n % 5 + 1 + n % 9]) + f" {n}" for n in range(len(world.texts))]


@pytest.fixture(scope="session")
def data(backbone, captions):
    """Planted prototypes and phrases; pixels, tokens and embeddings from the backbone."""
    world = planted_world(Vocabulary(DIMENSION), images=IMAGES, seed=0)
    pixels = torch.randint(0, 256, (IMAGES, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    tokens = backbone.tokenize(captions)
    with torch.no_grad():
        output = backbone.image_outputs(backbone.normalise(pixels), ("final",))
        text_pooled, states = backbone.text_tokens(tokens.ids)
    parts = {
        "image_pooled": output.pooled,
        "text_pooled": text_pooled,
        "pixels": pixels,
        "trunk": output.trunk,
        "token_ids": tokens.ids,
        "patches": output.patches["final"].half(),
        "states": (states * tokens.mask[..., None]).half(),
        "mask": tokens.mask,
        "words": word_summary(states, tokens.mask, backbone.dimension),
        "regions": some_regions(),
        "boxes": some_boxes(backbone.grid),
    }
    return SplitData(**{**vars(world), **parts})


def some_regions():
    """Three regions an image at most, and one image without any."""
    stream = torch.Generator().manual_seed(1)
    present = torch.arange(3) < torch.tensor([3, 1, 2, 0, 3, 2])[:, None]
    boxes = torch.rand(IMAGES, 3, 2, 2, generator=stream).sort(dim=2).values.flatten(2)
    features, tags = torch.randn(2, IMAGES, 3, DIMENSION, generator=stream)
    parts = (features, boxes, torch.nn.functional.normalize(tags, dim=-1))
    features, boxes, tags = (part * present[..., None] for part in parts)
    return Regions(features.half(), boxes, tags.half(), present)


def some_boxes(grid):
    """Two labelled regions an image at most, of three labels, and one image without any."""
    patches = grid[0] * grid[1]
    label = torch.tensor([[0, 1], [2, -1], [0, 2], [-1, -1], [1, 2], [1, -1]])
    coverage = torch.rand(IMAGES, 2, patches, generator=torch.Generator().manual_seed(2)) * (label >= 0)[..., None]
    return BoxTargets(coverage, label, ["blue square", "green star", "red circle"])


@pytest.fixture(scope="session")
def batch(data):
    texts = data.captions[::2][:4]
    return Batch(torch.arange(4), texts, data.negatives[texts, 0])
