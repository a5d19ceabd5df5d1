import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from vialign.cli.app import app
from vialign.config.experiment import load_config
from vialign.data.checking import (
    MARKS,
    SourceReport,
    check_lines,
    check_sources,
    check_table,
    count_tables,
    notes_markdown,
)
from vialign.data.folders import check_run_folders
from vialign.data.published_files import SourceNote
from vialign.data.registry import BENCHMARKS, DATASETS, read_dataset, source_note
from vialign.data.scenes import build
from vialign.errors import UserError
from vialign.files.text import with_block
from vialign.tables.data import DATA_CHECK, PROBLEMS

NOTE = SourceNote(
    title="Photos", licence="free", obtain="ask", files=("a.json",), expected={"images": 3, "photos items": 9}
)


def report(**changes) -> SourceReport:
    given = {
        "name": "photos",
        "key": "data.folder",
        "note": NOTE,
        "missing": None,
        "counts": {"images": 3, "captions": 12, "photos items": 8},
        "problems": PROBLEMS.empty(),
    }
    return SourceReport(**{**given, **changes})


def test_counts_are_held_against_the_published_ones():
    table = DATA_CHECK.check(check_table(report()))
    assert dict(zip(table["counted"], table["state"], strict=True)) == {
        "images": "as published",
        "photos items": "differs",
        "captions": "counted",
    }


def test_a_missing_source_says_why_and_how_to_get_it():
    text = "\n".join(check_lines(report(missing="photos: x: no such folder", counts={}, problems=None)))
    for part in ("MISSING  photos: x: no such folder", "get it:  ask", "a.json", "set data.folder", "published 9"):
        assert part in text
    assert set(check_table(report(missing="gone", counts={}))["state"]) == {"missing"}


def test_annotations_without_their_images_are_counted_all_the_same(tmp_path):
    item = {"filename": "1.jpg", "caption": "a dog", "negative_caption": "a cat"}
    (tmp_path / "swap_obj.json").write_text(json.dumps({"0": item, "1": item}))
    config = load_config({"data": {"benchmarks": {"sugarcrepe": {"folder": str(tmp_path)}}}})
    *_, found = check_sources(config)
    assert found.missing is not None and "val2017" in found.missing
    table = check_table(found).set_index("counted")
    assert table.loc["sugarcrepe_swap_obj items", "count"] == 2
    assert table.loc["sugarcrepe_swap_obj items", "state"] == "differs"
    assert table.loc["sugarcrepe_add_obj items", "state"] == "missing"


def test_problems_are_shown_by_file_and_row():
    problems = pd.DataFrame([("a.json", "images[3]", "field width: is missing")] * 7, columns=list(PROBLEMS.columns))
    lines = check_lines(report(problems=problems))
    assert sum("a.json, images[3]: field width: is missing" in line for line in lines) == 5
    assert any("7 problems" in line for line in lines)


def test_a_data_set_is_counted_by_split_with_what_was_cut_from_its_training_images(tmp_path):
    sizes = {"train": 6, "calibration": 2, "diagnosis": 3, "confirmation": 1, "selection": 3, "gate": 1, "test": 5}
    config = load_config({"data": {"sizes": {**sizes, "test_combination": 1, "test_domain": 1, "diagnosis_domain": 1}}})
    counts = count_tables(build(config.data, 0, tmp_path))
    assert (counts["images"], counts["train images"], counts["validation images"], counts["test images"]) == (
        24,
        12,
        4,
        5,
    )
    assert counts["train captions"] == 60
    assert counts["aro_relation items"] > 0


@pytest.mark.parametrize(
    ("shared", "broken"), [(5, ""), (60, "split train has no image; 48 images are photographs of a benchmark")]
)
def test_what_only_all_sources_together_show_is_found_as_the_run_finds_it(tmp_path, shared, broken):
    own, benchmark = tmp_path / "own", tmp_path / "benchmark"
    names = [f"{number:012}.jpg" for number in range(60)]
    for name in names:
        for folder in (own / "images", benchmark / "images"):
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(folder / name)
    (own / "captions.csv").write_text("image,caption\n" + "".join(f"{name},a dog\n" for name in names))
    rows = "".join(f"a dog,a cat,{a},{b}\n" for a, b in itertools.pairwise(names[:shared]))
    (benchmark / "test.csv").write_text(f"caption_1,caption_2,image_1,image_2\n{rows}")
    data = {"dataset": "captioned", "folder": str(own), "benchmarks": {"colorswap": {"folder": str(benchmark)}}}
    config = load_config({"data": data})
    found = [report.missing for report in check_sources(config)]
    if not broken:
        assert found == [None, None] and len(read_dataset(config.data, 0, tmp_path).images)
        return
    with pytest.raises(UserError) as told:
        read_dataset(config.data, 0, tmp_path)
    assert found == [None, None, str(told.value)] and broken in str(told.value)


def test_the_embedded_world_needs_nothing():
    (only,) = check_sources(load_config({}))
    assert only.note is None and only.missing is None
    assert "needs no files" in check_lines(only)[1]


@pytest.mark.parametrize("name", sorted((DATASETS | BENCHMARKS).keys() - {"scenes"}))
def test_every_reader_says_how_to_get_its_data_and_reports_its_absence_in_one_line(name, tmp_path):
    note = source_note(name)
    told = [entry.name for entry in dataclasses.fields(note) if entry.name != "measures" or name in BENCHMARKS]
    assert all(str(getattr(note, entry)) for entry in told)
    absent = str(tmp_path / "absent")
    data = {"dataset": name, "folder": absent} if name in DATASETS else {"benchmarks": {name: {"folder": absent}}}
    *_, found = check_sources(load_config({"data": data}))
    assert found.name == name and found.missing is not None
    assert "absent" in found.missing and "\n" not in found.missing


