"""The readers of benchmarks that are much alike: each reads its published layout and names what is broken."""

import json
from collections import Counter
from importlib import import_module
from math import isnan
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from unit.data.benchmark_folders import ANNOTATION, FOLDERS, NAMES, PACKED, SENTENCE, entities, packed
from vialign.config.data import BenchmarkConfig
from vialign.data.base import Problems, check_references, write_dataset
from vialign.data.benchmarks import eqben, flickr30k_entities, negbench, vsr, whatsup
from vialign.data.benchmarks.packed import find_parquet, unpack
from vialign.data.registry import source_note
from vialign.errors import UserError
from vialign.evaluation.choices import choice_outcomes, form_of
from vialign.features.readout import pointing_targets
from vialign.names import BENCHMARKS


def reader(name):
    return import_module(BENCHMARKS[FOLDERS[name][0]])


def config(folder, **changes):
    return BenchmarkConfig(**{"folder": str(folder), "tolerance": 1.0, **changes})


@pytest.fixture(params=FOLDERS)
def name(request):
    return request.param


@pytest.fixture
def folder(name, tmp_path):
    FOLDERS[name][1](tmp_path)
    return tmp_path


def test_the_published_layout_is_read_even_when_strict(name, folder, tmp_path):
    tables = reader(name).read(config(folder, strict=True), 0)
    assert Counter(tables.choices["benchmark"]) == FOLDERS[name][2]
    assert set(tables.choices["split"]) == set(tables.images["split"]) == {FOLDERS[name][0]}
    assert all((tables.image_folder / path).is_file() for path in tables.images["path"])
    known = set(tables.images["image_id"])
    assert all(set(images) <= known for images in tables.choices["images"])
    checked, lines = check_references(tables, name, strict=True)
    assert len(checked.choices) == len(tables.choices) and lines == []
    write_dataset(checked, tmp_path / "tables", {"rule": "prepare_data"})


def test_every_file_of_a_benchmark_in_parts_is_written_by_a_folder_here(tmp_path):
    parts = {part for _, _, counts in FOLDERS.values() for part in counts}
    assert {*whatsup.CONTROLLED, *whatsup.FOUND, *negbench.FILES} <= parts
    files = {write(tmp_path / name).name for name, (owner, write, _) in FOLDERS.items() if owner == "eqben"}
    assert files == set(eqben.FILES[:2]), "the third is the second by another name"


def test_every_measure_of_its_items_has_a_chance_level(name, folder):
    choices = reader(name).read(config(folder), 0).choices
    numbers = iter(range(10_000))

    def scores(one, other):
        return np.array([0.1 * (next(numbers) * 7919 % 13) for _ in one])

    measures = set(choice_outcomes(choices, scores, scores)["measure"])
    assert measures == {key.split(" (")[0] for key in source_note(FOLDERS[name][0]).chance}
    assert not form_of(choices).isna().any()


def test_items_are_drawn_by_seed_and_missing_images_are_told(name, folder):
    read = reader(name).read
    assert max(Counter(read(config(folder, items=2), 1).choices["benchmark"]).values()) == 2
    shown = read(config(folder), 0)
    gone = shown.image_folder / shown.images["path"].iloc[0]
    gone.unlink()
    left = read(config(folder), 0)
    assert 0 < len(left.choices) < len(shown.choices)
    assert left.problems["problem"].str.contains(gone.name, regex=False).any()
    with pytest.raises(UserError, match="mend the row, or set data.benchmarks"):
        read(config(folder, strict=True), 0)


