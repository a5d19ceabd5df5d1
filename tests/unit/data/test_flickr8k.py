import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.artifacts import read_table
from vialign.config import DataConfig
from vialign.data.base import TABLES, write_dataset
from vialign.data.flickr8k import divide, read
from vialign.data.registry import image_folder, read_dataset
from vialign.errors import UserError

TRAIN = [f"t{number}.jpg" for number in range(12)]
DEV, TEST = ["d0.jpg", "d1.jpg"], ["e0.jpg", "e1.jpg", "e2.jpg"]
SIZES = {"calibration": 2, "diagnosis": 3}


@pytest.fixture
def folder(tmp_path):
    """A small data set in the published layout, without any broken row."""
    root = tmp_path / "flickr8k"
    (root / "images").mkdir(parents=True)
    for place, name in enumerate([*TRAIN, *DEV, *TEST, "unused.jpg"]):
        Image.new("RGB", (20 + place, 10)).save(root / "images" / name)
    for split, names in (("train", TRAIN), ("dev", DEV), ("test", TEST)):
        (root / f"Flickr_8k.{split}Images.txt").write_text("".join(f"{name}\n" for name in names))
    captions = [f"{name}#{n}\tA photo , number {n} of {name} .\n" for name in [*TRAIN, *DEV, *TEST] for n in (0, 1)]
    (root / "Flickr8k.token.txt").write_text("".join(captions) + "unused.jpg#0\tIn no list .\n")
    ratings = "e0.jpg\te0.jpg#0\t1.0\t3\t0\ne0.jpg\te1.jpg#1\t0.25\t1\t3\ne0.jpg\te1.jpg#1\t0.75\t3\t1\n"
    (root / "CrowdFlowerAnnotations.txt").write_text(ratings)
    return root


def config(folder, **changes) -> DataConfig:
    return DataConfig(**{"dataset": "flickr8k", "folder": str(folder), "sizes": SIZES, "strict": True, **changes})


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_a_clean_folder_is_read_whole_even_when_strict(folder, tmp_path, capsys):
    tables = read_dataset(config(folder), 0, tmp_path / "results")
    assert tables.images["split"].value_counts().to_dict() == {
        "train": 7,
        "calibration": 2,
        "diagnosis": 3,
        "validation": 2,
        "test": 3,
    }
    by_split = tables.images.groupby("split")["image_id"].agg(set)
    assert by_split["validation"] == set(DEV)
    assert by_split["test"] == set(TEST)
    assert by_split["train"] | by_split["calibration"] | by_split["diagnosis"] == set(TRAIN)
    assert len(tables.captions) == 2 * len(tables.images)
    sizes = tables.images.set_index("image_id")[["width", "height"]]
    assert sizes.loc["t3.jpg"].to_list() == [23, 10]
    first = tables.captions.set_index("caption_id").loc["e1.jpg#1"]
    assert (first["image_id"], first["text"]) == ("e1.jpg", "A photo , number 1 of e1.jpg .")
    ratings = tables.ratings.set_index(["image_id", "caption_id"])["rating"].to_dict()
    assert ratings == {("e0.jpg", "e0.jpg#0"): 1.0, ("e0.jpg", "e1.jpg#1"): 0.5}
    assert tables.problems.empty
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "results").exists()


def test_the_tables_satisfy_their_declarations_and_paths_lead_to_the_photographs(folder, tmp_path):
    tables = read_dataset(config(folder), 0, tmp_path)
    write_dataset(tables, tmp_path / "data", {"rule": "prepare_data"})
    for name, table in TABLES.items():
        assert len(read_table(tmp_path / "data" / f"{name}.parquet", table)) == len(getattr(tables, name))
    root = image_folder(config(folder), tmp_path / "data")
    assert all((root / path).is_file() for path in tables.images["path"])


def test_the_seed_alone_decides_the_division(folder):
    def assigned(seed):
        images = read(config(folder), seed).images
        return dict(zip(images["image_id"], images["split"], strict=True))

    assert assigned(1) == assigned(1)
    assert assigned(1) != assigned(2)


@given(st.sets(st.text("abcdef", min_size=1), min_size=8, max_size=40), st.integers(0, 2**32))
def test_division_is_a_partition_that_ignores_the_order_of_names(names, seed):
    parts = divide(sorted(names), SIZES, seed)
    assert parts == divide(sorted(names, reverse=True), SIZES, seed)
    assert sorted(name for part in parts.values() for name in part) == sorted(names)
    assert [len(parts[split]) for split in ("calibration", "diagnosis")] == [2, 3]


def test_division_refuses_to_leave_nothing_for_training():
    divide(TRAIN, {"calibration": 5, "diagnosis": 6}, 0)
    with pytest.raises(UserError, match="none of the 12 training images for training"):
        divide(TRAIN, {"calibration": 5, "diagnosis": 7}, 0)


def test_sizes_limit_every_split(folder):
    sizes = {"train": 4, "calibration": 1, "diagnosis": 1, "validation": 1, "test": 2, "test_domain": 9}
    tables = read(config(folder, sizes=sizes), 0)
    counts = tables.images["split"].value_counts().to_dict()
    assert counts == {split: size for split, size in sizes.items() if split != "test_domain"}
    assert set(tables.captions["image_id"]) == set(tables.images["image_id"])
    assert set(tables.ratings["image_id"]) <= set(tables.images["image_id"])