def test_the_page_on_data_says_what_the_readers_say():
    page = Path("docs/data.md").read_text(encoding="utf-8")
    assert with_block(page, "docs/data.md", MARKS, notes_markdown()) == page, "run `make schema`"


def test_the_command_ends_with_status_1_when_something_is_missing(tmp_path):
    wanted = tmp_path / "config.yaml"
    wanted.write_text("data: {dataset: flickr8k, folder: nowhere}\nlanguage: {treebank: ud, folder: nowhere}\n")
    result = CliRunner().invoke(app, ["data", "check", str(wanted)])
    assert result.exit_code == 1
    assert result.output.count("MISSING") == 2 and "2 of the data sets are missing" in result.output
    embedded = tmp_path / "embedded.yaml"
    embedded.write_text("name: mine\n")
    assert CliRunner().invoke(app, ["data", "check", str(embedded)]).exit_code == 0


@pytest.fixture
def photographs(tmp_path):
    """Twelve photographs as Flickr30k lays them out, the last of which is cut off behind a whole header."""
    folder = tmp_path / "f30"
    (folder / "images").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for number in range(12):
        Image.fromarray(noise).save(folder / "images" / f"{number}.jpg")
    cut = folder / "images" / "11.jpg"
    cut.write_bytes(cut.read_bytes()[:-20])
    (folder / "results_20130124.token").write_text("".join(f"{n}.jpg#0\ta dog\n" for n in range(12)))
    for split, numbers in {"val": [0, 10], "test": [1, 11], "train": range(2, 10)}.items():
        (folder / f"{split}.txt").write_text("".join(f"{number}.jpg\n" for number in numbers))
    return folder


def flickr30k(folder, **data):
    sizes = {"confirmation": 1, "calibration": 1, "diagnosis": 1}
    return load_config({"data": {"dataset": "flickr30k", "folder": str(folder), "sizes": sizes, **data}})


def test_a_picture_that_is_cut_off_is_found_as_the_run_finds_it(photographs, tmp_path):
    config = flickr30k(photographs)
    (found,) = check_sources(config)
    assert found.missing is None and found.counts["images decoded to their end"] == 11
    assert "11.jpg cannot be read as an image (image file is truncated" in found.problems["problem"].item()
    tables = read_dataset(config.data, config.seed, tmp_path)
    assert len(tables.images) == 11
    pd.testing.assert_frame_equal(tables.problems, found.problems)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strict": True}, "11.jpg cannot be read as an image"),
        ({"sizes": {"calibration": 5, "diagnosis": 5}}, "leave none of the 8 training images for training"),
        ({"tune_list": "gone.txt"}, "gone.txt: no such file"),
        ({"tolerance": 0.0}, "1 of 12 image files are broken, more than data.tolerance (0)"),
    ],
)
def test_what_stops_the_run_stops_the_check(photographs, tmp_path, change, message):
    config = flickr30k(photographs, **change)
    (found,) = check_sources(config)
    assert message in found.missing
    with pytest.raises(UserError) as error:
        read_dataset(config.data, config.seed, tmp_path)
    assert str(error.value) == found.missing


def test_a_split_that_lost_its_only_image_stops_both(photographs, tmp_path):
    (photographs / "images" / "0.jpg").write_bytes(b"")
    (found,) = check_sources(flickr30k(photographs))
    assert found.missing.startswith("flickr30k: split selection has no image; problems of the files: ")


def test_a_part_of_a_data_set_is_not_held_against_the_published_counts(photographs):
    (found,) = check_sources(
        flickr30k(photographs, sizes={"train": 4, "confirmation": 1, "calibration": 1, "diagnosis": 1})
    )
    assert found.counts["train images"] == 7
    assert set(check_table(found)["state"]) == {"counted"}
    assert any("limited by the configuration" in line for line in check_lines(found))


@pytest.mark.parametrize("place", ["results", "results/data", "results/data/images", "link"])
def test_a_run_does_not_write_over_its_own_data(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    Path("results/data/images").mkdir(parents=True)
    Path("link").symlink_to("results/data")
    with pytest.raises(UserError, match=f"config: data.folder: {place}: the run writes its own files there"):
        check_run_folders(load_config({"data": {"dataset": "coco", "folder": place}}))
    check_run_folders(load_config({"data": {"dataset": "coco", "folder": "results/of/another"}}))
    Path("file").touch()
    with pytest.raises(UserError, match="config: results: file: is a file, and a folder is wanted"):
        check_run_folders(load_config({"results": "file"}))
    monkeypatch.chdir("results/data")
    for around in (".", "..", "/", str(tmp_path)):
        with pytest.raises(UserError, match="config: results: .*the run is called from within it"):
            check_run_folders(load_config({"results": around}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"results": "out/{split}"},
            "config: results: 'out/{split}': has a brace, which Snakemake takes for a wildcard",
        ),
        ({"results": "a\nb"}, r"config: results: 'a\\nb': .* cannot be printed; choose another name"),
        ({"data": {"dataset": "coco"}}, "config: data.folder is not set; coco needs the folder it lies in"),
        ({"language": {"treebank": "ud"}}, "config: language.folder is not set; treebank ud needs the folder"),
    ],
)
def test_a_run_that_could_not_work_is_refused_before_it_begins(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        check_run_folders(load_config(given))
    assert not list(tmp_path.iterdir())
