import json
import tempfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import BenchmarkConfig
from vialign.data.base import Problems, write_dataset
from vialign.data.benchmarks.winoground import (
    find_parquet,
    image_name,
    read,
    read_items,
    unpack_parquet,
    write_published,
)
from vialign.errors import UserError

CAPTIONS = [
    ("an old person kisses a young person", "a young person kisses an old person", "Relation"),
    ("a dog chases a cat", "a cat chases a dog", "Object"),
    ("some plants surrounding a lightbulb", "a lightbulb surrounding some plants", "Both"),
]
EXAMPLES = [
    {
        "id": number,
        "image_0": f"ex_{number}_img_0",
        "image_1": f"ex_{number}_img_1",
        "caption_0": first,
        "caption_1": second,
        "tag": "Noun",
        "secondary_tag": "",
        "num_main_preds": 1,
        "collapsed_tag": tag,
    }
    for number, (first, second, tag) in enumerate(CAPTIONS)
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("winoground")
    for number in range(3):
        for place in (0, 1):
            Image.new("RGB", (20 + number, 30 + place), (number, place, 9)).save(
                folder / f"ex_{number}_img_{place}.png"
            )
    return folder


def write(folder, examples=EXAMPLES):
    text = examples if isinstance(examples, str) else "".join(json.dumps(example) + "\n" for example in examples)
    (folder / "examples.jsonl").write_text(text)
    return folder


def config(folder, photographs, **changes):
    # The folder is small, so that a share of broken rows means nothing.
    given = {"folder": str(folder), "images": str(photographs), "strict": True, "tolerance": 1.0}
    return BenchmarkConfig(**{**given, **changes})


def test_an_item_is_two_images_with_a_caption_each(tmp_path, photographs, capsys):
    tables = read(config(write(tmp_path), photographs), 0)
    choices = tables.choices.set_index("item_id")
    assert choices["tag"].tolist() == ["Relation", "Object", "Both"]
    assert set(choices["benchmark"]) == set(choices["split"]) == {"winoground"}
    item = choices.loc["winoground/winoground/1"]
    assert list(item["images"]) == ["winoground/ex_1_img_0", "winoground/ex_1_img_1"]
    assert list(item["texts"]) == ["a dog chases a cat", "a cat chases a dog"]
    images = tables.images.set_index("image_id")
    assert len(images) == 6
    assert images.loc["winoground/ex_2_img_1", ["width", "height"]].to_list() == [22, 31]
    assert all((tables.image_folder / path).is_file() for path in images["path"])
    assert tables.problems.empty
    assert capsys.readouterr().err == ""
    write_dataset(tables, tmp_path / "tables", {"rule": "prepare_data"})


def test_the_layout_of_the_repository_works_too(tmp_path, photographs):
    (tmp_path / "data" / "images").mkdir(parents=True)
    write(tmp_path / "data")
    for path in photographs.iterdir():
        (tmp_path / "data" / "images" / path.name).write_bytes(path.read_bytes())
    tables = read(config(tmp_path, photographs, images=None), 0)
    assert len(tables.choices) == 3
    assert all(path.startswith("data/images/ex_") for path in tables.images["path"])


def test_missing_files_get_one_line_that_says_how_to_get_them(tmp_path, photographs):
    with pytest.raises(UserError, match="has no file examples.jsonl or data/examples.jsonl; .*docs/data.md"):
        read(config(tmp_path, photographs), 0)
    write(tmp_path)
    with pytest.raises(UserError, match="has no folder images or data/images; .*huggingface.co") as caught:
        read(config(tmp_path, photographs, images=None), 0)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such folder; get winoground .* set data.benchmarks.winoground.folder"):
        read(config(tmp_path / "gone", photographs), 0)


def test_items_limit_by_seed(tmp_path, photographs):
    write(tmp_path)
    chosen = [read(config(tmp_path, photographs, items=1), seed).choices["item_id"].item() for seed in range(12)]
    assert set(chosen) == {f"winoground/winoground/{number}" for number in range(3)}
    assert chosen[0] == read(config(tmp_path, photographs, items=1), 0).choices["item_id"].item()
    assert len(read(config(tmp_path, photographs, items=2), 0).images) == 4


def test_an_id_that_stands_twice_is_counted_once(tmp_path, photographs):
    write(tmp_path, [*EXAMPLES, EXAMPLES[1]])
    tables = read(config(tmp_path, photographs, strict=False), 0)
    assert len(tables.choices) == 3
    assert tables.problems.loc[0, "row"] == "line 4"
    with pytest.raises(UserError, match=r"examples\.jsonl, line 4: id 1 appears twice"):
        read(config(tmp_path, photographs), 0)


def test_what_is_written_reads_back_the_same(tmp_path, photographs):
    tables = read(config(write(tmp_path), photographs), 0)
    files = dict(zip(tables.images["image_id"], tables.images["path"], strict=True))
    assert files["winoground/ex_2_img_1"] == f"{image_name(2, 1)}.png"
    write_published(tables.choices.to_dict("records"), files, tmp_path / "again")
    assert read(config(tmp_path / "again", photographs), 0).choices.equals(tables.choices)


def test_an_item_that_the_published_form_cannot_hold_is_refused(tmp_path):
    row = {"item_id": "w/0", "images": ["i", "j"], "texts": ["a", "b"], "tag": "Both"}
    write_published([row], {"i": "i.png", "j": "j.png"}, tmp_path)
    for change, files in (
        ({"texts": ["a"]}, {"i": "i.png", "j": "j.png"}),
        ({"images": ["i"]}, {"i": "i.png"}),
        ({}, {"i": "i.png", "j": "j.jpg"}),
    ):
        with pytest.raises(ValueError):
            write_published([{**row, **change}], files, tmp_path)


WRONG = st.sampled_from(
    [None, [], {}, "", "../../secret", "/etc/passwd", "a\nb", "\ud800", "n" * 10000, float("nan"), -5, 10**400]
)


@given(st.integers(0, 2), st.sampled_from([*EXAMPLES[0], "all", "missing"]), WRONG)
def test_a_broken_item_is_counted_and_explained_and_never_lost(photographs, place, field, value):
    row = {**EXAMPLES[place], field: value}
    if field == "missing":
        del row["caption_1"]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), [*EXAMPLES[:place], value if field == "all" else row, *EXAMPLES[place + 1 :]])
        tables = read(config(folder, photographs, strict=False), 0)
        assert len(tables.choices) + len(tables.problems) == 3
        if field in ("id", "image_0", "image_1", "all", "missing"):
            assert tables.problems["row"].tolist() == [f"line {place + 1}"]
        if len(tables.problems):
            with pytest.raises(UserError, match=r"examples\.jsonl, line") as stopped:
                read(config(folder, photographs), 0)
            assert "\n" not in str(stopped.value)


