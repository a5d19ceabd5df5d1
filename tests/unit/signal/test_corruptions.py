import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest, truncnorm

from vialign.signal.validation.corruptions import CORRUPTIONS, corrupt


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Pictures with colour and some detail, 112 pixels wide."""
    rng = np.random.default_rng(0)
    noise = gaussian_filter(rng.standard_normal((3, 3, 112, 112)), (0, 0, 2, 2))
    scaled = (noise - noise.min()) / (noise.max() - noise.min())
    return torch.from_numpy((scaled * 255).astype(np.uint8))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_stay_images_and_differ_more_with_severity(pixels, name):
    before = pixels.clone()
    results = [corrupt(pixels, name, severity, 0) for severity in range(1, 6)]
    assert torch.equal(pixels, before)
    assert all(result.dtype == torch.uint8 and result.shape == pixels.shape for result in results)
    distances = [float((result.float() - pixels.float()).square().mean()) for result in results]
    # Not at every step: pixelation by half falls on whole pixels, by 0.6 between them.
    assert distances[0] > 0 and np.corrcoef(distances, range(5))[0, 1] > 0.9 and distances[-1] > 1.3 * distances[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_corrupted_alike_in_any_batch_and_by_its_seed(pixels, name):
    whole = corrupt(pixels, name, 3, 0)
    assert torch.equal(whole[:2], corrupt(pixels[:2], name, 3, 0))
    changes = not torch.equal(whole, corrupt(pixels, name, 3, 1))
    assert changes == (name in ("gaussian noise", "occlusion"))


def test_blur_equals_scipy(pixels):
    sigma = 3.0 * 112 / 224
    expected = [gaussian_filter(channel, sigma, mode="nearest", truncate=4.0) for channel in pixels[0].double().numpy()]
    np.testing.assert_allclose(corrupt(pixels, "blur", 3, 0)[0].numpy(), np.stack(expected), atol=1.0)


def test_brightness_equals_the_hsv_shift(pixels):
    image = pixels[0].permute(1, 2, 0).numpy()
    hsv = np.asarray(Image.fromarray(image).convert("HSV"), dtype=np.float64)
    hsv[..., 2] = np.minimum(hsv[..., 2] + 0.3 * 255, 255)
    expected = np.asarray(Image.fromarray(hsv.round().astype(np.uint8), "HSV").convert("RGB"), dtype=np.float64)
    found = corrupt(pixels, "brightness", 3, 0)[0].permute(1, 2, 0).numpy().astype(np.float64)
    assert np.abs(found - expected).mean() < 2.0
    black = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert (corrupt(black, "brightness", 1, 0) == 26).all()


def test_contrast_keeps_the_mean_and_shrinks_the_spread(pixels):
    found = corrupt(pixels, "contrast", 2, 0).double()
    assert torch.allclose(found.mean(dim=(2, 3)), pixels.double().mean(dim=(2, 3)), atol=1.0)
    assert torch.allclose(found.std(dim=(2, 3)), 0.3 * pixels.double().std(dim=(2, 3)), atol=1.0)


@pytest.mark.parametrize("severity", range(1, 6))
def test_occlusion_covers_its_share_with_grey(severity):
    white = torch.full((6, 3, 100, 100), 255, dtype=torch.uint8)
    covered = (corrupt(white, "occlusion", severity, 0) == 128).all(dim=1)
    np.testing.assert_allclose(covered.float().mean(dim=(1, 2)), (0.05, 0.1, 0.2, 0.3, 0.4)[severity - 1], atol=0.01)


@pytest.mark.parametrize(("severity", "spread"), [(1, 0.08), (3, 0.18)])
def test_noise_is_normal_with_its_spread(severity, spread):
    grey = torch.full((2, 3, 64, 64), 128, dtype=torch.uint8)
    noise = (corrupt(grey, "gaussian noise", severity, 0).double().flatten().numpy() - 128) / 255
    # Rounding to whole levels makes steps; a little jitter fills them again.
    noise += np.random.default_rng(0).uniform(-0.5, 0.5, noise.shape) / 255
    inside = noise[np.abs(noise) < 0.49]
    limits = -0.49 / spread, 0.49 / spread
    assert kstest(inside, truncnorm(*limits, scale=spread).cdf).pvalue > 0.01
    assert kstest(inside, truncnorm(*limits, scale=1.1 * spread).cdf).pvalue < 0.01


@pytest.mark.parametrize(("severity", "side"), [(2, 56), (5, 28)])
def test_pixelate_equals_pillow_where_blocks_are_whole_pixels(pixels, severity, side):
    image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    small = image.resize((side, side), Image.Resampling.BOX)
    expected = np.asarray(small.resize((112, 112), Image.Resampling.NEAREST), dtype=float).transpose(2, 0, 1)
    np.testing.assert_allclose(corrupt(pixels, "pixelate", severity, 0)[0].numpy(), expected, atol=1.0)


def test_pixelate_leaves_few_values(pixels):
    assert len(torch.unique(corrupt(pixels[:1], "pixelate", 5, 0)[0, 0])) <= 28 * 28


def test_jpeg_is_what_pillow_writes(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels[1].permute(1, 2, 0).numpy()).save(buffer, format="JPEG", quality=10)
    expected = np.asarray(Image.open(buffer)).transpose(2, 0, 1)
    assert (corrupt(pixels, "jpeg", 4, 0)[1].numpy() == expected).all()
