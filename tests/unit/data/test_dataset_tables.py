from pathlib import Path

import pandas as pd
import pytest

from vialign.config import BenchmarkConfig, DataConfig
from vialign.data.base import DatasetTables, Problems, check_references, image_table, safe_join, write_dataset
from vialign.data.folders import image_folders
from vialign.data.registry import read_dataset
from vialign.errors import UserError


def dataset(**changes) -> DatasetTables:
    """Two images in two splits with one of everything."""
    images = image_table([("a", "train", "a.png", 100, 50), ("b", "test", "b.png", 100, 50)])
    frames = {
        "images": images,
        "captions": pd.DataFrame(
            {"caption_id": ["a#0", "b#0"], "image_id": ["a", "b"], "text": ["x", "y"], "tree": None}
        ),
        "objects": pd.DataFrame(
            {
                "object_id": ["a/0", "a/1", "b/0"],
                "image_id": ["a", "a", "b"],
                "name": "ball",
                "x": [0.0, 90.0, 5.0],
                "y": [0.0, 40.0, 5.0],
                "width": [100.0, 10.5, 5.0],
                "height": [50.0, 10.0, 5.0],
                "attributes": [["red"], [], []],
            }
        ),
        "relations": pd.DataFrame(
            {
                "relation_id": ["a/0"],
                "image_id": ["a"],
                "subject_id": ["a/0"],
                "predicate": ["on"],
                "object_id": ["a/1"],
            }
        ),
        "choices": pd.DataFrame(
            {
                "item_id": ["aro/0"],
                "benchmark": ["aro_relation"],
                "split": ["test"],
                "tag": ["on"],
                "images": [["b"]],
                "texts": [["y", "z"]],
            }
        ),
        "questions": pd.DataFrame(
            {
                "question_id": ["vqa/0"],
                "split": ["test"],
                "image_id": ["b"],
                "question": ["what ?"],
                "kind": ["relation"],
                "answers": [["on"] * 10],
                "candidates": [["on", "under"]],
                "statements": [["it is on", "it is under"]],
            }
        ),
        "ratings": pd.DataFrame(
            {"image_id": ["b"], "caption_id": ["a#0"], "source": ["expert"], "judge": [0], "rating": [2.0]}
        ),
    }
    return DatasetTables(**{**frames, **changes}, image_folder=Path("."))


def change(name: str, **values) -> DatasetTables:
    """The good data set with the first row of one table changed."""
    frame = getattr(dataset(), name).copy()
    for column, value in values.items():
        frame.at[0, column] = value
    return dataset(**{name: frame})


def test_a_good_data_set_passes_unchanged():
    tables, lines = check_references(dataset(), "x", strict=True)
    assert lines == []
    for name in ("captions", "objects", "relations", "choices", "questions", "ratings"):
        pd.testing.assert_frame_equal(getattr(tables, name), getattr(dataset(), name))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("captions", {"image_id": "c"}, "names image c, which is not in images"),
        ("captions", {"text": "  "}, "has no words"),
        ("objects", {"image_id": "c"}, "names image c, which is not in images"),
        ("objects", {"width": 101.5}, "its box is empty or leaves the 100x50 image a"),
        ("objects", {"y": -1.5}, "its box is empty or leaves"),
        ("objects", {"height": 0.0}, "its box is empty or leaves"),
        ("relations", {"subject_id": "a/9"}, "names object a/9, which is not in image a"),
        ("relations", {"object_id": "b/0"}, "names object b/0, which is not in image a"),
        ("choices", {"images": ["a"]}, "names image a, which is not in split test"),
        ("choices", {"texts": ["y"]}, "has fewer than two candidate texts"),
        ("questions", {"split": "train"}, "names image b, which is not in split train"),
        ("questions", {"statements": ["it is on"]}, "has not one statement a candidate"),
        ("ratings", {"image_id": "c"}, "rates image c, which is not in images"),
        ("ratings", {"caption_id": "c#0"}, "rates caption c#0, which is not in captions"),
    ],
)
def test_a_row_that_points_to_nothing_is_dropped_and_counted_or_stops(name, values, message):
    broken = change(name, **values)
    tables, lines = check_references(broken, "x", strict=False)
    assert len(getattr(tables, name)) == len(getattr(broken, name)) - 1
    assert message in tables.problems.iloc[0]["problem"]
    assert f"x: {name}, " in lines[0] and message in lines[0]
    assert lines[1] == f"1 {name} skipped; set data.strict: true to stop here instead."
    with pytest.raises(UserError, match=message.replace("/", "/")):
        check_references(broken, "x", strict=True)


def test_what_hangs_on_a_dropped_object_goes_too():
    tables, _ = check_references(change("objects", width=500.0), "x", strict=False)
    assert tables.relations.empty
    assert list(tables.problems["file"]) == ["objects", "relations"]


def test_the_log_shows_the_first_of_each_kind_and_counts_the_rest():
    problems = Problems("x", strict=False)
    for number in range(5):
        problems.add("captions", "c.txt", f"line {number}", "is broken")
    problems.add("images", "i.png", "", "is broken")
    assert problems.summary() == [
        "x: c.txt, line 0: is broken",
        "5 captions skipped; set data.strict: true to stop here instead.",
        "x: i.png: is broken",
        "1 images skipped; set data.strict: true to stop here instead.",
    ]
    assert len(problems.frame()) == 6


def test_a_repeated_key_is_the_users_error(tmp_path):
    tables = dataset(images=pd.concat([dataset().images] * 2))
    with pytest.raises(UserError, match="table images, row 2: key .* appears twice"):
        write_dataset(tables, tmp_path, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "a/../../x", "a\0b", "link/x"])
def test_no_name_from_data_leads_out_of_its_folder(tmp_path, name):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads out of the folder"):
        safe_join(folder, name)


def test_names_inside_the_folder_are_joined(tmp_path):
    assert safe_join(tmp_path, "a/../b.jpg") == tmp_path.resolve() / "a/../b.jpg"
    assert safe_join(tmp_path, "images/b.jpg") == tmp_path.resolve() / "images/b.jpg"


def test_an_unknown_data_set_is_one_line_that_lists_the_known(tmp_path):
    with pytest.raises(UserError, match="'cocoa' is unknown; choose one of .*flickr8k.*scenes"):
        read_dataset(DataConfig(dataset="cocoa"), 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_embedded_images_lie_beside_the_tables_and_real_ones_in_their_folder(tmp_path):
    assert image_folders(DataConfig(), tmp_path) == {"data": tmp_path}
    beside = {"vqa": BenchmarkConfig(folder="vqa", images="coco"), "aro": BenchmarkConfig(folder="aro")}
    real = DataConfig(dataset="flickr8k", folder="photos", benchmarks=beside)
    assert image_folders(real, tmp_path) == {"data": Path("photos"), "vqa": Path("coco"), "aro": Path("aro")}
    with pytest.raises(UserError, match="data.folder is not set"):
        image_folders(DataConfig(dataset="flickr8k"), tmp_path)
