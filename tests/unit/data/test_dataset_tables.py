from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from vialign.config.data import BenchmarkConfig, DataConfig
from vialign.data.base import (
    NEEDED_SPLITS,
    DatasetTables,
    Problems,
    check_references,
    image_table,
    require_images,
    require_splits,
    safe_join,
    write_dataset,
)
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
                "right": [None],
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


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "a/../../x", "a\0b", "link/../../x"])
def test_no_name_from_data_leads_out_of_its_folder(tmp_path, name):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads out of the folder"):
        safe_join(folder, name)


def test_names_inside_the_folder_are_joined(tmp_path):
    assert safe_join(tmp_path, "images/b.jpg") == tmp_path / "images/b.jpg"


def test_a_link_in_the_folder_is_followed_and_a_step_back_does_not_leave_where_it_leads(tmp_path):
    folder, elsewhere = tmp_path / "data", tmp_path / "disk" / "images"
    folder.mkdir()
    elsewhere.mkdir(parents=True)
    (folder / "link").symlink_to(elsewhere)
    (elsewhere / "b.jpg").touch()
    (elsewhere.parent / "secret").touch()
    assert safe_join(folder, "link/b.jpg").is_file()
    assert safe_join(folder, "link/../secret") == folder / "secret"


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


def rows_of(total, broken, tolerance=0.05, key="data.strict"):
    """Problems after so many rows, the last of which are broken in two ways, three to one."""
    problems = Problems("x", strict=False, key=key, tolerance=tolerance)
    problems.saw("captions", total)
    for number in range(broken):
        reason = "is empty" if number % 4 == 3 else f"names image {number}.jpg, which is not in images"
        problems.add("captions", "c.txt", f"line {number}", reason)
    return problems


@pytest.mark.parametrize(
    ("total", "broken", "tolerance", "stops"),
    [(40460, 5, 0.05, False), (100, 5, 0.05, False), (100, 6, 0.05, True), (6, 2, 0.05, False), (6, 3, 0.05, True)]
    + [(100, 90, 1.0, False), (1000, 1, 0.0, True), (1000, 0, 0.0, False)],
)
def test_more_broken_rows_than_the_tolerance_stop_with_counts_and_reasons(total, broken, tolerance, stops, capsys):
    problems = rows_of(total, broken, tolerance)
    if not stops:
        problems.report()
        assert ("captions skipped" in capsys.readouterr().err) == (broken > 0)
        return
    with pytest.raises(
        UserError, match=f"x: {broken} of {total} captions are broken, more than data.tolerance"
    ) as error:
        problems.report()
    assert "\n" not in str(error.value)


def test_the_message_groups_reasons_and_names_the_key_of_a_benchmark():
    with pytest.raises(UserError) as error:
        rows_of(20, 8, key="data.benchmarks.aro.strict").check()
    assert str(error.value) == (
        "x: 8 of 20 captions are broken, more than data.benchmarks.aro.tolerance (0.05): "
        "6 like this: c.txt, line 0: names image 0.jpg, which is not in images; 2 like this: c.txt, line 3: is empty; "
        "mend the files, or raise data.benchmarks.aro.tolerance to go on with the rest"
    )


def test_notes_are_no_broken_rows_and_kinds_are_counted_apart():
    problems = rows_of(100, 4)
    problems.saw("images", 100)
    for number in range(30):
        problems.note("images", str(number), "has a palette")
    for number in range(4):
        problems.add("images", "i", str(number), "is broken")
    problems.check()


def test_references_have_the_same_limit():
    captions = pd.DataFrame(
        {"caption_id": [str(n) for n in range(20)], "image_id": ["a"] * 17 + ["gone"] * 3, "text": "x", "tree": None}
    )
    broken = dataset(captions=captions, ratings=dataset().ratings.iloc[:0])
    with pytest.raises(UserError, match="3 of 20 captions are broken, more than data.tolerance"):
        check_references(broken, "x", strict=False)
    assert len(check_references(broken, "x", strict=False, tolerance=0.2)[0].captions) == 17


def split_images(*splits):
    return dataset(
        images=image_table([(split, split, f"{split}.png", 4, 4) for split in splits]),
        captions=pd.DataFrame({"caption_id": splits, "image_id": splits, "text": "x", "tree": None}),
    )


def test_no_image_and_an_empty_split_stop_with_the_reasons():
    whole = split_images(*NEEDED_SPLITS)
    require_splits(whole, "x")
    require_images(whole, "x")
    problems = pd.DataFrame([("i", str(n), "cannot be read") for n in range(7)], columns=["file", "row", "problem"])
    for split in NEEDED_SPLITS:
        rest = replace(split_images(*(name for name in NEEDED_SPLITS if name != split)), problems=problems)
        with pytest.raises(UserError, match=f"x: split {split} has no image; .*7 like this: i, 0: cannot be read"):
            require_splits(rest, "x")
        silent = replace(whole, captions=whole.captions[whole.captions["image_id"] != split])
        with pytest.raises(UserError, match=f"x: split {split} has 1 images but no caption"):
            require_splits(silent, "x")
    require_splits(replace(whole, captions=whole.captions.iloc[:0]), "x")
    with pytest.raises(UserError, match="x: no image is left; no row of the files is broken"):
        require_images(split_images(), "x")
