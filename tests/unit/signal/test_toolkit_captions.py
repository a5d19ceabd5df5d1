import csv

import pytest
from PIL import Image

from vialign.errors import UserError
from vialign.toolkit import read_captions


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    return tmp_path


def write(folder, *lines):
    path = folder / "captions.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_every_caption_is_a_row_with_its_place_in_the_file(folder):
    file = write(folder, "image,caption", "b.png,one", '"sub/c.png","two, with a comma"', "b.png,three")
    table = read_captions(folder / "images", file).table
    assert table["position"].tolist() == [1, 2, 3]
    assert table["image_id"].tolist() == ["b.png", "sub/c.png", "b.png"]
    assert table["text_id"].tolist() == ["b.png#0", "sub/c.png#0", "b.png#1"]
    assert table["caption_id"].tolist() == table["text_id"].tolist()
    assert table["text"].tolist() == ["one", "two, with a comma", "three"]


def test_own_caption_ids_are_kept_and_further_columns_are_left_alone(folder):
    file = write(folder, "split,caption_id,caption,image", "x,7,one,a.png", "y,,two,a.png")
    assert read_captions(folder / "images", file).table["caption_id"].tolist() == ["7", "a.png#1"]


def test_a_file_of_a_spreadsheet_is_read(folder):
    file = folder / "captions.csv"
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream).writerows([["image", "caption"], ["a.png", "Ein Hündchen\nrennt"]])
    assert read_captions(folder / "images", file).table["text"].tolist() == ["Ein Hündchen\nrennt"]


def test_empty_columns_of_a_spreadsheet_and_spaces_in_the_header_are_none(folder):
    file = write(folder, "image, caption,,", "a.png,one,,", "b.png,two,,")
    assert read_captions(folder / "images", file).table["text"].tolist() == ["one", "two"]


@pytest.mark.parametrize("name", ["u\u0308.png", "\u00fc.png"])
def test_a_name_is_found_in_either_unicode_form(folder, name):
    Image.new("RGB", (8, 8)).save(folder / "images" / name)
    for form in ("u\u0308.png", "\u00fc.png"):
        given = read_captions(folder / "images", write(folder, "image,caption", f"{form},one"), strict=True)
        assert given.image_ids == [name]


@pytest.mark.parametrize("name", ["A.PNG", "a.jpg", "a", r"images\a.png", "sub\\C.png"])
def test_a_missing_name_is_told_with_the_file_that_may_be_meant(folder, name):
    with pytest.raises(UserError, match=r"it has (a|sub/c)\.png in the place of "):
        read_captions(folder / "images", write(folder, "image,caption", f"{name},one"))


def test_a_whole_path_into_the_folder_is_not_said_to_lead_out(folder):
    with pytest.raises(UserError, match="begins at the root; write it relative to the folder"):
        read_captions(folder / "images", write(folder, "image,caption", f"{folder}/images/a.png,one"))


