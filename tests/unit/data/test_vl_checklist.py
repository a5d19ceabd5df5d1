import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import BenchmarkConfig
from vialign.data.base import Problems, write_dataset
from vialign.data.benchmarks.vl_checklist import read, read_items
from vialign.errors import UserError

SPATIAL = [
    ["VG_100K/1.jpg", {"POS": ["logo ON bus"], "NEG": ["logo under bus"]}],
    ["VG_100K/1.jpg", {"POS": ["bus ON street"], "NEG": ["bus under street"]}],
    ["VG_100K_2/2.jpg", {"POS": ["tracks next to train"], "NEG": ["tracks far from train"]}],
]
COLOR = [["VG_100K_2/2.jpg", {"POS": ["brown knob", "round knob"], "NEG": ["teal knob", "square knob"]}]]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vg")
    for place, name in enumerate(("VG_100K/1.jpg", "VG_100K_2/2.jpg")):
        (folder / name).parent.mkdir()
        Image.new("RGB", (30 + place, 20)).save(folder / name)
    return folder


def write(folder, **files):
    for stem, rows in files.items():
        (folder / f"{stem}.json").write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return folder


def config(folder, photographs, **changes):
    # The folder is small, so that a share of broken rows means nothing.
    given = {"folder": str(folder), "images": str(photographs), "strict": True, "tolerance": 1.0}
    return BenchmarkConfig(**{**given, **changes})


def test_every_file_is_a_benchmark_whose_items_share_their_images(tmp_path, photographs, capsys):
    tables = read(config(write(tmp_path, spatial=SPATIAL, color=COLOR), photographs), 0)
    choices = tables.choices.set_index("item_id")
    assert choices["benchmark"].value_counts().to_dict() == {"vl_checklist_spatial": 3, "vl_checklist_color": 2}
    first = choices.loc["vl_checklist_spatial/vl_checklist/1"]
    assert (first["split"], first["tag"]) == ("vl_checklist", "spatial")
    assert list(first["images"]) == ["vl_checklist/VG_100K/1.jpg"]
    assert list(first["texts"]) == ["bus ON street", "bus under street"]
    images = tables.images.set_index("image_id")
    assert sorted(images["path"]) == ["VG_100K/1.jpg", "VG_100K_2/2.jpg"]
    assert images.loc["vl_checklist/VG_100K_2/2.jpg", ["width", "height"]].to_list() == [31, 20]
    assert all((tables.image_folder / path).is_file() for path in images["path"])
    assert tables.problems.empty
    assert capsys.readouterr().err == ""
    write_dataset(tables, tmp_path / "tables", {"rule": "prepare_data"})


def test_several_phrases_are_as_many_pairs_in_their_order(tmp_path):
    items = read_items(write(tmp_path, color=COLOR), Problems("vl_checklist", strict=True)).set_index("item_id")
    assert items.loc["vl_checklist_color/vl_checklist/0-0", "texts"] == ["brown knob", "teal knob"]
    assert items.loc["vl_checklist_color/vl_checklist/0-1", "texts"] == ["round knob", "square knob"]


def test_items_limit_every_file_by_seed(tmp_path, photographs):
    write(tmp_path, spatial=SPATIAL * 4, color=COLOR * 4)
    chosen = [read(config(tmp_path, photographs, items=3), seed).choices["item_id"].tolist() for seed in (1, 1, 2)]
    assert [len(ids) for ids in chosen] == [6, 6, 6]
    assert chosen[0] == chosen[1] != chosen[2]


def test_missing_photographs_and_files_are_one_line(tmp_path, photographs):
    write(tmp_path, spatial=SPATIAL)
    with pytest.raises(UserError, match="Visual Genome.*set data.benchmarks.vl_checklist.images") as caught:
        read(config(tmp_path, photographs, images=None), 0)
    assert "\n" not in str(caught.value)
    (tmp_path / "spatial.json").unlink()
    with pytest.raises(UserError, match=r"has no \*\.json, such as spatial\.json"):
        read(config(tmp_path, photographs), 0)


def test_an_image_that_is_not_there_takes_its_items_with_it(tmp_path, photographs):
    gone = ["VG_100K/9.jpg", {"POS": ["a"], "NEG": ["b"]}]
    write(tmp_path, spatial=[*SPATIAL, gone, gone])
    tables = read(config(tmp_path, photographs, strict=False), 0)
    assert len(tables.choices) == 3
    assert tables.problems["row"].tolist() == ["items[3]", "items[4]"]
    assert tables.problems["problem"].str.contains("VG_100K/9.jpg, which is not in").all()


WRONG = st.sampled_from(
    [None, 3, True, [], {}, "", "../../secret.jpg", "/etc/passwd", "a\nb", "\ud800", "n" * 10000, ["a", "b"], [""]]
)


@given(st.integers(0, 2), st.sampled_from(["row", "image", "texts", "POS", "NEG"]), WRONG)
def test_a_broken_item_is_counted_and_explained_and_never_lost(photographs, place, field, value):
    image, texts = SPATIAL[place]
    row = {
        "row": value,
        "image": [value, texts],
        "texts": [image, value],
        "POS": [image, {**texts, "POS": value}],
        "NEG": [image, {**texts, "NEG": value}],
    }[field]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), spatial=[*SPATIAL[:place], row, *SPATIAL[place + 1 :]])
        tables = read(config(folder, photographs, strict=False), 0)
        assert len(tables.choices) == 2
        assert tables.problems["row"].tolist() == [f"items[{place}]"]
        with pytest.raises(UserError, match=r"spatial\.json") as stopped:
            read(config(folder, photographs), 0)
        assert "\n" not in str(stopped.value)


@given(st.integers(0, len(json.dumps(SPATIAL)) - 1))
def test_a_file_that_is_cut_off_is_one_line(length):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), spatial=json.dumps(SPATIAL)[:length])
        with pytest.raises(UserError, match=r"spatial\.json: (line \d+.*is not JSON|is empty)") as stopped:
            read_items(Path(folder), Problems("vl_checklist", strict=False))
        assert "\n" not in str(stopped.value)


def test_a_file_of_another_form_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"spatial\.json: it is not a list; this is not the published file"):
        read_items(write(tmp_path, spatial="{}"), Problems("vl_checklist", strict=False))


def test_long_phrases_and_markup_stay_as_they_are(tmp_path, photographs):
    long, markup = "word " * 2000 + "end", "<b>bus</b> & street"
    rows = [["VG_100K/1.jpg", {"POS": [long], "NEG": [markup]}]]
    assert list(read(config(write(tmp_path, spatial=rows), photographs), 0).choices.loc[0, "texts"]) == [long, markup]
