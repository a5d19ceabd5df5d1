import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from PIL import Image

from vialign.errors import UserError
from vialign.features import boxes_in_crop, load_pixels
from vialign.features import pixels as pixels_module
from vialign.features.pixels import PixelFiles, read_image


def test_pixels_are_the_backbones_preprocessing_in_table_order(backbone, pictures):
    images, folders = pictures
    pixels = load_pixels(images.iloc[[4, 1]], folders, backbone)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (2, 3, 112, 112)
    assert torch.equal(pixels[1], backbone.preprocess(Image.open(folders["data"] / "1.png")))


def test_a_crop_is_what_is_seen_and_each_source_has_its_own_folder(backbone, pictures, tmp_path):
    images, folders = pictures
    whole = Image.open(folders["data"] / "1.png")
    whole.save(tmp_path / "1.png")
    row = images.iloc[[1]].assign(source="benchmark", crop=pd.Series([[10.4, 5.0, 40.0, 30.0]], index=[1]))
    seen = load_pixels(row, {**folders, "benchmark": tmp_path}, backbone)
    assert torch.equal(seen[0], backbone.preprocess(whole.crop((10, 5, 50, 35))))
    assert not torch.equal(seen[0], load_pixels(images.iloc[[1]], folders, backbone)[0])


def test_files_are_decoded_once_in_the_order_asked_for_and_ahead_when_expected(backbone, pictures, monkeypatch):
    images, folders = pictures
    decoded = []
    read = pixels_module.read_image
    monkeypatch.setattr(pixels_module, "read_image", lambda *of: decoded.append(of[2]) or read(*of))
    files = PixelFiles(images, folders, backbone)
    assert len(files) == len(images) and decoded == []
    index = torch.tensor([4, 1, 4])
    assert torch.equal(files[index], load_pixels(images.iloc[[4, 1, 4]], folders, backbone))
    decoded.clear()
    files.expect(torch.tensor([0, 2]))
    files.expect(torch.tensor([2, 3]))
    found = files[torch.tensor([3, 2])]
    assert sorted(decoded) in (["image-2", "image-3"], ["image-0", "image-2", "image-3"])
    decoded.clear()
    assert torch.equal(found, files[torch.tensor([3, 2])])
    assert sorted(decoded) == ["image-2", "image-3"], "what was given is not kept"


def test_a_file_that_was_expected_and_cannot_be_read_is_named_when_it_is_asked_for(backbone, pictures):
    images, folders = pictures
    files = PixelFiles(images.assign(path="absent.png"), folders, backbone)
    files.expect(torch.tensor([1]))
    with pytest.raises(UserError, match=r"image_id image-1: .*absent.png: no such file"):
        files[torch.tensor([1])]


@pytest.mark.parametrize("path", ["../secret.png", "a/../../secret.png", "/etc/hostname", ".", "a/.."])
def test_paths_cannot_leave_their_folder(tmp_path, path):
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    with pytest.raises(UserError, match="image_id i: .*(leads out of the folder|it is not a file)"):
        read_image(folder, path, "i")


def test_links_in_the_folder_are_followed_as_a_hubs_cache_needs(tmp_path):
    folder, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    folder.mkdir()
    blobs.mkdir()
    Image.new("RGB", (4, 7), "red").save(blobs / "1f.png")
    (folder / "a.png").symlink_to("../blobs/1f.png")
    (folder / "more").symlink_to(blobs)
    for path in ("a.png", "more/1f.png", "more/../a.png"):
        assert read_image(folder, path, "i").picture.size == (4, 7)


def test_files_that_are_no_image_are_named(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    for name in ("text.png", "cut.jpg", "absent.jpg"):
        with pytest.raises(
            UserError, match=f"image_id i: .*{name}: (cannot be read as an image|no such file)"
        ) as error:
            read_image(tmp_path, name, "i")
        assert "\n" not in str(error.value)
    assert read_image(tmp_path, "whole.jpg", "i").picture.size == (64, 64)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(150, 100), (90, 160), (120, 120)])
def test_boxes_follow_the_pixels_through_open_clips_preprocessing(mode, size):
    box = (40, 30, 35, 25)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 255
    transform = open_clip.image_transform(64, is_train=False, resize_mode=mode, mean=(0,) * 3, std=(1,) * 3)
    seen = transform(Image.fromarray(canvas))[0].numpy() > 0.5
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    expected = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 64
    found = boxes_in_crop(np.array([box]), np.array([size[0]]), np.array([size[1]]), mode)
    np.testing.assert_allclose(found[0], expected, atol=1.2 / 64)


def test_a_box_in_the_cropped_margin_has_no_area():
    found = boxes_in_crop(np.array([[0, 0, 20, 100.0]]), np.array([200]), np.array([100]), "shortest")
    assert found[0, 2] - found[0, 0] == 0
    kept = boxes_in_crop(np.array([[0, 0, 20, 100.0]]), np.array([200]), np.array([100]), "squash")
    np.testing.assert_allclose(kept[0], [0, 0, 0.1, 1])
