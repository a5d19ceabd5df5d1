import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import DataConfig
from vialign.data.base import TABLES, Problems, check_references, write_dataset
from vialign.data.datasets.vg200 import NOTE, object_tables, read, read_attributes, read_relations
from vialign.errors import UserError
from vialign.files.artifacts import read_table

ATTRIBUTES = [
    "2337570,262,138,40,107,red",
    "2337570,262,138,40,107,wooden",
    "2337570,262,138,40,107,red",
    "1072,0,0,99.5,50,white",
]
RELATIONS = [
    "2337570,0,223,118,150,262,138,40,107,has",
    "2337570,262,138,40,107,0,223,118,150,on top of",
    "2337570,0,223,118,150,262,138,40,107,has",
    "5,0,0,10,10,2,2,3,3,with",
]
SIZES = {"selection": 1, "gate": 1, "test": 1, "confirmation": 1, "calibration": 1, "diagnosis": 1}


def write(root, attributes=ATTRIBUTES, relations=RELATIONS):
    (root / "Attributes.txt").write_text("\r\n".join(attributes), encoding="utf-8")
    (root / "Relations.txt").write_text("\r\n".join(relations) + "\r\n", encoding="utf-8")
    return root


@pytest.fixture
def folder(tmp_path):
    """The published text files, with Windows line ends, and the photographs of nine images."""
    root = tmp_path / "vg200"
    (root / "images").mkdir(parents=True)
    for number in (2337570, 1072, 5, 21, 22, 23, 24, 25, 26):
        Image.new("RGB", (400, 400)).save(root / "images" / f"{number}.jpg")
    return write(root, [*ATTRIBUTES, *(f"{number},0,0,9,9,tall" for number in (21, 22, 23, 24, 25, 26))])


def config(folder, **changes) -> DataConfig:
    # The folder is small, so that a share of broken rows means nothing.
    given = {"dataset": "vg200", "folder": str(folder), "sizes": SIZES, "strict": True, "tolerance": 1.0}
    return DataConfig(**{**given, **changes})


def test_every_line_is_one_row_in_order(folder):
    problems = Problems("vg200", strict=True)
    write(folder)
    attributes, relations = read_attributes(folder, problems), read_relations(folder, problems)
    assert attributes.to_numpy().tolist()[3] == ["1072", 0, 0, 99.5, 50, "white"]
    assert relations.to_numpy().tolist()[1] == ["2337570", 262, 138, 40, 107, 0, 223, 118, 150, "on top of"]
    assert (len(attributes), len(relations), len(problems.frame())) == (4, 4, 0)


def test_equal_boxes_are_one_object_and_equal_lines_one_relation(folder):
    problems = Problems("vg200", strict=True)
    objects, relations = object_tables(read_attributes(write(folder), problems), read_relations(folder, problems))
    TABLES["objects"].check(objects)
    TABLES["relations"].check(relations)
    rows = objects.set_index("object_id")
    assert list(rows.index) == ["2337570/0", "1072/0", "2337570/1", "5/0", "5/1"]
    assert rows.loc["2337570/0"].to_list() == ["2337570", "object", 262, 138, 40, 107, ["red", "wooden"]]
    assert rows.loc["5/0", "attributes"] == []
    assert relations.to_numpy().tolist() == [
        ["2337570/0", "2337570", "2337570/1", "has", "2337570/0"],
        ["2337570/1", "2337570", "2337570/0", "on top of", "2337570/1"],
        ["5/0", "5", "5/0", "with", "5/1"],
    ]


def test_the_data_set_needs_the_photographs_and_passes_every_check(folder, tmp_path, capsys):
    tables, lines = check_references(read(config(folder), 0), "vg200", strict=True)
    assert lines == []
    assert tables.images["split"].value_counts().to_dict() == {**SIZES, "train": 3}
    assert (len(tables.objects), len(tables.relations), len(tables.captions)) == (11, 3, 0)
    assert all((folder / path).is_file() for path in tables.images["path"])
    log = capsys.readouterr().err
    assert "Relations.txt: 1 lines repeat another line and count once" in log
    assert "images that COCO is tested on may be in any split" in log
    write_dataset(tables, tmp_path / "data", {"rule": "prepare_data"})
    for name, table in TABLES.items():
        assert len(read_table(tmp_path / "data" / f"{name}.parquet", table)) == len(getattr(tables, name))
    (folder / "images").rename(folder / "away")
    with pytest.raises(UserError, match="has no folder VG_100K or VG_100K_2 or images with the photographs; see"):
        read(config(folder), 0)
    (folder / "images").mkdir()
    with pytest.raises(UserError, match="none of the 9 photographs that Attributes.txt or Relations.txt names is in"):
        read(config(folder, strict=False), 0)


def test_photographs_may_lie_as_visual_genome_has_them(folder):
    expected = read(config(folder), 0)
    (folder / "images").rename(folder / "VG_100K_2")
    (folder / "VG_100K").mkdir()
    (folder / "VG_100K_2" / "5.jpg").rename(folder / "VG_100K" / "5.jpg")
    found = read(config(folder), 0)
    assert found.objects.equals(expected.objects)
    assert set(found.images["path"]) == {
        "VG_100K/5.jpg",
        *(f"VG_100K_2/{number}.jpg" for number in (2337570, 1072, 21, 22, 23, 24, 25, 26)),
    }


