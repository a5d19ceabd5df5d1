import json

import numpy as np
import pytest

from vialign.config.data import DataConfig
from vialign.data.base import write_dataset
from vialign.data.benchmarks import aro, winoground
from vialign.data.scenes import benchmarks, build, published
from vialign.data.scenes.benchmarks import Shown
from vialign.data.scenes.build import DEFAULT_SIZES
from vialign.data.scenes.sampling import sample_scenes
from vialign.data.scenes.world import CONVERSE, holds
from vialign.evaluation.choices import form_of
from vialign.files.artifacts import read_table
from vialign.names import FORMS
from vialign.tables.data import CHOICES

SIZES = dict.fromkeys(DEFAULT_SIZES, 1)


@pytest.fixture(scope="module")
def shown() -> tuple[list[Shown], list[tuple[Shown, Shown, str]]]:
    items, pairs = [], []
    for number, (scene, kind) in enumerate(sample_scenes(np.random.default_rng(0), 80, twins=0.6)):
        items.append(Shown(f"test-{number:05d}", scene))
        if kind in ("roles", "colours"):
            pairs.append((items[-2], items[-1], kind))
    return items, pairs


def test_items_come_back_from_the_published_files_as_they_went_in(shown, tmp_path):
    items, pairs = shown
    rows = benchmarks.winoground(pairs, "test")
    assert len(rows) > 10
    assert published.winoground_choices(rows, "test", tmp_path) == rows
    rows = benchmarks.aro_relation(items, "test", 30) + benchmarks.aro_attribution(items, "test", 30)
    assert {row["benchmark"] for row in rows} == {"aro_relation", "aro_attribution"}
    assert published.aro_choices(rows, "test", tmp_path) == rows


def test_further_forms_come_back_from_their_files_and_are_true_to_the_scene(shown, tmp_path):
    items, pairs = shown
    scenes = {item.image_id: item.scene for item in items}
    rows = benchmarks.both_right(items, "test", 20)
    assert len(rows) == 20 and published.both_right_choices(rows, "test", tmp_path) == rows
    for row in rows:
        scene = scenes[row["images"][0]]
        i, predicate, j = scene.main
        first, second, wrong = row["texts"]
        assert holds(CONVERSE[predicate], scene.things[j], scene.things[i])
        assert not holds(predicate, scene.things[j], scene.things[i])
        assert first.split()[-1] == second.split()[2] == wrong.split()[2]
    rows = benchmarks.image_choices(pairs, "test", 20)
    back = published.image_choices(rows, "test", tmp_path)
    assert [(row["images"], row["texts"]) for row in back] == [(row["images"], row["texts"]) for row in rows]
    rows = benchmarks.statements(items, "test", 20)
    back = published.statement_choices(rows, "test", tmp_path)
    told = ("benchmark", "images", "texts", "right", "tag")
    assert sorted(str([row[name] for name in told]) for row in back) == sorted(
        str([row[name] for name in told]) for row in rows
    )
    assert {row["benchmark"] for row in back} == {"vsr_random", "vsr_random_dev"}
    assert {row["right"] for row in back} == {0, 1}


def test_further_forms_are_drawn_when_asked_for_and_change_nothing_else(tmp_path):
    sizes = SIZES | {"test": 40}
    plain = build(DataConfig(sizes=sizes), 0, tmp_path / "plain")
    more = build(DataConfig(sizes=sizes, forms=FORMS), 0, tmp_path / "more")
    added = more.choices[~more.choices["item_id"].isin(plain.choices["item_id"])]
    kept = more.choices[more.choices["item_id"].isin(plain.choices["item_id"])].reset_index(drop=True)
    assert kept.drop(columns="right").equals(plain.choices.drop(columns="right")) and kept["right"].isna().all()
    assert set(form_of(added)) == set(FORMS) and set(added["split"]) == {"test"}
    assert more.captions.equals(plain.captions) and more.questions.equals(plain.questions)
    write_dataset(more, tmp_path / "tables", {"rule": "prepare_data"})
    back = read_table(tmp_path / "tables/choices.parquet", CHOICES)
    assert form_of(back).tolist() == form_of(more.choices).tolist()


def test_questions_come_back_with_their_kind_answers_candidates_and_statements(shown, tmp_path):
    rows = benchmarks.questions(shown[0], "test", 60, np.random.default_rng(1))
    assert {row["kind"] for row in rows} == {"relation", "attribute"}
    assert published.vqa_questions(rows, "test", tmp_path) == rows
    lost = [{**rows[0], "question": "how many?"}]
    with pytest.raises(ValueError, match="no rule of VQA's subset takes 'how many"):
        published.vqa_questions(lost, "test", tmp_path)


def test_what_is_read_is_what_the_files_say(shown, tmp_path):
    rows = benchmarks.winoground(shown[1], "test")
    published.winoground_choices(rows, "test", tmp_path)
    path = tmp_path / winoground.EXAMPLES
    first = json.loads(path.read_text().splitlines()[0])
    assert set(first) >= {"id", "image_0", "image_1", "caption_0", "caption_1", "collapsed_tag"}
    path.write_text(path.read_text().replace(first["caption_0"], "another caption"))
    changed = published._read_back(winoground.read_items(path.parent, winoground.Problems("test", True)), "test")
    assert changed[0]["texts"][0] == "another caption"


def test_a_split_without_items_publishes_nothing(tmp_path):
    assert published.winoground_choices([], "test", tmp_path) == []
    assert published.aro_choices([], "test", tmp_path) == []
    for write in (published.both_right_choices, published.image_choices, published.statement_choices):
        assert write([], "test", tmp_path) == []
    assert published.vqa_questions([], "test", tmp_path) == []
    assert published.order_items([], "test", tmp_path, 0, 5) == []
    assert list(tmp_path.iterdir()) == []


def test_the_world_publishes_its_test_splits_in_the_forms_of_the_benchmarks(tmp_path):
    tables = build(DataConfig(sizes={**SIZES, "test": 40}), 0, tmp_path)
    folder = tmp_path / "published" / "test"
    for name, _ in aro.FILES.values():
        assert json.loads((folder / name).read_text())[0]["true_caption"]
    order = tables.choices[(tables.choices["benchmark"] == "aro_order") & (tables.choices["split"] == "test")]
    assert len(order) == 40
    assert all(sorted(text.split()) == sorted(texts[0].split()) for texts in order["texts"] for text in texts)
    captions = tables.captions.set_index("caption_id")["text"]
    for item, texts in zip(order["item_id"], order["texts"], strict=True):
        assert texts[0] == captions[item.removeprefix("aro_order/test/")].replace(",", " ,").strip()
        assert len(texts) == len(set(texts)) >= 2
    assert not (tmp_path / "published" / "train").exists()