def test_without_files_or_images_one_line_says_how_to_get_them(name, tmp_path):
    module = reader(name)
    with pytest.raises(UserError, match=r"docs/data\.md") as caught:
        module.read(config(tmp_path), 0)
    assert "\n" not in str(caught.value)
    FOLDERS[name][1](tmp_path)
    with pytest.raises(UserError, match=f"set data.benchmarks.{module.SPLIT}.images") as caught:
        module.read(config(tmp_path, images=str(tmp_path / "nowhere")), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "row", "field"),
    [
        ("sugarcrepe_pp", lambda rows: rows[2].pop("caption2"), "items[2]", "field caption2: field required"),
        ("sugarcrepe_pp", lambda rows: rows[2].update(id=1), "items[2]", "field id: 1 appears twice"),
        ("valse", lambda rows: rows["counting_visual7w_3"].pop("mturk"), '"counting_visual7w_3"', "field mturk"),
        ("cola", lambda rows: rows[2].pop(), "items[2]", "field item.3: field required"),
        ("cola", lambda rows: rows[2].__setitem__(0, "/"), "items[2]", "an image has no file name"),
        ("whatsup", lambda rows: rows[2].update(caption_options=["A mug"]), "items[2]", "field caption_options"),
        ("whatsup found", lambda rows: rows[2].__setitem__(0, "7"), "items[2]", "field item.0"),
        ("colorswap", lambda rows: rows[2].update(image_2=""), "items[2]", "names image"),
        ("eqben", lambda rows: rows[2].update(caption1=[]), "items[2]", "field caption1"),
    ],
)
def test_a_broken_row_of_json_is_named(name, change, row, field, tmp_path):
    path = FOLDERS[name][1](tmp_path)
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))
    tables = reader(name).read(config(tmp_path), 0)
    found = tables.problems[tables.problems["row"] == row]
    assert found["file"].item() == path.name
    if "names image" not in field:
        assert field in found["problem"].item()
    assert len(tables.choices) == sum(FOLDERS[name][2].values()) - 1


