import os
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms

from vialign.errors import UserError
from vialign.files.images import Changes, Checked, as_rgb, check_images, open_image

SHADES = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def pixels(file, own=True):
    return np.asarray(open_image(file, own).picture)


def saved(folder, name, image, **options):
    image.save(folder / name, **options)
    return folder / name


def tagged(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "P", "RGBA"])
def test_pictures_of_the_users_own_are_turned_upright_and_annotated_ones_are_not(tmp_path, orientation, mode):
    stored = Image.fromarray(COLOURS).convert("L").convert(mode) if mode != "RGB" else Image.fromarray(COLOURS)
    file = saved(tmp_path, "a.png", stored, exif=tagged(orientation))
    turn = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1)}
    turn |= {6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90}
    plain = pixels(saved(tmp_path, "b.png", stored))
    np.testing.assert_array_equal(pixels(file, own=False), plain)
    np.testing.assert_array_equal(pixels(file), turn[orientation](plain))
    assert "orientation" in open_image(file, True).changes & open_image(file, False).changes
    (known,) = check_images([file])
    assert (known.width, known.height) == (9, 6) and "orientation" in known.changes


def test_a_tiff_is_turned_by_its_reader_and_that_is_told(tmp_path):
    file = saved(tmp_path, "a.tif", Image.fromarray(COLOURS), exif=tagged(6))
    np.testing.assert_array_equal(pixels(file), np.rot90(COLOURS, -1))
    assert (open_image(file, True).changes, open_image(file, False).changes) == ({"orientation"}, {"turned"})
    assert next(check_images([file])) == Checked(6, 9, frozenset({"turned"}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>Not found", "it is a web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is in HEIC, the format of phones; save it as JPEG"),
        (b"<svg/>", "it is in no known image format"),
    ],
)
def test_what_lies_in_the_place_of_a_picture_is_named(tmp_path, content, said):
    file = tmp_path / "a.png"
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"cannot be read as an image \\({said}"):
        open_image(file, True)
    assert said in next(check_images([file]))


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.png", SHADES.astype(np.uint16) * 257),
        ("a.tiff", SHADES.astype(np.uint16) * 257),
        ("a.tiff", SHADES.astype(np.int32) * 257),
        ("a.tiff", SHADES.astype(np.float32) / 255),
    ],
)
def test_deep_pictures_are_scaled_by_their_depth(tmp_path, name, stored):
    file = saved(tmp_path, name, Image.fromarray(stored))
    np.testing.assert_array_equal(pixels(file), np.repeat(SHADES[..., None], 3, axis=2))
    assert open_image(file, False).changes == {"depth"}
    assert next(check_images([file])).changes == {"depth"}


@pytest.mark.parametrize("values", [np.float32([[0, 255]]), np.float32([[0, np.nan]]), np.int32([[0, 70000]])])
def test_numbers_without_a_known_range_are_refused_by_name(tmp_path, values):
    file = saved(tmp_path, "a.tiff", Image.fromarray(values))
    with pytest.raises(UserError, match=r"a\.tiff: cannot be read as an image \(it holds numbers from") as error:
        open_image(file, True)
    assert next(check_images([file])) == str(error.value).removeprefix(f"{file}: ")


def test_what_is_hidden_by_transparency_is_not_seen(tmp_path):
    layers = np.dstack([COLOURS, np.full((6, 9), 255, np.uint8)])
    layers[:3] = 255, 0, 255, 0
    found = open_image(saved(tmp_path, "a.png", Image.fromarray(layers)), True)
    assert found.changes == {"transparency"}
    assert (np.asarray(found.picture)[:3] == 255).all()
    np.testing.assert_array_equal(np.asarray(found.picture)[3:], COLOURS[3:])
    opaque = np.dstack([COLOURS, np.full((6, 9), 255, np.uint8)])
    assert open_image(saved(tmp_path, "b.png", Image.fromarray(opaque)), True).changes == frozenset()


def test_a_palette_with_transparency_is_laid_on_white_without_a_warning(tmp_path, recwarn):
    picture = Image.new("P", (4, 2), 1)
    picture.putpalette([255, 0, 255, 0, 128, 0])
    picture.paste(0, (0, 0, 2, 2))
    file = saved(tmp_path, "a.png", picture, transparency=bytes([0, 255]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels(file).tolist() == [[[255] * 3] * 2 + [[0, 128, 0]] * 2] * 2
    assert open_image(file, True).changes == {"palette", "transparency"}


def test_frames_inks_and_profiles_are_told(tmp_path):
    frames = [Image.new("L", (3, 3), shade) for shade in (0, 200)]
    moving = saved(tmp_path, "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert "frames" in open_image(moving, True).changes and pixels(moving).max() == 0
    inks = saved(tmp_path, "a.jpg", Image.new("CMYK", (3, 3)))
    assert open_image(inks, True).changes == {"inks"}
    profiles = {"b.png": "LAB", "c.png": "sRGB"}
    made = {name: ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes() for name, kind in profiles.items()}
    files = [saved(tmp_path, name, Image.fromarray(COLOURS), icc_profile=made[name]) for name in made]
    assert [open_image(file, True).changes for file in files] == [{"profile"}, frozenset()]
    assert [known.changes for known in check_images([moving, inks, *files])] == [
        open_image(file, False).changes for file in (moving, inks, *files)
    ]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_found_as_decoding_it_whole_finds_it(tmp_path, progressive):
    noise = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    whole = saved(tmp_path, "whole.jpg", Image.fromarray(noise), progressive=progressive).read_bytes()
    files = []
    for length in [*range(0, len(whole), 97), *range(len(whole) - 12, len(whole) + 1)]:
        files.append(tmp_path / f"{length}.jpg")
        files[-1].write_bytes(whole[:length])
    found = list(check_images(files))
    assert isinstance(found[-1], Checked) and not any(isinstance(known, Checked) for known in found[:-1])
    for file, known in zip(files, found, strict=True):
        if isinstance(known, str):
            with pytest.raises(UserError) as error:
                open_image(file, False)
            assert str(error.value).startswith(f"{file}: cannot be read as an image (") and "\n" not in str(error.value)


def test_bombs_folders_pipes_and_missing_files_are_a_line_each(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    bomb = saved(tmp_path, "bomb.png", Image.fromarray(COLOURS))

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("bomb.png", "exceeds limit"),
        ("folder", "it is not a file"),
        ("pipe", "it is not a file"),
        ("gone.png", "no such file"),
    ):
        with pytest.raises(UserError, match=f"{name}: .*{message}"):
            open_image(tmp_path / name, True)
    assert "exceeds limit" in next(check_images([bomb]))


def test_reading_twice_changes_nothing_and_an_image_counts_once(tmp_path):
    first = as_rgb(Image.open(saved(tmp_path, "a.png", Image.fromarray(COLOURS), exif=tagged(6))), own=True)
    again = as_rgb(first.picture, own=True)
    assert again.changes == frozenset() and np.array_equal(first.picture, again.picture)
    changes = Changes()
    for name in ("a", "b", "a"):
        changes.add(name, first.changes)
    ((names, text),) = changes.lines(own=True)
    assert names == ["a", "b"] and text.startswith("are turned upright")
