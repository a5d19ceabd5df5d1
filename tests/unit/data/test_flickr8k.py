import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import DataConfig
from vialign.data.base import TABLES, write_dataset
from vialign.data.datasets.flickr8k import read
from vialign.data.folders import image_folders
from vialign.data.registry import read_dataset
from vialign.errors import UserError
from vialign.files.artifacts import read_table

TRAIN = [f"t{number}.jpg" for number in range(12)]
DEV, TEST = ["d0.jpg", "d1.jpg"], ["e0.jpg", "e1.jpg", "e2.jpg"]
SIZES = {"confirmation": 2, "calibration": 2, "diagnosis": 3}


@pytest.fixture
def folder(tmp_path):
    return build(tmp_path / "flickr8k")


def build(root):
    """A small data set in the published layout, without any broken row."""
    (root / "images").mkdir(parents=True)
    for place, name in enumerate([*TRAIN, *DEV, *TEST, "unused.jpg"]):
        Image.new("RGB", (20 + place, 10)).save(root / "images" / name)
    for split, names in (("train", TRAIN), ("dev", DEV), ("test", TEST)):
        (root / f"Flickr_8k.{split}Images.txt").write_text("".join(f"{name}\n" for name in names))
    captions = [f"{name}#{n}\tA photo , number {n} of {name} .\n" for name in [*TRAIN, *DEV, *TEST] for n in (0, 1)]
    (root / "Flickr8k.token.txt").write_text("".join(captions) + "unused.jpg#0\tIn no list .\n")
    ratings = "e0.jpg\te0.jpg#0\t1.0\t3\t0\ne0.jpg\te1.jpg#1\t0.25\t1\t3\n"
    (root / "CrowdFlowerAnnotations.txt").write_text(ratings)
    return root


def config(folder, **changes) -> DataConfig:
    # The folder is small, so that a share of broken rows means nothing.
    given = {"dataset": "flickr8k", "folder": str(folder), "sizes": SIZES, "strict": True, "tolerance": 1.0}
    return DataConfig(**{**given, **changes})


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_a_clean_folder_is_read_whole_even_when_strict(folder, tmp_path, capsys):
    tables = read_dataset(config(folder), 0, tmp_path / "results")
    assert tables.images["split"].value_counts().to_dict() == {
        "train": 5,
        "confirmation": 2,
        "calibration": 2,
        "diagnosis": 3,
        "selection": 1,
        "gate": 1,
        "test": 3,
    }
    by_split = tables.images.groupby("split")["image_id"].agg(set)
    assert by_split["selection"] | by_split["gate"] == set(DEV)
    assert by_split["test"] == set(TEST)
    assert set().union(*(by_split[split] for split in ("train", *SIZES))) == set(TRAIN)
    assert len(tables.captions) == 2 * len(tables.images)
    sizes = tables.images.set_index("image_id")[["width", "height"]]
    assert sizes.loc["t3.jpg"].to_list() == [23, 10]
    first = tables.captions.set_index("caption_id").loc["e1.jpg#1"]
    assert (first["image_id"], first["text"]) == ("e1.jpg", "A photo , number 1 of e1.jpg .")
    assert tables.ratings.to_numpy().tolist() == [
        ["e0.jpg", "e0.jpg#0", "crowdflower", 0, 1.0],
        ["e0.jpg", "e1.jpg#1", "crowdflower", 0, 0.25],
    ]
    assert tables.problems.empty
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "results").exists()


def test_the_tables_satisfy_their_declarations_and_paths_lead_to_the_photographs(folder, tmp_path):
    tables = read_dataset(config(folder), 0, tmp_path)
    write_dataset(tables, tmp_path / "data", {"rule": "prepare_data"})
    for name, table in TABLES.items():
        assert len(read_table(tmp_path / "data" / f"{name}.parquet", table)) == len(getattr(tables, name))
    root = image_folders(config(folder), tmp_path / "data")["data"]
    assert all((root / path).is_file() for path in tables.images["path"])


def test_the_seed_alone_decides_the_division(folder):
    def assigned(seed):
        images = read(config(folder), seed).images
        return dict(zip(images["image_id"], images["split"], strict=True))

    assert assigned(1) == assigned(1)
    assert assigned(1) != assigned(2)


def test_sizes_limit_every_split(folder):
    sizes = {"train": 4, "confirmation": 1, "calibration": 1, "diagnosis": 1, "selection": 1, "gate": 1}
    sizes |= {"test": 2, "test_domain": 9}
    tables = read(config(folder, sizes=sizes), 0)
    counts = tables.images["split"].value_counts().to_dict()
    assert counts == {split: size for split, size in sizes.items() if split != "test_domain"}
    assert set(tables.captions["image_id"]) == set(tables.images["image_id"])
    assert set(tables.ratings["image_id"]) <= set(tables.images["image_id"])