@given(st.integers(0, 2), st.integers(1, 100))
def test_a_line_that_is_cut_off_is_counted(photographs, place, length):
    lines = [json.dumps(example) for example in EXAMPLES]
    lines[place] = lines[place][:length]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), "\n\n".join(lines) + "\n")
        problems = Problems("winoground", strict=False)
        assert len(read_items(Path(folder), problems)) == 2
        assert problems.frame()["row"].tolist() == [f"line {2 * place + 1}"]
        assert "is not JSON" in problems.frame().loc[0, "problem"]


@pytest.mark.parametrize("line", ["[" * 100_000, "1" * 5000])
def test_a_line_that_the_json_reader_gives_up_on_is_counted(tmp_path, line):
    write(tmp_path, f"{json.dumps(EXAMPLES[0])}\n{line}\n")
    problems = Problems("winoground", strict=False)
    assert len(read_items(tmp_path, problems)) == 1
    assert problems.frame()["row"].tolist() == ["line 2"]


def test_long_captions_and_markup_stay_as_they_are(tmp_path, photographs):
    long, markup = "word " * 2000 + "end", "<b>bus</b> & street"
    write(tmp_path, [{**EXAMPLES[0], "caption_0": long, "caption_1": markup}])
    assert list(read(config(tmp_path, photographs), 0).choices.loc[0, "texts"]) == [long, markup]


def packed(folder, photographs, **changes):
    """The hub's Parquet file, with `changes` to the columns of its first row."""
    rows = []
    for example in EXAMPLES:
        pictures = {
            field: {"bytes": (photographs / f"{example[field]}.png").read_bytes(), "path": f"{example[field]}.png"}
            for field in ("image_0", "image_1")
        }
        rows.append({**example, **pictures})
    rows[0].update(changes)
    path = folder / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_packed_folder_is_read_once_it_is_unpacked(tmp_path, photographs):
    path = packed(tmp_path, photographs)
    assert find_parquet(tmp_path, "winoground") == [path]
    with pytest.raises(UserError, match=r"packed in test-.*run `vialign data unpack winoground") as caught:
        read(config(tmp_path, photographs, images=None), 0)
    assert "\n" not in str(caught.value)
    assert unpack_parquet([path], tmp_path) == 3
    unpacked = read(config(tmp_path, photographs, images=None), 0)
    write(tmp_path / "data")
    assert unpacked.choices.equals(read(config(tmp_path / "data", photographs), 0).choices)
    assert (tmp_path / "images" / "ex_2_img_1.png").read_bytes() == (photographs / "ex_2_img_1.png").read_bytes()
    assert json.loads((tmp_path / "examples.jsonl").read_text().splitlines()[0]) == EXAMPLES[0]