def test_only_images_of_the_tuning_list_are_used_for_training(folder, tmp_path):
    chosen = TRAIN[::2]
    path = tmp_path / "tune.txt"
    path.write_text("\n".join(chosen))
    images = read(config(folder, tune_list=str(path)), 0).images
    assert set(images["image_id"]) == {*chosen, *DEV, *TEST}
    append(path, "\nd0.jpg\n")
    with pytest.raises(UserError, match="tune.txt, line 7: d0.jpg is not a training image"):
        read(config(folder, tune_list=str(path)), 0)


BROKEN = {
    "caption of no image": ("Flickr8k.token.txt", "gone.jpg.1#0\tA dog .\n", "names image gone.jpg.1, which is not in"),
    "empty caption": ("Flickr8k.token.txt", "t0.jpg#7\t \n", "caption t0.jpg#7 is empty"),
    "no tab": ("Flickr8k.token.txt", "t0.jpg#8 A dog .\n", "is not `<image>#<number>`, a tab and a caption"),
    "no number": ("Flickr8k.token.txt", "t0.jpg\tA dog .\n", "is not `<image>#<number>`, a tab and a caption"),
    "twice": ("Flickr8k.token.txt", "t0.jpg#0\tAgain .\n", "caption t0.jpg#0 appears twice"),
    "listed but missing": ("Flickr_8k.testImages.txt", "gone.jpg\n", "names image gone.jpg, which is not in images"),
    "in two lists": ("Flickr_8k.testImages.txt", "t0.jpg\n", "names image t0.jpg again, which is in train"),
    "bad rating": ("CrowdFlowerAnnotations.txt", "e0.jpg\te1.jpg#0\tmaybe\n", "is not image, caption and a share"),
    "rating outside": ("CrowdFlowerAnnotations.txt", "e0.jpg\te1.jpg#0\t1.5\n", "is not image, caption and a share"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_row_is_skipped_counted_and_explained_or_stops_a_strict_run(folder, case, capsys):
    clean = read(config(folder), 0)
    file, row, message = BROKEN[case]
    number = len((folder / file).read_text().splitlines()) + 1
    append(folder / file, row)
    tables = read(config(folder, strict=False), 0)
    for name in ("images", "captions", "ratings"):
        assert getattr(tables, name).equals(getattr(clean, name))
    assert len(tables.problems) == 1
    problem = tables.problems.iloc[0]
    assert file in problem["file"]
    assert problem["row"] == f"line {number}"
    assert message in problem["problem"]
    log = capsys.readouterr().err
    assert f"line {number}: {message}" in log
    assert "1 " in log and "skipped; set data.strict: true to stop here instead." in log
    with pytest.raises(UserError, match=f"{file}, line {number}: ") as stopped:
        read(config(folder), 0)
    assert "\n" not in str(stopped.value)


def test_an_unreadable_image_goes_with_its_captions_and_ratings(folder):
    (folder / "images" / "e0.jpg").write_bytes(b"no image")
    tables = read(config(folder, strict=False), 0)
    assert "e0.jpg" not in set(tables.images["image_id"]) | set(tables.captions["image_id"])
    assert tables.ratings.empty
    assert "cannot be read as an image" in tables.problems.iloc[0]["problem"]
    with pytest.raises(UserError, match=r"images/e0\.jpg: cannot be read"):
        read(config(folder), 0)


def test_missing_ratings_are_reported_and_never_stop_the_run(folder, capsys):
    (folder / "CrowdFlowerAnnotations.txt").unlink()
    tables = read(config(folder), 0)
    assert tables.ratings.empty
    assert "agreement with human ratings is not available" in tables.problems.iloc[0]["problem"]
    assert "not available" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("", "no such folder; download Flickr8k"),
        ("images", "has no folder images or Flicker8k_Dataset"),
        ("Flickr8k.token.txt", "has no file Flickr8k.token.txt"),
        ("Flickr_8k.devImages.txt", "has no file Flickr_8k.devImages.txt"),
    ],
)
def test_missing_files_get_one_line_that_says_how_to_get_them(folder, gone, message):
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=message) as caught:
        read(config(folder), 0)
    assert "docs/data.md" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_must_be_named():
    with pytest.raises(UserError, match="data.folder is not set"):
        read(DataConfig(dataset="flickr8k"), 0)


def test_the_published_folder_names_work_too(folder):
    (folder / "images").rename(folder / "Flicker8k_Dataset")
    (folder / "Flickr8k_text").mkdir()
    for path in list(folder.glob("*.txt")):
        path.rename(folder / "Flickr8k_text" / path.name)
    tables = read(config(folder), 0)
    assert len(tables.images) == 17
    assert all((folder / path).is_file() for path in tables.images["path"])


def test_a_caption_file_in_another_encoding_is_one_line(folder):
    (folder / "Flickr8k.token.txt").write_bytes("t0.jpg#0\tcafé\n".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read(config(folder), 0)
