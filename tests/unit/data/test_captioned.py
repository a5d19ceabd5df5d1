"""A folder of one's own as a data set: what is kept, how it is dealt, and what is said of broken rows."""

import csv
import unicodedata

import pytest
from PIL import Image

from vialign.config.data import DataConfig
from vialign.data.registry import read_dataset
from vialign.errors import UserError
from vialign.toolkit import draw_example, read_captions

NAMES = [f"{number}.png" for number in range(38)] + ["below/a, b.png", "below/deep/Ü.png"]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)
    write(tmp_path, [(name, f"a dog, {name}, {n}") for name in NAMES for n in (0, 1)])
    return tmp_path


def write(folder, rows, head=("image", "caption")):
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def read(folder, seed=0, **changes):
    return read_dataset(DataConfig(dataset="captioned", folder=str(folder), **changes), seed, folder / "out")


def test_a_folder_is_read_whole_and_dealt_by_seed(folder):
    tables = read(folder, strict=True)
    assert tables.images["split"].value_counts().to_dict() == {
        "train": 12,
        "confirmation": 4,
        "calibration": 4,
        "diagnosis": 4,
        "selection": 5,
        "gate": 3,
        "test": 8,
    }
    assert sorted(tables.images["image_id"]) == sorted(NAMES) and tables.problems.empty
    told = dict(zip(tables.captions["caption_id"], tables.captions["text"], strict=True))
    assert told == {f"{name}#{n}": f"a dog, {name}, {n}" for name in NAMES for n in (0, 1)}
    splits = [dict(zip(t.images["image_id"], t.images["split"], strict=True)) for t in (tables, read(folder))]
    assert splits[0] == splits[1]
    other = read(folder, seed=1).images
    assert dict(zip(other["image_id"], other["split"], strict=True)) != splits[0]


def test_sizes_are_those_of_the_config(folder):
    sizes = {"test": 3, "selection": 2, "gate": 2, "confirmation": 1, "calibration": 1, "diagnosis": 1, "train": 20}
    assert read(folder, sizes=sizes).images["split"].value_counts().to_dict() == sizes


def test_it_is_the_folder_that_the_signal_reads(tmp_path):
    draw_example(tmp_path / "shapes", images=12)
    tables = read(tmp_path / "shapes")
    known = read_captions(tmp_path / "shapes/images", tmp_path / "shapes/captions.csv").table
    assert sorted(tables.captions["text"]) == sorted(known["text"]) and len(known) == 60


def test_broken_rows_are_listed_by_number_and_a_strict_config_stops(folder):
    rows = [(name, "a dog") for name in NAMES] + [("gone.png", "a cat"), ("../x.png", "a cat"), ("0.png", " ")]
    write(folder, [*rows, ("1.png",)])
    tables = read(folder, tolerance=0.2)
    assert list(tables.problems["row"]) == ["row 41", "row 42", "row 43", "row 44"]
    assert len(tables.captions) == 40
    with pytest.raises(UserError, match="row 41: names image gone.png, which is not in images"):
        read(folder, strict=True)


def test_a_caption_with_commas_and_no_quotes_is_broken_not_cut(folder):
    with (folder / "captions.csv").open("a", encoding="utf-8") as file:
        file.write("0.png,a dog, a cat, and a bird\n1.png,a dog,,\n")
    tables = read(folder)
    assert [tuple(row[1:]) for row in tables.problems.itertuples(index=False)] == [
        ("row 81", "has 4 fields, the header has 2; text with commas needs quotes")
    ]
    assert len(tables.captions) == 81


def test_pictures_behind_links_are_read_and_in_either_unicode_form(folder, tmp_path):
    (folder / "images/below").rename(tmp_path / "disk")
    (folder / "images/below").symlink_to(tmp_path / "disk")
    write(folder, [(unicodedata.normalize("NFD", name), "a dog") for name in NAMES])
    assert sorted(read(folder, strict=True).images["image_id"]) == sorted(NAMES)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("images", "has no folder images with the pictures"),
        ("captions.csv", "has no file captions.csv"),
        ("header", "has no column caption"),
        ("few", "leave none of the"),
        ("nothing", "no such folder; get captioned as docs/data.md says"),
    ],
)
def test_what_is_missing_is_one_line(folder, broken, message):
    place = folder
    if broken == "header":
        write(folder, [("0.png", "a dog")], head=("image", "text"))
    elif broken == "few":
        write(folder, [(name, "a dog") for name in NAMES[:4]])
    elif broken == "nothing":
        place = folder / "nowhere"
    else:
        (folder / broken).rename(folder / "elsewhere")
    with pytest.raises(UserError, match=message):
        read(place)
