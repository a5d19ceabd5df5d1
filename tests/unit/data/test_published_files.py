import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.data.base import Problems
from vialign.data.published_files import (
    Record,
    find_file,
    image_paths,
    image_sizes,
    json_list,
    json_object,
    numbered,
    read_caption_lines,
    read_json,
    read_photographs,
    records,
    require_file,
    require_folder,
    text_lines,
)
from vialign.errors import UserError

LINE = re.compile(r"(?P<image>[^,]+),(?P<number>[0-9]+),(?P<text>.*)")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class Box(Record):
    name: str
    width: float
    parts: list[str] = []


@pytest.fixture
def problems():
    return Problems("x", strict=False)


def test_a_file_is_read_as_it_is_written(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"rows": [1, "é"]}), encoding="utf-8")
    assert read_json(path, "x") == {"rows": [1, "é"]}
    assert json_list(read_json(path, "x"), path, "x", "rows") == [1, "é"]
    assert json_object(read_json(path, "x"), path, "x") == {"rows": [1, "é"]}
    path.write_bytes("one\r\ntwo é\n\nfour".encode())
    assert list(text_lines(path, "x")) == [(1, "one"), (2, "two é"), (3, ""), (4, "four")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"rows": [1,', "line 1, column 13: is not JSON .* cut off, download it again"),
        (b"", "is empty; get it again"),
        (b'{"rows": "caf\xe9"}', "is not UTF-8 text"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"[" + b"1" * 5000 + b"]", "holds a number too long"),
    ],
)
def test_a_file_that_is_not_json_is_one_line_that_names_it(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"x.json: {message}") as caught:
        read_json(path, "x")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_opened_is_one_line_that_names_it(tmp_path):
    for read in (lambda: read_json(tmp_path, "x"), lambda: list(text_lines(tmp_path, "x"))):
        with pytest.raises(UserError, match=f"x: {tmp_path}: is a folder"):
            read()
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match="latin.txt: is not UTF-8 text"):
        list(text_lines(tmp_path / "latin.txt", "x"))


def test_another_shape_than_published_is_refused(tmp_path):
    path = tmp_path / "x.json"
    for value in ([], {"rows": {}}, "rows", None):
        with pytest.raises(UserError, match="its field 'rows' is not a list; this is not the published file"):
            json_list(value, path, "x", "rows")
    with pytest.raises(UserError, match="it is not a list"):
        json_list({}, path, "x")
    with pytest.raises(UserError, match="it is not an object"):
        json_object([], path, "x")


def test_a_row_that_fits_is_read_and_every_other_one_names_its_field(problems):
    rows = [
        {"name": "a", "width": 2, "more": 1},
        {"width": 2},
        {"name": "b", "width": "wide"},
        {"name": "c", "width": float("nan")},
        {"name": "\ud800", "width": 1},
        {"name": "d", "width": 1, "parts": ["\udc00"]},
        ["name"],
    ]
    found = list(records(numbered(rows, "boxes"), Box, "boxes", "x.json", problems))
    assert found == [("boxes[0]", Box(name="a", width=2.0))]
    frame = problems.frame()
    assert list(frame["row"]) == [f"boxes[{n}]" for n in range(1, 7)]
    assert (frame["file"] == "x.json").all()
    fields = ["name: field required", "width: ", "width: ", "name: ", "parts.0: "]
    assert all(problem.startswith(f"field {name}") for problem, name in zip(frame["problem"], fields, strict=False))
    with pytest.raises(UserError, match=r"x.json, boxes\[1\]: field name: field required"):
        list(records(numbered(rows, "boxes"), Box, "boxes", "x.json", Problems("x", strict=True)))


def test_long_and_marked_up_text_is_kept_as_it_is(problems):
    rows = [{"name": "x" * 10_000, "width": 1}, {"name": "<script>alert(1)</script>", "width": 1}]
    found = [row.name for _, row in records(numbered(rows, "boxes"), Box, "boxes", "x.json", problems)]
    assert found == [row["name"] for row in rows]


@given(st.lists(ANYTHING | st.fixed_dictionaries({"name": ANYTHING, "width": ANYTHING})))
def test_whatever_the_rows_are_each_is_read_or_counted(rows):
    problems = Problems("x", strict=False)
    found = list(records(numbered(rows, "boxes"), Box, "boxes", "x.json", problems))
    assert len(found) + len(problems.frame()) == len(rows)
    assert not problems.frame()["problem"].str.contains("\n").any()


def test_a_folder_or_file_that_is_missing_says_what_to_do(tmp_path):
    (tmp_path / "b.txt").touch()
    assert require_folder(str(tmp_path), "x") == tmp_path
    assert find_file(tmp_path, ["a.txt", "b.txt"]) == require_file(tmp_path, ["a.txt", "b.txt"], "x")
    assert find_file(tmp_path, ["a.txt"]) is None
    with pytest.raises(UserError, match="data.folder is not set; x needs the folder"):
        require_folder(None, "x")
    with pytest.raises(UserError, match=r"no such folder; get x as docs/data.md says and set there to it"):
        require_folder(str(tmp_path / "gone"), "x", "there")
    with pytest.raises(UserError, match=r"has no file a.txt or c.txt; put it there as docs/data.md says"):
        require_file(tmp_path, ["a.txt", "c.txt"], "x")


def image_size(folder, name):
    return image_sizes(folder, [name], Problems("x", strict=True))[name]


