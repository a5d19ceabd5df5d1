"""The readout of encoded crops, against crops taken and averaged by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tolerance import close, transformer
from vialign.backbone.crops import SIDE, covering, crop_patches, crop_windows
from vialign.backbone.loading import load_backbone
from vialign.config.data import BackboneConfig

ENCODED = close(torch.float32, transformer(width=128, layers=4) + SIDE**2)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(BackboneConfig(checkpoint=None), seed=0)


def test_windows_are_half_the_side_and_reach_every_edge():
    assert crop_windows(32, 64, 3)[:4] == [(0, 16, 0, 32), (0, 16, 16, 48), (0, 16, 32, 64), (8, 24, 0, 32)]
    assert crop_windows(32, 64, 1) == [(8, 24, 16, 48)]
    for size, side in ((7, 2), (33, 3), (224, 5)):
        windows = crop_windows(size, size, side)
        assert len(windows) == side**2 and windows[0][0] == 0 and windows[-1][1] == size == windows[-1][3]


@pytest.mark.parametrize(("size", "grid"), [((32, 32), (4, 4)), ((24, 48), (3, 8)), ((224, 224), (7, 7))])
def test_a_patch_counts_the_crops_that_show_its_centre_alike(size, grid):
    windows = crop_windows(*size, SIDE)
    expected = np.zeros((grid[0] * grid[1], len(windows)))
    for row in range(grid[0]):
        for column in range(grid[1]):
            y, x = (row + 0.5) * size[0] / grid[0], (column + 0.5) * size[1] / grid[1]
            seen = [top <= y < bottom and left <= x < right for top, bottom, left, right in windows]
            expected[row * grid[1] + column] = np.array(seen) / sum(seen)
    np.testing.assert_allclose(covering(windows, size, grid).numpy(), expected, rtol=1e-6)
    assert expected[0].max() == 1 and expected[:, 0].sum() < len(expected)


def test_a_corner_is_what_its_own_crop_shows_and_the_middle_a_mean_of_four():
    colours = torch.eye(4)[:, :3]
    pixels = colours.reshape(2, 2, 3).permute(2, 0, 1).repeat_interleave(16, 1).repeat_interleave(16, 2)[None]
    patches = crop_patches(lambda views: views.mean(dim=(2, 3)), pixels, (4, 4))
    assert patches.shape == (1, 16, 3)
    for place, colour in zip((0, 3, 12, 15), colours, strict=True):
        torch.testing.assert_close(patches[0, place], colour, atol=1e-5, rtol=0)
    views = [pixels[..., a:b, c:d].mean(dim=(2, 3)) for a, b, c, d in crop_windows(32, 32, 3)]
    middle = torch.cat([views[0], views[1], views[3], views[4]]).mean(dim=0)
    torch.testing.assert_close(patches[0, 5], middle, atol=1e-2, rtol=0)


def test_it_stands_beside_the_towers_own_and_every_crop_is_an_image_of_its_own(backbone):
    side = backbone.image_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = backbone.image_outputs(pixels, ("final", "crops"))
    alone = backbone.image_outputs(pixels, ("final",))
    torch.testing.assert_close(found.pooled, alone.pooled)
    torch.testing.assert_close(found.patches["final"], alone.patches["final"])
    rows, columns = backbone.grid
    row, column, hand = rows // 2, 0, []
    y, x = (row + 0.5) * side / rows, (column + 0.5) * side / columns
    for top in (0, side // 4, side // 2):
        for left in (0, side // 4, side // 2):
            if top <= y < top + side // 2 and left <= x < left + side // 2:
                crop = pixels[:, :, top : top + side // 2, left : left + side // 2]
                hand.append(backbone.encode_image(F.interpolate(crop, size=(side, side), mode="bicubic")))
    expected = torch.stack(hand).mean(dim=0)
    torch.testing.assert_close(found.patches["crops"][:, row * columns + column], expected, atol=ENCODED, rtol=0)
    (gradient,) = torch.autograd.grad(found.patches["crops"].square().sum(), pixels)
    assert gradient.isfinite().all() and (gradient.abs().amax(dim=1) > 0).float().mean() > 0.9
    tokens = backbone.image_tokens(pixels.detach(), "crops")[1]
    torch.testing.assert_close(tokens, found.patches["crops"].detach())