def test_unpacking_again_changes_nothing(tmp_path, photographs):
    path = packed(tmp_path, photographs)
    unpack_parquet([path], tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    unpack_parquet([path], tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def jpeg_header() -> bytes:
    content = BytesIO()
    Image.new("RGB", (2, 2)).save(content, format="PNG")
    return content.getvalue()[:6]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_1": {"bytes": b"no image", "path": "a.png"}}, "row 0: field image_1: is no image"),
        ({"image_1": {"bytes": jpeg_header(), "path": "a.png"}}, "row 0: field image_1: is no image"),
        ({"image_0": {"bytes": None, "path": "a.png"}}, r"row 0: field image_0\.bytes: "),
        ({"image_0": None}, "row 0: field image_0: "),
        ({"caption_0": ""}, "row 0: field caption_0: "),
        ({"id": -1}, "row 0: field id: "),
    ],
)
def test_a_broken_packed_file_is_one_line_and_leaves_no_folder_that_looks_whole(
    tmp_path, photographs, changes, message
):
    with pytest.raises(UserError, match=message) as caught:
        unpack_parquet([packed(tmp_path, photographs, **changes)], tmp_path / "out")
    assert "test-00000-of-00001.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "examples.jsonl").exists()
    unpack_parquet([packed(tmp_path, photographs)], tmp_path / "out")
    assert (tmp_path / "out" / "examples.jsonl").exists()


def test_a_packed_file_that_is_another_or_cut_off_is_one_line(tmp_path, photographs):
    path = packed(tmp_path, photographs)
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-20] + b"x" * 20):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as Parquet|is empty") as caught:
            unpack_parquet([path], tmp_path / "out")
        assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"id": [1]}), path)
    with pytest.raises(UserError, match="has no column caption_0; this is not the published file"):
        unpack_parquet([path], tmp_path / "out")


def in_parts(folder, photographs, names):
    """The items of one file over several, each under its name."""
    whole = packed(folder, photographs)
    table = pq.read_table(whole)
    whole.unlink()
    for place, name in enumerate(names):
        pq.write_table(table.slice(place, 1), whole.parent / name)


PARTS = [f"test-{number:05d}-of-00003-{letter}.parquet" for number, letter in enumerate("fea")]


def test_all_parts_are_unpacked(tmp_path, photographs):
    in_parts(tmp_path, photographs, PARTS)
    assert unpack_parquet(find_parquet(tmp_path, "winoground"), tmp_path) == 3
    assert [json.loads(line) for line in (tmp_path / "examples.jsonl").read_text().splitlines()] == EXAMPLES


@pytest.mark.parametrize("gone", range(3))
def test_a_missing_part_is_named(tmp_path, photographs, gone):
    in_parts(tmp_path, photographs, PARTS)
    (tmp_path / "data" / PARTS[gone]).unlink()
    with pytest.raises(UserError, match=f"1 of 3 parts .* the first of them test-0000{gone}-of-00003") as caught:
        find_parquet(tmp_path, "winoground")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="parts of the data set are missing"):
        read(config(tmp_path, photographs, images=None), 0)


@pytest.mark.parametrize("other", ["test-00000-of-00002-x.parquet", "test-00001-of-00003-x.parquet", "test-x.parquet"])
def test_parts_of_two_downloads_are_refused(tmp_path, photographs, other):
    in_parts(tmp_path, photographs, PARTS)
    (tmp_path / "data" / other).write_bytes((tmp_path / "data" / PARTS[0]).read_bytes())
    with pytest.raises(UserError, match="keep"):
        find_parquet(tmp_path, "winoground")


def test_an_id_that_comes_twice_would_pair_a_caption_with_another_photograph_and_is_refused(tmp_path, photographs):
    in_parts(tmp_path, photographs, PARTS)
    (tmp_path / "data" / PARTS[2]).write_bytes((tmp_path / "data" / PARTS[0]).read_bytes())
    with pytest.raises(UserError, match=f"{PARTS[2]}: row 0: field id: 0 is that of {PARTS[0]}, row 0 too"):
        unpack_parquet(find_parquet(tmp_path, "winoground"), tmp_path)
    assert not (tmp_path / "examples.jsonl").exists()
