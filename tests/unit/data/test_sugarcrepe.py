import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import BenchmarkConfig
from vialign.data.base import Problems, write_dataset
from vialign.data.benchmarks.sugarcrepe import KINDS, NOTE, read, read_items
from vialign.errors import UserError

ITEMS = {
    "0": {
        "filename": "000000000001.jpg",
        "caption": "A cat sits on a mat.",
        "negative_caption": "A mat sits on a cat.",
    },
    "1": {"filename": "000000000002.jpg", "caption": "A red bus.", "negative_caption": "A blue bus."},
    "7": {"filename": "000000000001.jpg", "caption": "A cat on a mat.", "negative_caption": "A cat by a mat."},
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco") / "val2017"
    folder.mkdir()
    for number, size in ((1, (40, 30)), (2, (20, 50))):
        Image.new("RGB", size).save(folder / f"{number:012d}.jpg")
    return folder


def write(folder, published=ITEMS, kinds=KINDS):
    for kind in kinds:
        text = published if isinstance(published, str) else json.dumps(published, indent=4)
        (folder / f"{kind}.json").write_text(text)
    return folder


def config(folder, photographs, **changes):
    # The folder is small, so that a share of broken rows means nothing.
    given = {"folder": str(folder), "images": str(photographs), "strict": True, "tolerance": 1.0}
    return BenchmarkConfig(**{**given, **changes})


@pytest.mark.parametrize(
    ("count", "told"), [(245, "the version of the authors' repository"), (246, "the version of the paper"), (244, None)]
)
def test_which_of_its_two_versions_it_has_is_said(tmp_path, count, told):
    problems = Problems("sugarcrepe", strict=True)
    read_items(write(tmp_path, dict.fromkeys(map(str, range(count)), ITEMS["1"]), kinds=("swap_obj",)), problems)
    notes = [note for note in problems.frame()["problem"] if note.startswith("has ")]
    assert notes == [] if told is None else notes[0].startswith(f"has {count} items: {told}")


def test_every_kind_is_a_benchmark_of_its_own_even_when_strict(tmp_path, photographs, capsys):
    tables = read(config(write(tmp_path), photographs), 0)
    assert tables.choices["benchmark"].value_counts().to_dict() == {f"sugarcrepe_{kind}": 3 for kind in KINDS}
    first = tables.choices.set_index("item_id").loc["sugarcrepe_swap_obj/sugarcrepe/7"]
    assert (first["split"], first["tag"]) == ("sugarcrepe", "swap_obj")
    assert list(first["images"]) == ["sugarcrepe/000000000001.jpg"]
    assert list(first["texts"]) == ["A cat on a mat.", "A cat by a mat."]
    assert set(NOTE.expected) == {f"{benchmark} items" for benchmark in tables.choices["benchmark"]}
    images = tables.images.set_index("image_id")
    assert sorted(images.index) == ["sugarcrepe/000000000001.jpg", "sugarcrepe/000000000002.jpg"]
    assert images.loc["sugarcrepe/000000000002.jpg", ["width", "height"]].to_list() == [20, 50]
    assert all((tables.image_folder / path).is_file() for path in images["path"])
    assert tables.problems.empty and tables.captions.empty
    assert capsys.readouterr().err == ""
    write_dataset(tables, tmp_path / "tables", {"rule": "prepare_data"})


def test_the_photographs_may_lie_where_coco_puts_them(tmp_path, photographs):
    write(tmp_path)
    for images in (str(photographs), str(photographs.parent)):
        assert len(read(config(tmp_path, photographs, images=images), 0).choices) == 3 * len(KINDS)
    shutil.copytree(photographs, tmp_path / "images")
    tables = read(config(tmp_path, photographs, images=None), 0)
    assert set(tables.images["path"]) == {"images/000000000001.jpg", "images/000000000002.jpg"}


def test_the_files_may_lie_in_the_folder_of_the_repository(tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    assert len(read_items(tmp_path, Problems("sugarcrepe", strict=True))) == 3 * len(KINDS)


def test_a_missing_kind_is_noted_and_none_at_all_is_an_error(tmp_path, photographs, capsys):
    write(tmp_path, kinds=("swap_att",))
    tables = read(config(tmp_path, photographs), 0)
    assert set(tables.choices["benchmark"]) == {"sugarcrepe_swap_att"}
    assert "swap_obj.json" in tables.problems["file"].item()
    assert "left out" in capsys.readouterr().err
    (tmp_path / "swap_att.json").unlink()
    with pytest.raises(UserError, match=r"has none of the files add_att.json, .*docs/data.md"):
        read(config(tmp_path, photographs), 0)


def test_missing_photographs_get_one_line_that_says_how_to_get_them(tmp_path, photographs):
    write(tmp_path)
    with pytest.raises(UserError, match="val2017.zip.*set data.benchmarks.sugarcrepe.images") as caught:
        read(config(tmp_path, photographs, images=None), 0)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        read(config(tmp_path, tmp_path / "nowhere"), 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"none of 21 items can be shown; .*000000000001.jpg, which is not in"):
        read(config(tmp_path, tmp_path / "empty", strict=False), 0)


def test_a_folder_of_images_may_be_a_link_to_another_disk(tmp_path, photographs):
    write(tmp_path)
    (tmp_path / "images").symlink_to(photographs)
    assert len(read(config(tmp_path, photographs, images=None), 0).choices) == 3 * len(KINDS)
    assert len(read(config(tmp_path, tmp_path / "images"), 0).choices) == 3 * len(KINDS)


def test_items_limit_every_benchmark_by_seed(tmp_path, photographs):
    write(tmp_path)
    chosen = [read(config(tmp_path, photographs, items=2), seed).choices["item_id"].tolist() for seed in (1, 1, 2, 3)]
    assert [len(ids) for ids in chosen] == [2 * len(KINDS)] * 4
    assert chosen[0] == chosen[1]
    assert any(ids != chosen[0] for ids in chosen[2:])
    tables = read(config(tmp_path, photographs, items=1), 0)
    assert set(tables.images["image_id"]) == {name for names in tables.choices["images"] for name in names}


def test_a_wrong_caption_that_is_the_true_one_is_kept_and_said(tmp_path, photographs, capsys):
    tied = ITEMS | {"8": {**ITEMS["1"], "negative_caption": "A red bus."}}
    tables = read(config(write(tmp_path, tied, kinds=("swap_att",)), photographs), 0)
    assert len(tables.choices) == 4
    assert "always tie: 1; kept" in capsys.readouterr().err
    assert tables.problems["problem"].str.contains("always tie").sum() == 1


def test_a_key_that_stands_twice_is_counted(tmp_path, photographs):
    twice = json.dumps(ITEMS)[:-1] + ', "1": ' + json.dumps({**ITEMS["1"], "caption": "Again."}) + "}"
    write(tmp_path, twice, kinds=("swap_att",))
    problems = Problems("sugarcrepe", strict=False)
    items = read_items(tmp_path, problems)
    assert len(items) == 3
    assert items.set_index("item_id").loc["sugarcrepe_swap_att/sugarcrepe/1", "texts"][0] == "Again."
    assert problems.frame()["problem"].str.contains("appears twice").sum() == 1


WRONG = st.sampled_from(
    [None, 3, True, [], {}, "", " ", "../../secret.jpg", "/etc/passwd", "a\nb", "\0", "\ud800", "é" * 200, "n" * 10000]
)


@given(st.sampled_from(sorted(ITEMS)), st.sampled_from(["filename", "caption", "negative_caption", "all"]), WRONG)
def test_a_broken_item_is_counted_and_explained_and_never_lost(photographs, key, field, value):
    broken = {**ITEMS, key: value if field == "all" else {**ITEMS[key], field: value}}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), broken, kinds=("swap_obj",))
        tables = read(config(folder, photographs, strict=False), 0)
        reasons = tables.problems[tables.problems["file"] == "swap_obj.json"]
        assert len(tables.choices) + len(reasons) == len(ITEMS)
        fits = field in ("caption", "negative_caption") and isinstance(value, str) and value.strip()
        assert len(reasons) == int(not fits or value == "\ud800")
        if len(reasons):
            assert reasons["row"].item() == json.dumps(key)
            with pytest.raises(UserError, match=r"swap_obj\.json") as stopped:
                read(config(folder, photographs), 0)
            assert "\n" not in str(stopped.value)


