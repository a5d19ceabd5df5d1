import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import DataConfig
from vialign.data.base import check_references, write_dataset
from vialign.data.datasets.coco import NOTE, read, trim_box
from vialign.errors import UserError

SPLIT_OF = {9: "train", 25: "train", 30: "train", 34: "train", 42: "restval", 73: "val", 74: "test", 133: "restval"}
VAL2014 = (42, 73, 74, 133)
SIZES = {"confirmation": 1, "calibration": 1, "diagnosis": 1}
CATEGORIES = [
    {"supercategory": "animal", "id": 18, "name": "dog"},
    {"supercategory": "vehicle", "id": 2, "name": "bus"},
]


def file_2014(number: int) -> str:
    part = "val" if number in VAL2014 else "train"
    return f"{part}2014/COCO_{part}2014_{number:012d}.jpg"


def file_2017(number: int) -> str:
    return f"{'val' if number == 133 else 'train'}2017/{number:012d}.jpg"


def annotation(number: int, place: int, **changes) -> dict:
    return {
        "segmentation": [[1.0, 1.0, 5.0, 1.0, 5.0, 5.0]],
        "area": 12.5,
        "iscrowd": 0,
        "image_id": number,
        "bbox": [1.5, 2.0, 4.25, 3.0],
        "category_id": 18,
        "id": 100 * number + place,
        **changes,
    }


def build(root, year=2014):
    """Eight images in the published layout of a year, two boxes and a crowd each; image 74 has six captions."""
    for number in SPLIT_OF:
        path = root / (file_2014(number) if year == 2014 else file_2017(number))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(path)
    images = []
    for place, (number, split) in enumerate(SPLIT_OF.items()):
        filepath, filename = file_2014(number).split("/")
        count = 6 if number == 74 else 5
        sentences = [
            {"tokens": ["a"], "raw": f"Caption {n} of {number}.", "imgid": place, "sentid": 10 * number + n}
            for n in range(count)
        ]
        images.append(
            {
                "filepath": filepath,
                "sentids": [sentence["sentid"] for sentence in sentences],
                "filename": filename,
                "imgid": place,
                "split": split,
                "sentences": sentences,
                "cocoid": number,
            }
        )
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    (root / "annotations").mkdir()
    for part in ("train", "val"):
        own = [number for number in SPLIT_OF if (file_2014 if year == 2014 else file_2017)(number).startswith(part)]
        rows = [annotation(number, place) for number in own for place in (0, 1)]
        rows += [annotation(number, 2, iscrowd=1, segmentation={"counts": [1], "size": [10, 20]}) for number in own]
        write_instances(root, rows, part, year)
        told = [
            {"id": 10 * number + n, "image_id": number, "caption": f"Caption {n} of {number}."}
            for number in own
            for n in range(6 if number == 74 else 5)
        ]
        write_captions(root, told, part, year)
    return root


def write_captions(root, rows, part="val", year=2014):
    content = {"info": {}, "images": [], "licenses": [], "annotations": rows}
    (root / "annotations" / f"captions_{part}{year}.json").write_text(json.dumps(content))