@pytest.mark.parametrize(
    ("name", "old", "new", "row", "field"),
    [
        ("vsr", '"label": 1', '"label": 2', "line 2", "field label"),
        ("vsr", '"relation": "on"}\n{', '"relation": ""}\n{', "line 1", "field relation"),
        ("bivlc", "2.jpg,3.jpg,a red cat", "2.jpg,3.jpg,", "row 2", "field caption"),
        ("mmvp_vlm", "3,Orientation", "x,Orientation", "row 3", "field Question ID"),
        ("mmvp_vlm", "3,Orientation", "4,Orientation", "row 4", "field Question ID: 4 appears twice"),
        ("svo_probes", "2,3,True,False", "2,-3,True,False", "row 2", "field neg_image_id"),
        ("svo_probes", "2,3,True,False", "2,3,False,False", "row 2", "not one of them is true"),
        ("negbench", "3.jpg,2,", "3.jpg,4,", "row 3", "field correct_answer"),
    ],
)
def test_a_broken_row_of_lines_or_csv_is_named(name, old, new, row, field, tmp_path):
    path = FOLDERS[name][1](tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    tables = reader(name).read(config(tmp_path), 0)
    found = tables.problems[tables.problems["row"] == row]
    assert field in found["problem"].item()
    assert len(tables.choices) == sum(FOLDERS[name][2].values()) - 1


@pytest.mark.parametrize("name", ["bivlc", "mmvp_vlm", "svo_probes", "negbench"])
def test_a_csv_that_lacks_a_column_or_is_none_is_refused(name, tmp_path):
    path = FOLDERS[name][1](tmp_path)
    text = path.read_text()
    path.write_text(text.replace(text.split(",")[0], "other", 1))
    with pytest.raises(UserError, match="has no column .*; this is not the published file"):
        reader(name).read_items(tmp_path, Problems(name, strict=False))
    path.write_text(text + '"open,\n')
    with pytest.raises(UserError, match="is not CSV"):
        reader(name).read_items(tmp_path, Problems(name, strict=False))


def test_votes_leave_out_what_people_doubt_and_it_is_said(tmp_path):
    FOLDERS["valse"][1](tmp_path)
    problems = Problems("valse", strict=True)
    items = reader("valse").read_items(tmp_path, problems)
    assert "valse_counting_hard/valse/counting_visual7w_0" not in set(items["item_id"])
    assert problems.frame()["problem"].tolist()[-1] == "1 of 6 items left out, as published, by their votes"
    assert set(items["tag"]) == {"counting"}


def test_a_split_of_statements_needs_both_of_its_files_and_images_for_the_threshold(tmp_path):
    path = FOLDERS["vsr"][1](tmp_path)
    for name in NAMES[:2]:
        (tmp_path / "images" / name).unlink()
    with pytest.raises(UserError, match="vsr_random has no dev statement whose image is there"):
        vsr.read(config(tmp_path), 0)
    (path.parent / "dev.jsonl").unlink()
    with pytest.raises(UserError, match=r"random has no dev\.jsonl; both files are needed"):
        vsr.read(config(tmp_path), 0)


def test_known_wrong_labels_are_counted_and_places_are_tags(tmp_path):
    FOLDERS["whatsup"][1](tmp_path)
    tables = whatsup.read(config(tmp_path), 0)
    wrong = tables.problems["problem"].str.contains("known to be labelled wrongly; kept")
    assert wrong.sum() == 1 and tables.problems.loc[wrong, "row"].item() == "items[4]"
    assert tables.choices["tag"].tolist() == ["left", "right", "on", "under", "left"]
    assert whatsup.place_word("A photo of a dog on the left.") == "left"
    assert whatsup.place_word("A chair in front of a table") == "front" and whatsup.place_word("A chair") == ""


def test_frames_that_are_arrays_are_left_out_and_counted(tmp_path):
    FOLDERS["eqben"][1](tmp_path)
    problems = Problems("eqben", strict=True)
    items = reader("eqben").read_items(tmp_path, problems)
    assert set(items["tag"]) == {"eqbenkubric_loc"} and items["texts"][0] == ["left of the cup", "right of the cup"]
    assert problems.frame()["problem"].item() == "1 items show NumPy arrays (.npy), which are no images; left out"


def test_an_answer_is_moved_to_the_front(tmp_path):
    FOLDERS["negbench"][1](tmp_path)
    items = reader("negbench").read_items(tmp_path, Problems("negbench", strict=True))
    assert items["texts"][2] == [f"There is a cat but no dog, {place}." for place in (2, 0, 1, 3)]


def test_a_statement_stands_behind_the_published_prompt_and_pairs_need_both_rows(tmp_path):
    path = FOLDERS["mmvp_vlm"][1](tmp_path)
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    problems = Problems("mmvp_vlm", strict=False)
    items = reader("mmvp_vlm").read_items(tmp_path, problems)
    assert items["texts"][0] == ["a photo of a dog that looks left", "a photo of a dog that looks right"]
    assert len(items) == 2 and "has no second row" in problems.frame()["problem"].item()


@pytest.mark.parametrize("module", PACKED, ids=lambda module: module.SPLIT)
def test_a_packed_benchmark_is_read_once_it_is_unpacked(tmp_path, module):
    packed(module, tmp_path)
    with pytest.raises(UserError, match=f"run `vialign data unpack {module.SPLIT}"):
        module.read(config(tmp_path), 0)
    assert unpack(module.PACKED, find_parquet(tmp_path, module.SPLIT), tmp_path) == 6
    tables = module.read(config(tmp_path, strict=True), 0)
    assert len(tables.choices) == 6 and len(tables.images) == 12
    assert list(tables.choices["texts"][5]) == list(PACKED[module].values())[:2]


@pytest.mark.parametrize("module", PACKED, ids=lambda module: module.SPLIT)
def test_a_broken_packed_benchmark_leaves_no_folder_that_looks_whole(tmp_path, module):
    image = module.PACKED.images[0]
    packed(module, tmp_path, **{image: {"bytes": b"no image", "path": "x.png"}})
    with pytest.raises(UserError, match=rf"test-00001-of-00002-abc\.parquet: row 0: field {image}: is no image"):
        unpack(module.PACKED, find_parquet(tmp_path, module.SPLIT), tmp_path)
    assert not (tmp_path / module.PACKED.file).exists()


# ------------------------------------------------------------------------------------ Flickr30k Entities


def test_phrases_with_boxes_become_objects_and_sentences_captions(tmp_path):
    entities("test.txt")(tmp_path)
    tables = flickr30k_entities.read(config(tmp_path, strict=True), 0)
    assert len(tables.images) == 6 and len(tables.captions) == 30 and len(tables.choices) == 0
    assert set(tables.captions["text"]) == {"A man in a red hat looks at something ."}
    own = tables.objects[tables.objects["image_id"] == "flickr30k_entities/1.jpg"]
    boxes = own[["name", "x", "y", "width", "height"]].to_numpy().tolist()
    assert boxes == [
        ["A man", 1, 0, 4, 4],
        ["A man", 1, 2, 4, 2],
        ["a red hat", 3, 0, 2, 4],
        ["a red hat", 1, 2, 4, 2],
    ]
    checked, lines = check_references(tables, "flickr30k_entities", strict=True)
    assert len(checked.objects) == len(tables.objects) and lines == []
    write_dataset(checked, tmp_path / "tables", {"rule": "prepare_data"})
    assert isnan(flickr30k_entities.NOTE.chance["pointing"])


def test_the_pointing_game_takes_a_phrase_as_it_stands(tmp_path):
    entities("test.txt")(tmp_path)
    tables = flickr30k_entities.read(config(tmp_path), 0)
    phrases = tables.objects.assign(phrase=tables.objects["name"])
    targets = pointing_targets(tables.images, phrases, (6, 8), "squash")
    first = targets[targets["image_id"] == "flickr30k_entities/1.jpg"].set_index("phrase")["inside"]
    assert list(first.index) == ["A man", "a red hat"]
    drawn = [["".join(".x"[int(cell)] for cell in row) for row in mask.reshape(6, 8)] for mask in first]
    assert drawn[0] == [".xxxx..."] * 4 + ["........"] * 2
    assert drawn[1] == ["...xx..."] * 2 + [".xxxx..."] * 2 + ["........"] * 2


def test_a_sentence_is_taken_apart_by_its_brackets():
    text, phrases = flickr30k_entities.parse_sentence(SENTENCE)
    assert text == "A man in a red hat looks at something ."
    assert [(phrase.chain, phrase.types, phrase.text) for phrase in phrases] == [
        ("1", ("people",), "A man"),
        ("2", ("clothing",), "a red hat"),
        ("0", ("notvisual",), "something"),
    ]
    assert flickr30k_entities.parse_sentence("[/EN#3/other/scene A park] .")[1][0].types == ("other", "scene")
    for broken in ("[/EN#1/people A man in", "A man] in", "[/EN#1 A man]", "[/EN#x/people A man]"):
        with pytest.raises(ValueError, match="brackets"):
            flickr30k_entities.parse_sentence(broken)


@pytest.mark.parametrize(("old", "new"), [("<xmin>2", "<xmin>9"), ("<ymax>4", "<ymax>x"), ("<ymin>1", "<ymin>0")])
def test_a_box_that_is_none_is_refused(old, new):
    with pytest.raises(ValueError, match="field bndbox"):
        flickr30k_entities.parse_boxes(ElementTree.fromstring(ANNOTATION.replace(old, new, 1)))


def test_broken_annotations_are_named_and_the_rest_is_kept(tmp_path):
    entities("test.txt")(tmp_path)
    (tmp_path / "Annotations/2.xml").write_text("<!DOCTYPE x><annotation/>")
    (tmp_path / "Annotations/3.xml").write_text(ANNOTATION[:200])
    (tmp_path / "Sentences/4.txt").unlink()
    (tmp_path / "flickr30k-images/5.jpg").unlink()
    tables = flickr30k_entities.read(config(tmp_path), 0)
    said = tables.problems.set_index("file")["problem"]
    assert "holds a declaration" in said["Annotations/2.xml"] and "is not XML" in said["Annotations/3.xml"]
    assert "is not there" in said["Sentences/4.txt"] and "5.jpg" in said["test.txt"]
    assert len(tables.images) == 5 and tables.objects["image_id"].nunique() == 2
    assert isinstance(tables.captions, pd.DataFrame) and len(tables.captions) == 20
