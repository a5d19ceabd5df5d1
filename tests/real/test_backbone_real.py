"""The real-photo base: an open_clip model with a timm trunk, read from a local definition and checkpoint."""

import pytest
import torch

from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.data.base import image_table
from vialign.features import load_pixels

pytestmark = pytest.mark.real

SHA256 = "a260800556d1660632b61baa915d6b7725bbea9f1f2d5fe0c02633cc007b000a"


@pytest.fixture(scope="module")
def backbone(real_folder):
    base = real_folder / "base"
    if not (base / "flickr8k_base.safetensors").is_file():
        pytest.skip(f"no flickr8k_base.safetensors in {base}")
    return load_backbone(
        BackboneConfig(
            architecture="flickr8k_base",
            definition=str(base / "flickr8k_base.json"),
            checkpoint=str(base / "flickr8k_base.safetensors"),
        )
    )


@pytest.fixture(scope="module")
def photos(real_folder):
    """The first sixty test photos with their first captions."""
    folder = real_folder / "flickr8k"
    if not folder.is_dir():
        pytest.skip(f"no flickr8k folder in {real_folder}")
    names = (folder / "Flickr_8k.testImages.txt").read_text().split()[:60]
    lines = (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    captions = dict(line.split("\t", 1) for line in lines)
    images = image_table([(name, "test", f"images/{name}", 224, 224) for name in names])
    return images, [captions[f"{name}#0"] for name in names], folder


def test_the_contract_names_the_published_file(backbone):
    assert backbone.contract["checkpoint"] == SHA256
    assert backbone.contract["preprocessing"].startswith("size 224, bicubic, resize shortest")
    assert (backbone.grid, backbone.dimension, backbone.context_length) == ((7, 7), 256, 32)
    assert backbone.readouts == ("final",)


def test_patches_are_projected_cells_whose_mean_is_the_embedding(backbone, photos):
    images, _, folder = photos
    pixels = backbone.normalise(load_pixels(images.iloc[:4], {"data": folder}, backbone))
    with torch.inference_mode():
        pooled, patches = backbone.image_tokens(pixels, "final")
        expected = backbone.model.encode_image(pixels)
        cells = backbone.model.visual.trunk.forward_features(pixels).flatten(2).transpose(1, 2)
        torch.testing.assert_close(patches, backbone.model.visual.head(cells), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(patches.mean(dim=1), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pooled, torch.nn.functional.normalize(expected, dim=-1), atol=1e-5, rtol=0)


def test_it_finds_the_caption_of_a_photo_far_above_chance(backbone, photos):
    images, captions, folder = photos
    with torch.inference_mode():
        image = backbone.encode_image(backbone.normalise(load_pixels(images, {"data": folder}, backbone)))
        text = backbone.encode_text(backbone.tokenize(captions).ids)
        whole = backbone.model.encode_text(backbone.tokenizer(captions), normalize=True)
    torch.testing.assert_close(text, whole, atol=1e-5, rtol=0)
    hits = (image @ text.T).argmax(dim=1) == torch.arange(len(captions))
    assert hits.float().mean() > 0.3
    shuffled = (image @ text.roll(1, dims=0).T).argmax(dim=1) == torch.arange(len(captions))
    assert shuffled.float().mean() < 0.15