def test_a_missing_or_broken_photograph_goes_with_its_objects_and_relations(folder):
    (folder / "images" / "5.jpg").unlink()
    (folder / "images" / "1072.jpg").write_bytes(b"no image")
    tables = read(config(folder, strict=False), 0)
    assert set(tables.images["image_id"]) == {"2337570", "21", "22", "23", "24", "25", "26"}
    assert set(tables.objects["image_id"]) == set(tables.images["image_id"])
    assert len(tables.relations) == 2
    reasons = tables.problems["problem"].to_list()
    assert any("names image 5.jpg, which is not there" in reason for reason in reasons)
    assert any("cannot be read as an image" in reason for reason in reasons)
    with pytest.raises(UserError, match="Attributes.txt, Relations.txt, image 5: names image 5.jpg, which is not"):
        read(config(folder), 0)


def test_images_that_coco_is_tested_on_are_put_aside_where_the_files_tell(folder):
    rows = [{"image_id": 5, "width": 9, "height": 9, "coco_id": 77}, {"image_id": 21, "width": 9, "height": 9}]
    (folder / "image_data.json").write_text(json.dumps(rows))
    (folder / "dataset_coco.json").write_text(
        json.dumps({"images": [{"filename": "a.jpg", "cocoid": 77, "split": "test", "sentences": []}]})
    )
    tables = read(config(folder), 0)
    assert "5" not in set(tables.images["image_id"]) | set(tables.objects["image_id"])
    assert "1 images are in COCO's Karpathy test split and were put aside" in tables.problems["problem"].to_list()


BROKEN = {
    "too few fields": ("1,2,3,4,5", "has 5 fields instead of 6"),
    "too many fields": ("1,2,3,4,5,red,blue", "has 7 fields instead of 6"),
    "no number": ("1,left,3,4,5,red", "field x: input should be a valid number"),
    "not a number": ("1,nan,3,4,5,red", "field x: input should be"),
    "negative": ("1,-2,3,4,5,red", "field x: input should be greater than or equal to 0"),
    "no area": ("1,2,3,0,5,red", "field width: input should be greater than 0"),
    "no attribute": ("1,2,3,4,5, ", "field attribute: string should have at least 1 character"),
    "no image": ("../1,2,3,4,5,red", "field image_id: input should be a valid integer"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_line_is_skipped_counted_and_explained_or_stops_a_strict_run(folder, case):
    line, message = BROKEN[case]
    clean = read_attributes(folder, Problems("vg200", strict=True))
    with (folder / "Attributes.txt").open("a") as file:
        file.write(f"\r\n{line}\r\n")
    problems = Problems("vg200", strict=False)
    assert read_attributes(folder, problems).equals(clean)
    assert problems.frame().to_numpy().tolist()[0][:2] == ["Attributes.txt", "line 11"]
    assert message in problems.frame()["problem"][0]
    assert problems.summary()[-1] == "1 attribute lines skipped; set data.strict: true to stop here instead."
    with pytest.raises(UserError, match=f"Attributes.txt, line 11: {message}") as stopped:
        read_attributes(folder, Problems("vg200", strict=True))
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("file", ["Attributes.txt", "Relations.txt"])
def test_a_missing_file_or_another_encoding_is_one_line(folder, file):
    (folder / file).write_bytes("1,2,3,4,5,café".encode("latin-1"))
    with pytest.raises(UserError, match=f"{file}: is not UTF-8 text"):
        read(config(folder), 0)
    (folder / file).unlink()
    with pytest.raises(UserError, match=f"has no file {file}"):
        read(config(folder), 0)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("vg200")


fields = st.sampled_from(
    ["1", "0", "-5", "1e9", "1e999", "nan", "", "x" * 10_000, "<b>red</b>", "../../etc/passwd", "/etc", "9" * 5000, "½"]
)


@given(st.lists(st.lists(fields, min_size=1, max_size=11), max_size=5), st.integers(0, 400))
def test_damaged_lines_are_rows_or_problems_and_never_another_error(room, damaged, cut):
    lines = [*RELATIONS, *(",".join(line) for line in damaged)]
    write(room, relations=lines)
    content = (room / "Relations.txt").read_bytes()
    (room / "Relations.txt").write_bytes(content[: len(content) - cut])
    problems = Problems("vg200", strict=False)
    try:
        relations = read_relations(room, problems)
    except UserError as error:
        assert "Relations.txt" in str(error) and "\n" not in str(error)
        return
    text = (room / "Relations.txt").read_text(encoding="utf-8")
    assert len(relations) + len(problems.frame()) == sum(bool(line.strip()) for line in text.split("\n"))
    _, related = object_tables(read_attributes(room, problems), relations)
    assert len(related) == len(relations.drop_duplicates())


def test_the_note_says_how_to_get_it():
    assert "CC BY 4.0" in NOTE.licence and "https://" in NOTE.obtain
    assert NOTE.expected == {"images": 5579, "objects": 76317, "relations": 21405}