def write_instances(root, rows, part="val", year=2014):
    content = {"info": {}, "images": [], "licenses": [], "annotations": rows, "categories": CATEGORIES}
    (root / "annotations" / f"instances_{part}{year}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    return build(tmp_path / "coco")


def config(folder, **changes) -> DataConfig:
    # The folder is small, so that a share of broken rows means nothing.
    given = {"dataset": "coco", "folder": str(folder), "sizes": SIZES, "strict": True, "tolerance": 1.0}
    return DataConfig(**{**given, **changes})


def test_a_clean_folder_is_read_whole_even_when_strict(folder, tmp_path, capsys):
    tables = read(config(folder), 0)
    counts = tables.images["split"].value_counts().to_dict()
    assert counts == {"train": 3, "confirmation": 1, "calibration": 1, "diagnosis": 1, "selection": 1, "test": 1}
    test = tables.images.set_index("split").loc["test"]
    assert test["image_id"] == "COCO_val2014_000000000074.jpg"
    assert (test["path"], test["width"], test["height"]) == (file_2014(74), 20, 10)
    of_test = tables.captions[tables.captions["image_id"] == test["image_id"]]
    assert of_test["text"].to_list() == [f"Caption {n} of 74." for n in range(6)]
    assert len(tables.captions) == 41
    assert len(tables.objects) == 16
    box = tables.objects.set_index("object_id").loc["COCO_val2014_000000000074.jpg/7401"]
    assert box.to_list() == [test["image_id"], "dog", 1.5, 2.0, 4.25, 3.0, []]
    checked, lines = check_references(tables, "coco", strict=True)
    write_dataset(checked, tmp_path / "data", {"rule": "prepare_data"})
    assert tables.problems.empty and lines == [] and capsys.readouterr().err == ""


def test_the_layout_of_2017_gives_the_same_images_captions_and_boxes(folder, tmp_path):
    old, new = read(config(folder), 0), read(config(build(tmp_path / "coco2017", 2017)), 0)
    assert new.images.drop(columns="path").equals(old.images.drop(columns="path"))
    assert new.captions.equals(old.captions)
    boxes = [tables.objects.sort_values("object_id", ignore_index=True) for tables in (old, new)]
    assert boxes[0].equals(boxes[1])
    assert "train2017/000000000074.jpg" in set(new.images["path"])
    assert all((new.image_folder / path).is_file() for path in new.images["path"])


def test_without_the_splits_file_the_run_stops_and_says_why(folder):
    (folder / "dataset_coco.json").unlink()
    with pytest.raises(
        UserError, match="no file dataset_coco.json; put it there .* published retrieval numbers"
    ) as caught:
        read(config(folder), 0)
    assert "docs/data.md" in str(caught.value) and "\n" not in str(caught.value)


def test_without_images_the_run_stops_and_says_where_they_belong(folder):
    for part in ("train", "val"):
        shutil.rmtree(folder / f"{part}2014")
    with pytest.raises(UserError, match="has no folder train2014 or val2014 or train2017 or val2017") as caught:
        read(config(folder), 0)
    assert "docs/data.md" in str(caught.value) and "\n" not in str(caught.value)


def test_without_boxes_the_rest_is_read_and_the_report_knows(folder, capsys):
    expected = read(config(folder), 0)
    shutil.rmtree(folder / "annotations")
    tables = read(config(folder), 0)
    assert tables.objects.empty
    assert tables.images.equals(expected.images)
    told = [dict(zip(each.captions["caption_id"], each.captions["text"], strict=True)) for each in (tables, expected)]
    assert told[0] == told[1]
    parts = ("train", "val")
    assert tables.problems["problem"].to_list() == [
        *(f"not in the folder, so COCO's {part} part has the captions of dataset_coco.json" for part in parts),
        *(f"not in the folder, so the images of COCO's {part} part have no boxes" for part in parts),
    ]
    assert "annotations/instances_train2014.json or annotations/instances_train2017.json" in capsys.readouterr().err


def test_sizes_and_the_tuning_list_limit_images_captions_and_boxes(folder, tmp_path):
    path = tmp_path / "tune.txt"
    path.write_text("\n".join(file_2014(number).split("/")[1] for number in (9, 25, 42, 133)))
    tables = read(config(folder, tune_list=str(path), sizes={**SIZES, "train": 1}), 0)
    assert tables.images["split"].value_counts().to_dict() == {
        "train": 1,
        "confirmation": 1,
        "calibration": 1,
        "diagnosis": 1,
        "selection": 1,
        "test": 1,
    }
    used = set(tables.images["image_id"])
    assert set(tables.captions["image_id"]) == set(tables.objects["image_id"]) == used
    assert not {file_2014(number).split("/")[1] for number in (30, 34)} & used
    assert tables.problems.empty


def test_images_that_are_missing_or_have_no_number_of_their_own_are_counted(folder):
    content = json.loads((folder / "dataset_coco.json").read_text())
    content["images"][0]["cocoid"] = None
    content["images"][1]["cocoid"] = 74
    (folder / "dataset_coco.json").write_text(json.dumps(content))
    (folder / file_2014(30)).unlink()
    tables = read(config(folder, strict=False), 0)
    assert len(tables.images) == 5
    assert tables.problems["row"].to_list()[:3] == ["images[0]", "images[6]", "images[2]"]
    reasons = tables.problems["problem"].to_list()
    assert reasons[0] == "field cocoid: is missing"
    assert reasons[1] == "field cocoid: 74 is that of COCO_train2014_000000000025.jpg already"
    assert reasons[2] == "names image COCO_train2014_000000000030.jpg, which is not in images"
    with pytest.raises(UserError, match=r"dataset_coco.json, images\[0\]: field cocoid: is missing"):
        read(config(folder), 0)


def test_captions_come_from_the_caption_files_and_their_broken_rows_are_counted(folder):
    rows = [{"id": n, "image_id": 74, "caption": f"Said {n}."} for n in range(5)]
    broken = [
        {"id": 4, "image_id": 74, "caption": "Again."},
        {"id": 9, "image_id": 7, "caption": "Of no image."},
        {"id": 10, "image_id": 74, "caption": "  "},
        {"id": 11, "image_id": 74},
    ]
    write_captions(folder, rows + broken)
    tables = read(config(folder, strict=False), 0)
    of_test = tables.captions[tables.captions["image_id"] == "COCO_val2014_000000000074.jpg"]
    assert of_test["text"].to_list() == [f"Said {n}." for n in range(5)]
    assert sorted(tables.problems["row"]) == [f"annotations[{n}]" for n in (5, 6, 7, 8)]
    # Images that the file leaves out keep the captions that the splits file repeats.
    assert len(tables.captions) == 40


BROKEN = {
    "no such image": ({"image_id": 7}, "names image 7, which is not in dataset_coco.json"),
    "no such category": ({"category_id": 91}, "names category 91, which is not in categories"),
    "twice": ({"id": 7400}, "annotation 7400 appears twice"),
    "no box": ({"bbox": None}, "field bbox: "),
    "three numbers": ({"bbox": [1, 2, 3]}, "field bbox.3: field required"),
    "not a number": ({"bbox": [1, 2, 3, float("nan")]}, "field bbox.3: input should be a finite number"),
    "crowd": ({"iscrowd": 2}, "field iscrowd: input should be 0 or 1"),
}
OUTSIDE = {
    "left": [-1.5, 2, 3, 3],
    "right": [15, 2, 6.5, 3],
    "below": [1, 2, 3, 12],
    "negative": [9, 5, -4, 3],
    "empty": [1, 2, 0, 3],
    "huge": [1e308, 1e308, 1e308, 1e308],
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_box_is_counted_or_stops_a_strict_run(folder, case):
    changes, message = BROKEN[case]
    write_instances(folder, [annotation(74, 0), annotation(74, 1, **changes)])
    tables = read(config(folder, strict=False), 0)
    assert len(tables.objects[tables.objects["image_id"].str.contains("val")]) == 1
    assert tables.problems.iloc[0].to_list()[:2] == ["instances_val2014.json", "annotations[1]"]
    assert message in tables.problems.loc[0, "problem"]
    with pytest.raises(UserError, match=r"coco: instances_val2014.json, annotations\[1\]: ") as caught:
        read(config(folder), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", OUTSIDE)
def test_a_box_outside_its_image_is_left_to_the_shared_check(folder, tmp_path, case):
    write_instances(folder, [annotation(74, 0), annotation(74, 1, bbox=OUTSIDE[case])])
    tables = read(config(folder), 0)
    checked, lines = check_references(tables, "coco", strict=False, tolerance=1.0)
    assert len(checked.objects) == len(tables.objects) - 1
    assert "its box is empty or leaves the 20x10 image" in lines[0]
    write_dataset(checked, tmp_path / "data", {})


def test_a_box_that_rounding_put_outside_is_cut_at_the_edge():
    assert trim_box((-0.5, 1.0, 4.0, 9.5), 20, 10) == (0.0, 1.0, 3.5, 9.0)
    assert trim_box((0.0, 0.0, 20.9, 10.0), 20, 10) == (0.0, 0.0, 20.0, 10.0)
    assert trim_box((0.1, 0.1, 0.2, 0.2), 20, 10) == (0.1, 0.1, 0.2, 0.2)
    assert trim_box((0.0, 0.0, 21.5, 10.0), 20, 10) == (0.0, 0.0, 21.5, 10.0)


SIDE = st.floats(-3, 25) | st.floats()


@given(st.lists(st.tuples(SIDE, SIDE, SIDE, SIDE), max_size=5))
def test_every_box_is_kept_inside_its_image_or_counted(tmp_path_factory, boxes):
    root = tmp_path_factory.mktemp("coco")
    folder = build(root / "data")
    write_instances(folder, [annotation(74, place, bbox=box) for place, box in enumerate(boxes)])
    tables = read(config(folder, strict=False), 0)
    checked, _ = check_references(tables, "coco", strict=False, tolerance=1.0)
    of_train = 8
    assert len(checked.objects) + len(checked.problems) == of_train + len(boxes)
    assert (checked.objects[["x", "y"]] >= 0).all(axis=None)
    assert (checked.objects["x"] + checked.objects["width"] <= 20 + 1e-9).all()
    write_dataset(checked, root / "tables", {})


JUNK = st.sampled_from(
    [None, True, 18.5, -1, 10**30, "18", "x" * 10_000, "<b>", "../x", [], {}, [1, 2, 3, 4], "\ud800"]
)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(sorted(annotation(74, 0))), JUNK | st.just(...)), max_size=6)
)
def test_whatever_a_field_holds_each_annotation_is_read_or_counted(tmp_path_factory, changes):
    folder = build(tmp_path_factory.mktemp("coco") / "data")
    rows = [annotation(74, place) for place in range(4)]
    for row, field, value in changes:
        if value is ...:
            rows[row].pop(field, None)
        else:
            rows[row][field] = value
    write_instances(folder, rows)
    tables = read(config(folder, strict=False), 0)
    crowds = {
        number
        for number, row in enumerate(rows)
        if row.get("iscrowd") is True and f"annotations[{number}]" not in set(tables.problems["row"])
    }
    assert len(tables.objects) - 8 + len(tables.problems) == 4 - len(crowds)


@given(st.data())
def test_an_annotation_file_that_is_cut_off_is_one_line_that_names_it(tmp_path_factory, data):
    folder = build(tmp_path_factory.mktemp("coco") / "data")
    path = folder / "annotations" / "instances_val2014.json"
    text = path.read_text()
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))])
    with pytest.raises(UserError, match="instances_val2014.json: (line 1, column .* download it|is empty)") as caught:
        read(config(folder, strict=False), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["annotations", "categories"])
def test_an_annotation_file_of_another_kind_is_named(folder, key):
    path = folder / "annotations" / "instances_val2014.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"instances_val2014.json: its field '{key}' is not a list"):
        read(config(folder), 0)


def test_the_published_counts_add_up():
    counts = NOTE.expected
    for kind in ("images", "captions"):
        assert sum(counts[f"{split} {kind}"] for split in ("train", "validation", "test")) == counts[kind]
