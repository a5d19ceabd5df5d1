"""Moved images: every patch's content is found where the correspondence says it has gone."""

import pytest
import torch

from vialign.disentangle.moved import FITTED_MOVES, MOVES, attention_of, patches_of

GRIDS = ((7, 7), (4, 6), (14, 14), (3, 3))


def test_flip_and_shift_move_an_image_by_index():
    for grid in ((7, 7), (2, 3)):
        image = torch.arange(grid[0] * grid[1])
        flipped = image.reshape(grid).flip(1).reshape(-1)
        assert torch.equal(flipped[MOVES["flip"].correspondence(grid)], image)
        shifted = torch.full(grid, -7)
        shifted[1:, 1:] = image.reshape(grid)[:-1, :-1]
        correspondence = MOVES["shift"].correspondence(grid)
        seen = correspondence >= 0
        assert seen.sum() == (grid[0] - 1) * (grid[1] - 1)
        assert torch.equal(shifted.reshape(-1)[correspondence[seen]], image[seen])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("move", MOVES)
def test_a_marked_patch_lies_where_the_correspondence_says(move, grid):
    """Pixels and correspondence, made apart, must agree: the mark is brightest in the patch it has gone to."""
    size = 8
    patches = grid[0] * grid[1]
    pixels = torch.zeros(patches, 3, grid[0] * size, grid[1] * size, dtype=torch.uint8)
    for patch in range(patches):
        row, column = divmod(patch, grid[1])
        pixels[patch, :, row * size + 3 : row * size + 5, column * size + 3 : column * size + 5] = 255
    moved = MOVES[move].pixels(pixels, grid)
    assert moved.shape == pixels.shape and moved.dtype == torch.uint8
    inside = moved.float().reshape(patches, 3, grid[0], size, grid[1], size).sum(dim=(1, 3, 5)).reshape(patches, -1)
    correspondence = MOVES[move].correspondence(grid)
    for patch, place in enumerate(correspondence.tolist()):
        if place < 0:
            assert inside[patch].sum() == 0
        else:
            # A centre on the border of two patches shines into both; then the later one is named.
            assert inside[patch, place] >= 0.99 * inside[patch].max() > 0


def test_a_crop_zooms_into_the_centre():
    correspondence = MOVES["crop"].correspondence((7, 7)).reshape(7, 7)
    assert (correspondence[0] < 0).all() and (correspondence[:, 6] < 0).all()
    assert correspondence[3, 3] == 24  # the centre stays
    assert correspondence[1, 1] == 0 and correspondence[5, 5] == 48  # what was cut next to is the corner now
    assert correspondence[2, 4].item() == 2 * 7 + 4
    wide = MOVES["crop"].correspondence((14, 14)).reshape(14, 14)
    assert int((wide >= 0).sum()) == 100
    flat = torch.full((1, 3, 56, 56), 77, dtype=torch.uint8)
    assert torch.equal(MOVES["crop"].pixels(flat, (7, 7)), flat)


class FakeBackbone:
    """Patches are mean colours; attention is the brightness of a patch, or none."""

    device = torch.device("cpu")

    def __init__(self, attends):
        self.attends = attends

    def normalise(self, pixels):
        return pixels.float() / 255

    def image_tokens(self, pixels, readout):
        cells = torch.nn.functional.avg_pool2d(pixels, 8).flatten(2).transpose(1, 2)
        return cells.mean(dim=1), cells

    def attention_maps(self, pixels):
        return self.image_tokens(pixels, "final")[1].transpose(1, 2) if self.attends else None


def test_patches_and_attention_are_read_in_batches(capsys):
    pixels = torch.randint(0, 256, (5, 3, 24, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = FakeBackbone(True).image_tokens(pixels.float() / 255, "final")[1]
    torch.testing.assert_close(
        patches_of(FakeBackbone(True), pixels, "final", batch=2).float(), expected, atol=1e-3, rtol=0
    )
    torch.testing.assert_close(attention_of(FakeBackbone(True), pixels, batch=2), expected.transpose(1, 2))
    assert capsys.readouterr().out == ""
    assert attention_of(FakeBackbone(False), pixels, batch=2) is None
    assert "no pooled token whose attention could be read" in capsys.readouterr().out


def test_a_crop_is_never_fitted_on():
    assert set(MOVES) - set(FITTED_MOVES) == {"crop"}