@given(st.sampled_from(["k", "1.5", "../1", "", "a\nb"]))
def test_a_key_that_is_no_number_is_counted(photographs, key):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), {**ITEMS, key: ITEMS["0"]}, kinds=("swap_obj",))
        problems = Problems("sugarcrepe", strict=False)
        assert len(read_items(Path(folder), problems)) == len(ITEMS)
        assert problems.frame()["problem"].str.contains("field key").sum() == 1


@given(st.integers(0, len(json.dumps(ITEMS)) - 1))
def test_a_file_that_is_cut_off_is_one_line(length):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), json.dumps(ITEMS)[:length], kinds=("swap_obj",))
        with pytest.raises(UserError, match=r"swap_obj\.json: (line \d+.*is not JSON|is empty)") as stopped:
            read_items(Path(folder), Problems("sugarcrepe", strict=False))
        assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("content", ["[]", "3", '"a"', "null"])
def test_a_file_of_another_form_is_one_line(tmp_path, content):
    write(tmp_path, content, kinds=("swap_obj",))
    with pytest.raises(UserError, match=r"swap_obj\.json: it is not an object; this is not the published file"):
        read_items(tmp_path, Problems("sugarcrepe", strict=False))


def test_long_captions_and_markup_stay_as_they_are(tmp_path, photographs):
    long, markup = "word " * 2000, "<script>alert(1)</script> & a dog"
    strange = {"0": {**ITEMS["0"], "caption": long, "negative_caption": markup}}
    choices = read(config(write(tmp_path, strange), photographs), 0).choices
    assert list(choices.loc[0, "texts"]) == [long.strip(), markup]
