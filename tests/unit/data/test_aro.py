import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import BenchmarkConfig
from vialign.data.base import Problems, write_dataset
from vialign.data.benchmarks.aro import SYMMETRIC_RELATIONS, read, read_items, write_published
from vialign.errors import UserError

RELATION = "visual_genome_relation.json"
ATTRIBUTION = "visual_genome_attribution.json"
BOX = {"bbox_x": 10, "bbox_y": 5, "bbox_w": 60, "bbox_h": 70}
RELATIONS = [
    {
        "image_id": "1",
        "image_path": "1.jpg",
        "true_caption": "the door is to the left of the shirt",
        "false_caption": "the shirt is to the left of the door",
        "relation_name": "to the left of",
        **BOX,
    },
    {
        "image_id": "1",
        "image_path": "1.jpg",
        "true_caption": "the man is wearing the shirt",
        "false_caption": "the shirt is wearing the man",
        "relation_name": "wearing",
        **BOX,
        "bbox_w": 90,
    },
    {
        "image_id": "2",
        "image_path": "2.jpg",
        "true_caption": "the cup is near the plate",
        "false_caption": "the plate is near the cup",
        "relation_name": "near",
        **BOX,
    },
]
ATTRIBUTIONS = [
    {
        "image_id": "2",
        "image_path": "2.jpg",
        "true_caption": "the crouched cat and the open door",
        "false_caption": "the open cat and the crouched door",
        "attributes": ["crouched", "open"],
        "obj1_name": "cat",
        "obj2_name": "door",
        **BOX,
    }
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vg")
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (100, 80)).save(folder / name)
    return folder


def write(folder, relations=RELATIONS, attributions=ATTRIBUTIONS):
    for name, rows in ((RELATION, relations), (ATTRIBUTION, attributions)):
        if rows is not None:
            (folder / name).write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return folder


def config(folder, photographs, **changes):
    # The folder is small, so that a share of broken rows means nothing.
    given = {"folder": str(folder), "images": str(photographs), "strict": True, "tolerance": 1.0}
    return BenchmarkConfig(**{**given, **changes})


def test_both_benchmarks_show_the_photograph_cut_to_its_box(tmp_path, photographs, capsys):
    tables = read(config(write(tmp_path), photographs), 0)
    choices = tables.choices.set_index("item_id")
    assert choices["benchmark"].value_counts().to_dict() == {"aro_relation": 3, "aro_attribution": 1}
    assert choices["tag"].tolist() == ["to the left of", "wearing", "near", "crouched_open"]
    first = choices.loc["aro_relation/aro/0"]
    assert list(first["texts"]) == ["the door is to the left of the shirt", "the shirt is to the left of the door"]
    images = tables.images.set_index("image_id")
    assert list(images.loc[first["images"][0], "crop"]) == [10, 5, 60, 70]
    assert images.loc[first["images"][0], ["width", "height", "path"]].to_list() == [60, 70, "1.jpg"]
    other = choices.loc["aro_relation/aro/1", "images"][0]
    assert other != first["images"][0]
    assert images.loc[other, "width"] == 90
    assert choices.loc["aro_attribution/aro/0", "images"] == choices.loc["aro_relation/aro/2", "images"]
    assert len(images) == 3
    assert set(images["split"]) == set(choices["split"]) == {"aro"}
    assert tables.problems.empty
    assert capsys.readouterr().err == ""
    write_dataset(tables, tmp_path / "tables", {"rule": "prepare_data"})


def test_images_beside_the_files_need_no_setting(tmp_path, photographs):
    write(tmp_path)
    with pytest.raises(UserError, match="has no folder images; .*set data.benchmarks.aro.images"):
        read(config(tmp_path, photographs, images=None), 0)
    (tmp_path / "images").mkdir()
    for path in photographs.iterdir():
        (tmp_path / "images" / path.name).write_bytes(path.read_bytes())
    tables = read(config(tmp_path, photographs, images=None), 0)
    assert set(tables.images["path"]) == {"images/1.jpg", "images/2.jpg"}


@pytest.mark.parametrize("place", ["images/vgr_vga_images", "aro/images"])
def test_images_one_level_too_deep_are_read_there(tmp_path, photographs, place):
    write(tmp_path)
    (tmp_path / place).mkdir(parents=True)
    for path in photographs.iterdir():
        (tmp_path / place / path.name).write_bytes(path.read_bytes())
    tables = read(config(tmp_path, photographs, images=None), 0)
    assert set(tables.images["path"]) == {f"{place}/1.jpg", f"{place}/2.jpg"}


def test_one_missing_file_is_noted_and_both_are_an_error(tmp_path, photographs):
    write(tmp_path, attributions=None)
    tables = read(config(tmp_path, photographs), 0)
    assert set(tables.choices["benchmark"]) == {"aro_relation"}
    assert tables.problems["file"].tolist() == [ATTRIBUTION]
    (tmp_path / RELATION).unlink()
    with pytest.raises(UserError, match=f"has no file {RELATION} or {ATTRIBUTION}"):
        read(config(tmp_path, photographs), 0)