def test_only_images_of_the_tuning_list_are_used_for_training(folder, tmp_path):
    chosen = TRAIN[::2]
    path = tmp_path / "tune.txt"
    path.write_text("\n".join(chosen))
    sizes = dict.fromkeys(SIZES, 1)
    images = read(config(folder, tune_list=str(path), sizes=sizes), 0).images
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
    "out of the folder": (
        "Flickr_8k.testImages.txt",
        "../images/t0.jpg\n",
        "names image ../images/t0.jpg, which is not",
    ),
    "in two lists": ("Flickr_8k.testImages.txt", "t0.jpg\n", "names image t0.jpg again, which is in train"),
    "bad rating": ("CrowdFlowerAnnotations.txt", "e0.jpg\te1.jpg#0\tmaybe\n", "field share_of_yes: "),
    "rating outside": ("CrowdFlowerAnnotations.txt", "e0.jpg\te1.jpg#0\t1.5\n", "field share_of_yes: "),
    "rating missing": ("CrowdFlowerAnnotations.txt", "e0.jpg\te1.jpg#0\n", "field share_of_yes: field required"),
    "rating of nothing": (
        "CrowdFlowerAnnotations.txt",
        "x.jpg\te1.jpg#0\t1\n",
        "rates image x.jpg, which is not in images",
    ),
    "rating of no caption": (
        "CrowdFlowerAnnotations.txt",
        "e0.jpg\te1.jpg#7\t1\n",
        "rates caption e1.jpg#7, which is not in captions",
    ),
    "rated twice": (
        "CrowdFlowerAnnotations.txt",
        "e0.jpg\te0.jpg#0\t0.5\n",
        "rates image e0.jpg with caption e0.jpg#0 again",
    ),
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
    with pytest.raises(UserError, match=r"images, e0\.jpg: images/e0\.jpg cannot be read"):
        read(config(folder), 0)


def test_experts_give_three_judgements_a_pair_beside_the_mean_of_the_crowd(folder):
    crowd = read(config(folder), 0).ratings
    (folder / "ExpertAnnotations.txt").write_text("e0.jpg\te0.jpg#0\t4\t4\t3\ne0.jpg\te1.jpg#1\t1\t1\t2\n")
    ratings = read(config(folder), 0).ratings
    assert ratings[ratings["source"] == "crowdflower"].equals(crowd)
    expert = ratings[ratings["source"] == "expert"].set_index(["caption_id", "judge"])["rating"].to_dict()
    assert expert == {
        ("e0.jpg#0", 0): 4.0,
        ("e0.jpg#0", 1): 4.0,
        ("e0.jpg#0", 2): 3.0,
        ("e1.jpg#1", 0): 1.0,
        ("e1.jpg#1", 1): 1.0,
        ("e1.jpg#1", 2): 2.0,
    }
    (folder / "CrowdFlowerAnnotations.txt").unlink()
    tables = read(config(folder), 0)
    assert set(tables.ratings["source"]) == {"expert"}
    assert tables.problems.empty


@given(
    st.sampled_from(["CrowdFlowerAnnotations.txt", "ExpertAnnotations.txt"]),
    st.lists(
        st.builds(
            lambda image, caption, judgements: [image, caption, *judgements],
            st.sampled_from(["e0.jpg", "e0.jpg", "../e0.jpg", ""]),
            st.sampled_from(["e0.jpg#0", "e1.jpg#0", "gone"]),
            st.lists(
                st.sampled_from(["1", "4", "1", "0.5", "nan", "-1", "5", "", "x" * 10_000]), min_size=2, max_size=4
            ),
        )
    ),
)
def test_every_line_of_ratings_is_read_left_out_or_counted(tmp_path_factory, file, lines):
    folder = build(tmp_path_factory.mktemp("flickr8k") / "data")
    (folder / file).write_text("".join("\t".join(fields) + "\n" for fields in lines))
    tables = read(config(folder, strict=False), 0)
    source = "expert" if file.startswith("Expert") else "crowdflower"
    read_pairs = tables.ratings[tables.ratings["source"] == source].drop_duplicates(["image_id", "caption_id"])
    elsewhere = [
        number
        for number, fields in enumerate(lines, 1)
        if (fields[:1] != ["e0.jpg"] or fields[1:2] not in (["e0.jpg#0"], ["e1.jpg#0"]))
        and f"line {number}" not in set(tables.problems["row"])
    ]
    assert len(read_pairs) + len(tables.problems) + len(elsewhere) == len(lines)
    assert tables.ratings.loc[tables.ratings["source"] == "expert", "rating"].between(1, 4).all()


def test_missing_ratings_are_reported_and_never_stop_the_run(folder, capsys):
    (folder / "CrowdFlowerAnnotations.txt").unlink()
    tables = read(config(folder), 0)
    assert tables.ratings.empty
    assert "agreement with human ratings is not available" in tables.problems.iloc[0]["problem"]
    assert "CrowdFlowerAnnotations.txt or ExpertAnnotations.txt: not in the folder" in capsys.readouterr().err


def test_the_splits_of_karpathy_serve_where_the_official_files_are_missing(folder):
    expected = read(config(folder), 0)
    captions = [line.split("\t") for line in (folder / "Flickr8k.token.txt").read_text().splitlines()]
    images = [
        {
            "sentids": [0, 1],
            "imgid": 0,
            "sentences": [{"raw": text} for caption_id, text in captions if caption_id.split("#")[0] == name],
            "split": split,
            "filename": name,
        }
        for split, names in (("train", TRAIN), ("val", DEV), ("test", TEST))
        for name in names
    ]
    for path in [folder / "Flickr8k.token.txt", *folder.glob("Flickr_8k.*Images.txt")]:
        path.unlink()
    (folder / "dataset_flickr8k.json").write_text(json.dumps({"images": images, "dataset": "flickr8k"}))
    tables = read(config(folder), 0)
    for name in TABLES:
        assert getattr(tables, name).equals(getattr(expected, name)), name
    (folder / "dataset_flickr8k.json").write_text(json.dumps({"images": images})[:-5])
    with pytest.raises(UserError, match="dataset_flickr8k.json: line 1, column .* download it again"):
        read(config(folder), 0)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("", "no such folder; get flickr8k"),
        ("images", "has no folder images or Flicker8k_Dataset"),
        ("Flickr8k.token.txt", "has no file Flickr8k.token.txt or .* or dataset_flickr8k.json"),
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
