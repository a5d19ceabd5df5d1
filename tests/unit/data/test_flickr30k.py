import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import DataConfig
from vialign.data.base import TABLES, check_references, write_dataset
from vialign.data.datasets.flickr30k import NOTE, read
from vialign.errors import UserError

SPLIT_OF = {f"{number}.jpg": "train" for number in range(1000, 1008)} | {"2000.jpg": "val", "3000.jpg": "test"}
SIZES = {"confirmation": 1, "calibration": 2, "diagnosis": 2}


@pytest.fixture
def folder(tmp_path):
    """Ten images in the layout of the corpus, with captions in all three published forms; one image is in no list."""
    return build(tmp_path / "flickr30k")


def build(root):
    (root / "flickr30k-images").mkdir(parents=True)
    for name in [*SPLIT_OF, "4000.jpg"]:
        Image.new("RGB", (8, 6)).save(root / "flickr30k-images" / name)
    captions = [
        (name, number, f"Caption {number} of {name} .") for name in [*SPLIT_OF, "4000.jpg"] for number in (0, 1)
    ]
    token = "".join(f"{name}#{number}\t{text}\n" for name, number, text in captions)
    (root / "results_20130124.token").write_text(token)
    rows = "".join(f"{name}| {number}| {text}\n" for name, number, text in captions)
    (root / "results.csv").write_text(f"image_name| comment_number| comment\n{rows}")
    images = [
        {
            "sentids": [0, 1],
            "imgid": place,
            "sentences": [
                {"tokens": [], "raw": text, "imgid": place, "sentid": number}
                for owner, number, text in captions
                if owner == name
            ],
            "split": split,
            "filename": name,
        }
        for place, (name, split) in enumerate(SPLIT_OF.items())
    ]
    (root / "dataset_flickr30k.json").write_text(json.dumps({"images": images, "dataset": "flickr30k"}))
    for split in ("train", "val", "test"):
        names = [name for name, own in SPLIT_OF.items() if own == split]
        (root / f"flickr30k_{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def config(folder, **changes) -> DataConfig:
    # The folder is small, so that a share of broken rows means nothing.
    given = {"dataset": "flickr30k", "folder": str(folder), "sizes": SIZES, "strict": True, "tolerance": 1.0}
    return DataConfig(**{**given, **changes})


def keep(folder, form):
    """Remove the other forms of the captions."""
    for name in {"dataset_flickr30k.json", "results_20130124.token", "results.csv"} - {form}:
        (folder / name).unlink()


FORMS = ["dataset_flickr30k.json", "results_20130124.token", "results.csv"]


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_gives_the_same_tables(folder, tmp_path, form, capsys):
    expected = read(config(folder), 0)
    keep(folder, form)
    tables = read(config(folder), 0)
    for name in TABLES:
        assert getattr(tables, name).equals(getattr(expected, name)), name
    assert tables.images["split"].value_counts().to_dict() == {
        "train": 3,
        "confirmation": 1,
        "calibration": 2,
        "diagnosis": 2,
        "selection": 1,
        "test": 1,
    }
    assert len(tables.captions) == 20
    first = tables.captions.set_index("caption_id").loc["3000.jpg#1"]
    assert (first["image_id"], first["text"]) == ("3000.jpg", "Caption 1 of 3000.jpg .")
    assert all((tables.image_folder / path).is_file() for path in tables.images["path"])
    checked, lines = check_references(tables, "flickr30k", strict=True)
    write_dataset(checked, tmp_path / "data", {"rule": "prepare_data"})
    assert lines == [] and capsys.readouterr().err == ""


def test_a_csv_without_header_loses_no_caption(folder):
    keep(folder, "results.csv")
    rows = (folder / "results.csv").read_text().splitlines(keepends=True)
    (folder / "results.csv").write_text("".join(rows[1:]))
    assert len(read(config(folder), 0).captions) == 20


def test_lists_may_have_short_names_and_hold_numbers_only(folder):
    keep(folder, "results_20130124.token")
    for split in ("train", "val", "test"):
        path = folder / f"flickr30k_{split}.txt"
        (folder / f"{split}.txt").write_text(path.read_text().replace(".jpg", ""))
        path.unlink()
    assert len(read(config(folder), 0).images) == 10


def test_captions_without_lists_say_what_is_missing(folder):
    for name in ("flickr30k_val.txt", "flickr30k_test.txt"):
        (folder / name).unlink()
    assert len(read(config(folder), 0).images) == 10
    (folder / "dataset_flickr30k.json").unlink()
    with pytest.raises(
        UserError, match="no list flickr30k_val.txt or val.txt, flickr30k_test.txt or test.txt"
    ) as caught:
        read(config(folder), 0)
    assert "results_20130124.token does not say which images" in str(caught.value)
    assert "dataset_flickr30k.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("", "no such folder; get flickr30k"),
        ("flickr30k-images", "has no folder flickr30k-images or flickr30k_images or images"),
        ("dataset_flickr30k.json", "has no file dataset_flickr30k.json or results_20130124.token or results.csv"),
    ],
)
def test_missing_files_get_one_line_that_says_what_to_do(folder, gone, message):
    keep(folder, "dataset_flickr30k.json")
    assert len(read(config(folder), 0).images) == 10
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=message) as caught:
        read(config(folder), 0)
    assert "docs/data.md" in str(caught.value) and "\n" not in str(caught.value)