@pytest.mark.parametrize(
    ("box", "fits"),
    [
        ({"bbox_x": 0, "bbox_y": 0, "bbox_w": 100, "bbox_h": 80}, True),
        ({"bbox_x": -1, "bbox_y": 0, "bbox_w": 102, "bbox_h": 80.5}, True),
        ({"bbox_x": -1.5}, False),
        ({"bbox_w": 91.5}, False),
        ({"bbox_h": 0}, False),
        ({"bbox_h": -3}, False),
        ({"bbox_w": 0.2}, False),
        ({"bbox_x": float("nan")}, False),
        ({"bbox_w": float("inf")}, False),
        ({"bbox_w": 1e308}, False),
        ({"bbox_w": 10**400}, False),
        ({"bbox_y": "five"}, False),
    ],
)
def test_a_box_may_leave_its_image_by_a_rounded_pixel_only(tmp_path, photographs, box, fits):
    write(tmp_path, [{**RELATIONS[0], **box}, *RELATIONS[1:]])
    tables = read(config(tmp_path, photographs, strict=False), 0)
    assert len(tables.choices) == 3 + fits
    assert len(tables.problems) == 1 - fits
    if not fits:
        assert tables.problems.loc[0, ["file", "row"]].to_list() == [RELATION, "items[0]"]
        assert "box" in tables.problems.loc[0, "problem"]


def test_items_limit_each_benchmark_by_seed(tmp_path, photographs):
    write(tmp_path, RELATIONS * 5, ATTRIBUTIONS * 5)
    chosen = [read(config(tmp_path, photographs, items=4), seed).choices["item_id"].tolist() for seed in (1, 1, 2)]
    assert [len(ids) for ids in chosen] == [8, 8, 8]
    assert chosen[0] == chosen[1] != chosen[2]


def test_what_is_written_reads_back_the_same(tmp_path, photographs):
    tables = read(config(write(tmp_path), photographs), 0)
    rows = tables.images.set_index("image_id")
    write_published(tables.choices.to_dict("records"), rows["path"].to_dict(), rows["crop"].to_dict(), tmp_path / "new")
    again = read(config(tmp_path / "new", photographs), 0)
    assert again.choices.equals(tables.choices)
    assert again.images.equals(tables.images)


def test_an_item_that_the_published_form_cannot_hold_is_refused(tmp_path):
    row = {"item_id": "a/b/0", "benchmark": "aro_attribution", "images": ["i"], "texts": ["a", "b"], "tag": "red_blue"}
    write_published([row], {"i": "i.jpg"}, {"i": (0, 0, 1, 1)}, tmp_path)
    for change in ({"tag": "red"}, {"texts": ["a"]}, {"benchmark": "aro_order"}):
        with pytest.raises(ValueError):
            write_published([{**row, **change}], {"i": "i.jpg"}, {"i": (0, 0, 1, 1)}, tmp_path)


def test_the_relations_left_out_of_the_macro_average_are_the_published_list():
    assert len(SYMMETRIC_RELATIONS) == 157
    assert {"adjusting", "near", "on the other side of", "around", "in between"} <= SYMMETRIC_RELATIONS
    assert not {"to the left of", "wearing", "in front of", "behind", "on top of"} & SYMMETRIC_RELATIONS


WRONG = st.sampled_from(
    [None, [], {}, "", "../../secret.jpg", "/etc/passwd", "a\nb", "\ud800", "n" * 10000, float("nan"), -5, 10**400]
)


@given(st.integers(0, 2), st.sampled_from([*RELATIONS[0], "all", "missing"]), WRONG)
def test_a_broken_item_is_counted_and_explained_and_never_lost(photographs, place, field, value):
    row = {**RELATIONS[place], field: value}
    if field == "missing":
        del row["bbox_h"]
    rows = [*RELATIONS[:place], value if field == "all" else row, *RELATIONS[place + 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), rows, None)
        tables = read(config(folder, photographs, strict=False), 0)
        reasons = tables.problems[tables.problems["file"] == RELATION]
        assert len(tables.choices) + len(reasons) == 3
        kept = isinstance(value, str) and value not in ("", "\ud800")
        harmless = field == "image_id" or (kept and field in ("true_caption", "false_caption", "relation_name"))
        assert len(reasons) == int(not harmless)
        if len(reasons):
            assert reasons["row"].item() == f"items[{place}]"
            with pytest.raises(UserError, match=RELATION) as stopped:
                read(config(folder, photographs), 0)
            assert "\n" not in str(stopped.value)


@given(st.sampled_from([None, 3, "red_blue", [], ["red"], ["red", ""], ["red", 3], {"a": 1}]))
def test_attributes_must_be_two(photographs, value):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), None, [*ATTRIBUTIONS, {**ATTRIBUTIONS[0], "attributes": value}])
        problems = Problems("aro", strict=False)
        assert read_items(Path(folder), problems)["tag"].tolist() == ["crouched_open"]
        assert problems.frame()["problem"].str.contains("attributes").sum() == 1


@given(st.integers(0, len(json.dumps(RELATIONS)) - 1))
def test_a_file_that_is_cut_off_is_one_line(length):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), json.dumps(RELATIONS)[:length])
        with pytest.raises(UserError, match=rf"{RELATION}: (line \d+.*is not JSON|is empty)") as stopped:
            read_items(Path(folder), Problems("aro", strict=False))
        assert "\n" not in str(stopped.value)


def test_long_captions_and_markup_stay_as_they_are(tmp_path, photographs):
    long, markup = "word " * 2000 + "end", "<b>bus</b> & street"
    write(tmp_path, [{**RELATIONS[0], "true_caption": long, "false_caption": markup}])
    assert list(read(config(tmp_path, photographs), 0).choices.loc[0, "texts"]) == [long, markup]
