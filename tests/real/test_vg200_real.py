"""The published text files of Compact-VG; its photographs are not at hand."""

import json
from collections import defaultdict

import pytest

from vialign.config.data import DataConfig
from vialign.data.base import Problems
from vialign.data.datasets.vg200 import NOTE, object_tables, read, read_attributes, read_relations
from vialign.errors import UserError
from vialign.tables.data import OBJECTS, RELATIONS

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def folder(real_folder):
    if not (real_folder / "vg200").is_dir():
        pytest.skip(f"no vg200 folder in {real_folder}")
    return real_folder / "vg200"


@pytest.fixture(scope="module")
def lines(folder):
    problems = Problems("vg200", strict=True)
    return read_attributes(folder, problems), read_relations(folder, problems)


def test_the_published_counts_are_found(lines):
    attributes, relations = lines
    assert (len(attributes), len(relations)) == (63070, 25221)
    assert (attributes["attribute"].nunique(), relations["predicate"].nunique()) == (16, 10)
    assert relations["predicate"].value_counts().to_dict()["has"] == 13453


def test_boxes_become_objects_and_relations_join_them(lines):
    objects, relations = object_tables(*lines)
    OBJECTS.check(objects)
    RELATIONS.check(relations)
    counts = {"images": objects["image_id"].nunique(), "objects": len(objects), "relations": len(relations)}
    assert counts == NOTE.expected
    assert objects["attributes"].str.len().max() == 6
    image = objects.set_index("object_id")["image_id"]
    for side in ("subject_id", "object_id"):
        assert (image.loc[relations[side]].to_numpy() == relations["image_id"].to_numpy()).all()


def test_the_lines_name_their_images_themselves_and_the_list_of_images_is_off(folder, lines, real_folder):
    """VL-Checklist says colours of the same photographs by their file names."""
    colours = real_folder / "vl_checklist" / "color.json"
    if not colours.is_file():
        pytest.skip(f"no vl_checklist/color.json in {real_folder}")
    said = defaultdict(set)
    for image_id, attribute in lines[0][["image_id", "attribute"]].itertuples(index=False, name=None):
        said[image_id].add(attribute)
    known = {"white", "black", "blue", "green", "red", "brown", "yellow", "silver", "grey"}
    agreed = {0: [], -1: [], 1: []}
    for path, texts in json.loads(colours.read_text()):
        number = int(path.rpartition("/")[2].removesuffix(".jpg"))
        for shift, found in agreed.items():
            there = said.get(str(number + shift))
            found += [colour in there for colour in known & set(texts["POS"][0].lower().split())] if there else []
    share = {shift: sum(found) / len(found) for shift, found in agreed.items()}
    assert share[0] > 0.95
    assert max(share[-1], share[1]) < 0.7
    listed = set((folder / "Obj_ID.txt").read_text().split())
    assert len(listed & set(said)) < 0.1 * len(said)


def test_without_photographs_the_data_set_says_what_is_missing(folder):
    with pytest.raises(UserError, match="has no folder VG_100K or VG_100K_2 or images with the photographs") as stopped:
        read(DataConfig(dataset="vg200", folder=str(folder)), 0)
    assert "docs/data.md" in str(stopped.value)
