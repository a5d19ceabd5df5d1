import json

import pytest

from unit.data.visual_genome_folder import NUMBERS, SIZES, config, documents, make, reasons, write
from vialign.data.base import TABLES, check_references, write_dataset
from vialign.data.datasets.visual_genome import NOTE, SPLIT_SIZES, deal, read
from vialign.errors import UserError
from vialign.files.artifacts import read_table


@pytest.fixture
def folder(tmp_path):
    """A small data set in the published layout, without any broken row."""
    (tmp_path / "vg").mkdir()
    return make(tmp_path / "vg")


def test_a_clean_folder_is_read_whole_even_when_strict(folder, capsys):
    tables = read(config(folder), 0)
    assert tables.images["split"].value_counts().to_dict() == {**SIZES, "train": 2}
    assert set(tables.images["image_id"]) == {str(number) for number in NUMBERS}
    assert all((folder / path).is_file() for path in tables.images["path"])
    objects = tables.objects.set_index("object_id")
    assert len(objects) == 24
    assert objects.loc["2370463/23704631"].to_list() == ["2370463", "lamp shade", 2, 3, 10, 12, ["white"]]
    assert objects.loc["1/12", "attributes"] == ["green", "tall"]
    assert objects.loc["1/13", "attributes"] == []
    relations = tables.relations.set_index("relation_id")
    assert len(relations) == 16
    assert relations.loc["5/51"].to_list() == ["5", "5/52", "on", "5/53"]
    assert relations.loc["5/52"].to_list() == ["5", "5/51", "next to", "5/52"]
    assert reasons(tables).empty
    assert "images that COCO is tested on may be in any split" in capsys.readouterr().err


def test_a_region_phrase_is_a_caption_where_the_region_covers_half_of_the_image(folder):
    captions = read(config(folder), 0).captions
    assert len(captions) == 16
    texts = captions[captions["image_id"] == "8"].set_index("caption_id")["text"].to_dict()
    assert texts == {"8#81": "The clock is green.", "8#83": "exactly <b>half</b>"}


def test_the_tables_satisfy_their_declarations_and_references(folder, tmp_path):
    tables, lines = check_references(read(config(folder), 0), "visual_genome", strict=True)
    assert lines == []
    write_dataset(tables, tmp_path / "data", {"rule": "prepare_data"})
    for name, table in TABLES.items():
        assert len(read_table(tmp_path / "data" / f"{name}.parquet", table)) == len(getattr(tables, name))


def test_aliases_replace_names_and_predicates(folder):
    (folder / "object_alias.txt").write_text("timepiece,clock,Watch\nlamp,clock\n\n")
    (folder / "relationship_alias.txt").write_text("next to,beside\nresting on,on\n")
    tables = read(config(folder), 0)
    assert set(tables.objects["name"]) == {"timepiece", "lamp shade", "wall"}
    assert set(tables.relations["predicate"]) == {"next to", "resting on"}


def test_images_that_coco_is_tested_on_are_put_aside_and_counted(folder):
    files = documents()
    for row, coco in zip(files["image_data"], (101, 102, 103, None, None, None, None, None), strict=True):
        row["coco_id"] = coco
    write(folder, files)
    karpathy = {
        "images": [
            {"filename": "a.jpg", "cocoid": 101, "split": "test", "sentences": [{"raw": "A dog."}]},
            {"filename": "b.jpg", "cocoid": 102, "split": "val", "sentences": [{"raw": "A cat."}]},
        ]
    }
    (folder / "dataset_coco.json").write_text(json.dumps(karpathy))
    tables = read(config(folder), 0)
    assert set(tables.images["image_id"]) == {str(number) for number in NUMBERS[1:]}
    assert "1" not in set(tables.objects["image_id"]) | set(tables.captions["image_id"])
    assert tables.problems["problem"].to_list() == ["1 images are in COCO's Karpathy test split and were put aside"]


def test_the_seed_and_the_sizes_alone_decide_the_division(folder):
    def assigned(seed, **changes):
        images = read(config(folder, **changes), seed).images
        return dict(zip(images["image_id"], images["split"], strict=True))

    assert assigned(1) == assigned(1)
    assert assigned(1) != assigned(2)
    small = assigned(1, sizes={**SIZES, "train": 1})
    assert small.items() <= assigned(1).items() and len(small) == 7
    with pytest.raises(UserError, match="leave none of the 5 training images for training"):
        assigned(1, sizes={"test": 1, "selection": 1, "gate": 1})


def test_only_images_of_the_tuning_list_are_used_for_training(folder, tmp_path):
    train = set(read(config(folder), 0).images.query("split not in ['selection', 'gate', 'test']")["image_id"])
    (tmp_path / "tune.txt").write_text("\n".join(sorted(train)[:4]))
    images = read(config(folder, tune_list=str(tmp_path / "tune.txt")), 0).images
    assert set(images.query("split not in ['selection', 'gate', 'test']")["image_id"]) == set(sorted(train)[:4])


def test_the_default_sizes_are_the_documented_ones():
    parts = deal([str(number) for number in range(4000)], {}, 0, "visual_genome")
    assert {split: len(names) for split, names in parts.items()} == {**SPLIT_SIZES, "train": 2000}
    assert len({name for names in parts.values() for name in names}) == 4000


@pytest.mark.parametrize("name", documents())
def test_a_file_that_is_missing_cut_off_or_another_is_one_line(folder, name):
    path = folder / f"{name}.json"
    whole = path.read_text()
    for content, message in (
        (whole[: len(whole) // 2], "is not JSON"),
        ("{}", "is not a list"),
        (None, f"has no file {name}.json"),
    ):
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(UserError, match=message) as stopped:
            read(config(folder, strict=False), 0)
        assert f"{name}.json" in str(stopped.value) and "\n" not in str(stopped.value)


def test_missing_photographs_get_a_line_that_says_how_to_get_them(folder):
    for place, name in enumerate(("VG_100K", "VG_100K_2")):
        (folder / name).rename(folder / f"away{place}")
    with pytest.raises(
        UserError, match=r"has no folder VG_100K or VG_100K_2 or images with the photographs; see docs/data.md"
    ):
        read(config(folder), 0)
    (folder / "VG_100K").mkdir()
    for strict in (False, True):
        with pytest.raises(UserError, match="none of the 8 photographs that image_data.json names is in its folders"):
            read(config(folder, strict=strict), 0)


@pytest.mark.parametrize("place", ["images/{}", "{}/{}", "unpacked/{}"])
def test_photographs_one_level_too_deep_are_read_there(folder, place):
    expected = read(config(folder), 0)
    for name in ("VG_100K", "VG_100K_2"):
        (folder / name).rename(folder / "aside")
        target = folder / place.format(name, name)
        target.parent.mkdir(exist_ok=True)
        (folder / "aside").rename(target)
    found = read(config(folder), 0)
    assert found.images.drop(columns="path").equals(expected.images.drop(columns="path"))
    assert found.captions.equals(expected.captions)
    assert all((folder / path).is_file() for path in found.images["path"])


def test_the_note_holds_the_published_count():
    assert NOTE.expected == {"images": 108077}
    assert "CC BY 4.0" in NOTE.licence and "https://" in NOTE.obtain