def test_the_size_is_that_of_the_stored_pixels(tmp_path):
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    assert image_size(tmp_path, "a.png") == (7, 5)


def test_what_reading_changes_is_noted_once_a_kind_with_a_count(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGBA" if name < "c" else "RGB", (7, 5)).save(tmp_path / name)
    problems = Problems("x", strict=True)
    assert set(image_sizes(tmp_path, ["a.png", "b.png", "c.png"], problems).values()) == {(7, 5)}
    (line,) = problems.summary()
    assert line == f"x: {tmp_path}: 2 of 3 images are partly transparent and are laid on white; the first: a.png"
    problems.check()


def test_a_photograph_that_is_cut_off_behind_a_whole_header_is_found_here(tmp_path, problems):
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(noise).save(tmp_path / "images" / name)
    cut = tmp_path / "images" / "b.jpg"
    cut.write_bytes(cut.read_bytes()[:-2])
    with Image.open(cut) as header:
        assert header.size == (96, 64)
    paths = image_paths(tmp_path, ["images"], "x")
    frame = read_photographs({"a.jpg": "train", "b.jpg": "test"}, paths, tmp_path, problems)
    assert frame["image_id"].tolist() == ["a.jpg"]
    assert "b.jpg cannot be read as an image (image file is truncated" in problems.frame()["problem"].item()


@pytest.mark.parametrize(
    "name", ["../a.png", "/a.png", "", "..", "b\0.png", "gone.png", "a" * 300, "a/" * 3000, "\ud800"]
)
def test_a_name_that_is_no_image_of_the_folder_is_a_reason(tmp_path, name):
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    reason = image_size(tmp_path / "folder", name)
    assert isinstance(reason, str) and "\n" not in reason


@given(st.binary(max_size=60), st.integers(0, 60))
def test_a_broken_image_is_a_reason_and_never_an_exception(tmp_path_factory, content, keep):
    folder = tmp_path_factory.mktemp("images")
    Image.new("RGB", (7, 5)).save(folder / "a.png")
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:keep] + content)
    assert image_size(folder, "a.png") == (7, 5) or isinstance(image_size(folder, "a.png"), str)


def test_images_are_found_in_every_folder_that_is_there_and_the_first_wins(tmp_path):
    for name in ("one/a.png", "two/a.png", "two/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths = image_paths(tmp_path, ["none", "one", "two"], "x")
    assert paths == {"a.png": "one/a.png", "b.png": "two/b.png"}
    with pytest.raises(UserError, match="has no folder none or neither with the photographs; see docs/data.md"):
        image_paths(tmp_path, ["none", "neither"], "x")


def test_images_are_found_one_level_deeper_too_and_those_that_are_not_too_deep_win(tmp_path):
    for name in ("one/a.png", "one/part/a.png", "one/part/b.png", "pack/one/c.png", "other/d.png", "one/part/x/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    paths = image_paths(tmp_path, ["one"], "x")
    files = {name: path for name, path in paths.items() if name.endswith(".png")}
    assert files == {"a.png": "one/a.png", "b.png": "one/part/b.png", "c.png": "pack/one/c.png"}


def test_photographs_have_their_sizes_and_unreadable_ones_are_counted(tmp_path, problems):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (7, 5)).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").write_text("no image")
    paths = image_paths(tmp_path, ["images"], "x")
    frame = read_photographs({"a.png": "train", "b.png": "test"}, paths, tmp_path, problems)
    assert frame.iloc[0][["image_id", "split", "path", "width", "height"]].to_list() == [
        "a.png",
        "train",
        "images/a.png",
        7,
        5,
    ]
    assert len(frame) == 1
    assert problems.summary()[0].startswith("x: images, b.png: images/b.png cannot be read as an image")


def test_links_in_the_folder_that_was_named_are_followed(tmp_path, problems):
    (tmp_path / "data" / "images").mkdir(parents=True)
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    (tmp_path / "data" / "images" / "a.png").symlink_to(tmp_path / "a.png")
    frame = read_photographs({"a.png": "train"}, {"a.png": "images/a.png"}, tmp_path / "data", problems)
    assert frame[["image_id", "path", "width"]].values.tolist() == [["a.png", "images/a.png", 7]]
    read_photographs({"b.png": "train"}, {"b.png": "images/../../a.png"}, tmp_path / "data", problems)
    assert "leads out of the folder" in problems.frame()["problem"].item()


@given(st.lists(st.text("a,1 <\r") | st.sampled_from(["a,1,x", "a,2,y", "b,1,x", "a,3, "])))
def test_every_caption_line_is_read_or_counted(lines):
    problems = Problems("x", strict=False)
    frame = read_caption_lines(enumerate(lines, 1), LINE, "a,b,c", "x.txt", {"a"}, problems)
    assert len(frame) + len(problems.frame()) == len(lines)
    assert frame["caption_id"].is_unique
    assert frame["text"].str.strip().astype(bool).all()


def test_captions_are_kept_word_by_word(problems):
    lines = [(1, "a,0, <b>bold</b>, and more "), (2, "a,1," + "x" * 10_000)]
    frame = read_caption_lines(lines, LINE, "a,b,c", "x.txt", {"a"}, problems)
    assert list(frame["text"]) == ["<b>bold</b>, and more", "x" * 10_000]
    assert list(frame["caption_id"]) == ["a#0", "a#1"]
    assert problems.frame().empty