def test_sizes_and_the_tuning_list_limit_the_splits(folder, tmp_path):
    path = tmp_path / "tune.txt"
    path.write_text("\n".join(f"{number}.jpg" for number in range(1000, 1006)))
    sizes = {"confirmation": 1, "calibration": 1, "diagnosis": 1, "train": 3}
    images = read(config(folder, tune_list=str(path), sizes=sizes), 0).images
    assert images["split"].value_counts().to_dict() == {**sizes, "selection": 1, "test": 1}
    assert images["image_id"].max() == "3000.jpg"
    assert not {"1006.jpg", "1007.jpg"} & set(images["image_id"])


def test_an_image_that_is_not_there_or_cannot_be_read_is_counted(folder):
    (folder / "flickr30k-images" / "1000.jpg").unlink()
    (folder / "flickr30k-images" / "2000.jpg").write_text("no image")
    tables = read(config(folder, strict=False), 0)
    assert set(tables.captions["image_id"]) == set(tables.images["image_id"]) == {*SPLIT_OF} - {"1000.jpg", "2000.jpg"}
    problems = tables.problems["problem"]
    assert "names image 1000.jpg, which is not in images" in problems[0]
    assert "2000.jpg cannot be read as an image" in problems[1]
    with pytest.raises(UserError, match=r"dataset_flickr30k.json, images\[0\]: names image 1000.jpg"):
        read(config(folder), 0)


@given(
    st.sampled_from(FORMS[1:]),
    st.lists(
        st.sampled_from(
            [
                "3000.jpg#9\tx\n3000.jpg| 9| x",
                "3000.jpg#0\tagain",
                "3000.jpg| 0| again",
                "../3000.jpg#8\tx\n/3000.jpg| 8| x",
                "3000.jpg#7\t<b>x</b>\n3000.jpg| 7| <b>x</b>",
                "3000.jpg#6\t" + "x" * 10_000,
                "3000.jpg| 6| " + "x" * 10_000,
                "3000.jpg#5\t \n3000.jpg| 5|",
                "#####\t|||||",
                "",
            ]
        ),
        max_size=6,
    ),
)
def test_every_added_line_is_read_or_counted(tmp_path_factory, form, lines):
    folder = build(tmp_path_factory.mktemp("flickr30k") / "data")
    keep(folder, form)
    with (folder / form).open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))
    tables = read(config(folder, strict=False), 0)
    added = "".join(f"{line}\n" for line in lines).count("\n")
    assert len(tables.captions) + len(tables.problems) == 20 + added
    assert tables.captions["caption_id"].is_unique


def test_the_published_counts_add_up():
    counts = NOTE.expected
    for kind in ("images", "captions"):
        assert sum(counts[f"{split} {kind}"] for split in ("train", "validation", "test")) == counts[kind]


def test_a_row_without_its_second_bar_is_read_and_noted_and_strict_takes_it(folder):
    keep(folder, "results.csv")
    path = folder / "results.csv"
    rows = path.read_text()
    path.write_text(rows.replace("1003.jpg| 1| Caption", "1003.jpg| 1   Caption"))
    tables = read(config(folder), 0)
    captions = dict(zip(tables.captions["caption_id"], tables.captions["text"], strict=True))
    assert captions["1003.jpg#1"] == "Caption 1 of 1003.jpg ."
    assert len(tables.captions) == 20
    line = rows.splitlines().index("1003.jpg| 1| Caption 1 of 1003.jpg .") + 1
    assert tables.problems.to_dict("records") == [
        {
            "file": "results.csv",
            "row": f"line {line}",
            "problem": "has no second bar; read as caption 1 of image 1003.jpg",
        }
    ]


def test_what_could_mean_several_things_is_not_mended(folder):
    keep(folder, "results.csv")
    path = folder / "results.csv"
    path.write_text(path.read_text().replace("1003.jpg| 1| Caption 1", "1003.jpg| Caption 1"))
    tables = read(config(folder, strict=False), 0)
    assert "1003.jpg#1" not in set(tables.captions["caption_id"])
    assert tables.problems["problem"].tolist() == ["is not `<image>| <number>| <caption>`"]


@pytest.mark.parametrize("form", FORMS)
def test_photographs_one_level_too_deep_are_read_and_none_at_all_is_one_line(folder, form):
    expected = read(config(folder), 0)
    keep(folder, form)
    (folder / "flickr30k-images").rename(folder / "aside")
    (folder / "flickr30k-images").mkdir()
    (folder / "aside").rename(folder / "flickr30k-images" / "flickr30k_images")
    assert read(config(folder), 0).captions.equals(expected.captions)
    for file in (folder / "flickr30k-images").rglob("*.jpg"):
        file.unlink()
    for strict in (True, False):
        with pytest.raises(UserError, match="none of the 10 photographs that .* names? is in its folders"):
            read(config(folder, strict=strict), 0)