def test_two_spellings_of_a_name_are_one_image(folder):
    captions = read_captions(folder / "images", write(folder, "image,caption", "a.png,one", "./sub/../a.png,two"))
    assert captions.image_ids == ["a.png"]
    assert captions.table["text_id"].is_unique


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("img,caption", "a.png,one"), "line 1: no column `image`, only img, caption; the first line must"),
        (("image;caption", "a.png;one"), "only image;caption; .* separated by commas, not by semicolons"),
        (("caption_id,image,caption", "b.png#0,a.png,one", ",b.png,two"), "row 2: field `caption_id`: 'b.png#0' comes"),
        (("image,caption", 'a.png,"one', "b.png,two"), r"line 2: is not CSV \(a quote is not closed\)"),
        (("image,caption", "a.png,one", *["b.png,&nbsp;"] * 3), "3 of 4 captions, more than --tolerance"),
        (("image,caption,image", "a.png,one,b.png"), "line 1: a column comes twice"),
        (("image,caption",), "has a header but no captions"),
        (("image,caption", "a.png,one", "b.png, "), r"row 2 \(line 3\): field `caption` is empty"),
        (("image,caption", ",one"), r"row 1 \(line 2\): field `image` is empty"),
        (("image,caption", "a.png,one, two"), r"row 1 \(line 2\): has 3 fields, the header has 2; put a caption with"),
        (("image,caption", "a.png"), "has 1 fields, the header has 2"),
        (("image,caption", "../captions.csv,one"), r"row 1 \(line 2\): field `image`: .* leads out of the folder"),
        (("image,caption", "/etc/hostname,one"), "leads out of the folder"),
        (("caption_id,image,caption", "x,a.png,one", "x,b.png,two"), r"row 2 .*field `caption_id`: 'x' comes twice"),
        (("image,caption", 'a.png,"one'), "not CSV"),
    ],
)
def test_a_broken_file_is_told_with_its_row_and_field(folder, lines, message):
    with pytest.raises(UserError, match=message) as error:
        read_captions(folder / "images", write(folder, *lines))
    assert "\n" not in str(error.value)


def test_a_link_in_the_folder_is_followed(folder):
    outside = folder / "secret.png"
    Image.new("RGB", (8, 8)).save(outside)
    (folder / "images" / "link.png").symlink_to(outside)
    given = read_captions(folder / "images", write(folder, "image,caption", "link.png,one"), strict=True)
    assert given.image_ids == ["link.png"]


def test_missing_images_are_counted_and_skipped_or_stop(folder, capsys):
    file = write(folder, "image,caption", "a.png,one", "x.png,two", "y.png,three", "x.png,four")
    assert read_captions(folder / "images", file).table["text"].tolist() == ["one"]
    line = capsys.readouterr().err
    assert "names 2 of 3 images that are not in" in line and "(x.png, y.png); 3 captions skipped" in line
    with pytest.raises(UserError, match="names 2 of 3 images"):
        read_captions(folder / "images", file, strict=True)


def test_a_name_that_a_table_gives_moves_no_cursor(folder, capsys):
    read_captions(folder / "images", write(folder, "image,caption", "a.png,one", "x\x1b[31m\x07.png,two"))
    said = capsys.readouterr().err
    assert "(x [31m .png)" in said and said.rstrip("\n").isprintable()


def test_nothing_left_is_an_error_even_when_not_strict(folder):
    with pytest.raises(UserError, match="names 1 of 1 images that are not in"):
        read_captions(folder / "images", write(folder, "image,caption", "x.png,one"))


def test_files_and_folders_that_are_not_there(folder):
    with pytest.raises(UserError, match="no such folder of images"):
        read_captions(folder / "nowhere", folder / "captions.csv")
    with pytest.raises(UserError, match="no such file of captions"):
        read_captions(folder / "images", folder / "captions.csv")
    latin = folder / "latin.csv"
    latin.write_bytes("image,caption\na.png,gr\xfcn\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_captions(folder / "images", latin)


@pytest.mark.parametrize("caption", ["&nbsp;", "&amp;nbsp;", "\u200b \u00a0", "&#8203;"])
def test_a_caption_without_words_is_named_skipped_and_counted_and_strict_stops(folder, capsys, caption):
    file = write(folder, "caption_id,image,caption", "x,a.png,one", f"y,a.png,{caption}", "z,b.png,two")
    captions = read_captions(folder / "images", file)
    assert captions.table["caption_id"].tolist() == ["x", "z"] and captions.table["position"].tolist() == [1, 3]
    said = capsys.readouterr().err
    assert f"{file}, row 2 (line 3): field `caption` of caption_id y: " in said
    assert "1 captions without words skipped" in said and said.count("\n") == 1
    with pytest.raises(UserError, match=r"row 2 \(line 3\): field `caption` of caption_id y: .* has no words; give it"):
        read_captions(folder / "images", file, strict=True)
