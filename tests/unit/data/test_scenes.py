"""The embedded world says only what is true, draws what it says, and never leaks between splits."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import DataConfig
from vialign.data.base import DatasetTables
from vialign.data.scenes import benchmarks, build
from vialign.data.scenes.benchmarks import Shown, _main_statement, aro_relation
from vialign.data.scenes.build import DEFAULT_SIZES
from vialign.data.scenes.captions import CROSS_DOMAIN, DOMAIN, SYNONYMS, scene_captions, statement, tree_text
from vialign.data.scenes.draw import draw_scene
from vialign.data.scenes.sampling import sample_scene, sample_scenes, twin
from vialign.data.scenes.world import (
    CONVERSE,
    HELD_OUT,
    IMAGE_SIZE,
    PREDICATES,
    Scene,
    Thing,
    holds,
    relations,
)
from vialign.errors import UserError
from vialign.random import generator
from vialign.tables.data import CAPTIONS, CHOICES, IMAGES, OBJECTS, QUESTIONS, RELATIONS

seeds = st.integers(0, 2**32 - 1)
SIZES = dict.fromkeys(DEFAULT_SIZES, 12) | {"test": 60}


def scene_of(seed: int, **options: object) -> Scene:
    return sample_scene(np.random.default_rng(seed), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> DatasetTables:
    return build(DataConfig(sizes=SIZES), 3, tmp_path_factory.mktemp("scenes"))


@given(seeds)
@settings(max_examples=60)
def test_a_scene_is_reproducible_and_its_main_relation_holds(seed: int) -> None:
    scene = scene_of(seed)
    assert scene == scene_of(seed)
    assert scene.main is not None
    i, predicate, j = scene.main
    assert holds(predicate, scene.things[i], scene.things[j])
    assert len({thing.look for thing in scene.things}) == len(scene.things)
    for thing in scene.things:
        assert thing.size / 2 <= min(thing.x, thing.y) and max(thing.x, thing.y) + thing.size / 2 <= IMAGE_SIZE


@given(seeds)
@settings(max_examples=60)
def test_relations_are_asymmetric_and_converses_agree(seed: int) -> None:
    scene = scene_of(seed)
    true = set(relations(scene))
    for i, predicate, j in true:
        assert (j, predicate, i) not in true
        if predicate in CONVERSE:
            assert (j, CONVERSE[predicate], i) in true


def test_holds_on_hand_made_things() -> None:
    def thing(x: float, y: float, size: int) -> Thing:
        return Thing("circle", "red", "plain", x, y, size)

    low, high = thing(50, 90, 20), thing(52, 30, 20)
    assert holds("below", low, high) and holds("above", high, low)
    assert not holds("above", low, high) and not holds("left of", low, high)
    assert holds("inside", thing(50, 50, 18), thing(52, 50, 50))
    assert not holds("inside", thing(50, 50, 50), thing(52, 50, 18))
    assert holds("on", thing(50, 40, 20), thing(50, 60, 20)) and not holds("on", thing(50, 30, 20), thing(50, 60, 20))
    assert holds("larger than", thing(20, 20, 40), thing(80, 80, 20))
    # A diagonal pair is disputable, so neither direction is said.
    assert not any(holds(name, thing(30, 30, 20), thing(70, 70, 20)) for name in ("left of", "above", "below"))


@given(seeds, st.sampled_from(["roles", "colours"]))
@settings(max_examples=60)
def test_a_twin_has_the_same_words_and_makes_the_first_statement_false(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng)
    other = twin(rng, scene, kind)
    if other is None:
        return
    assert scene.main is not None and other.main is not None

    def said(of: Scene) -> str:
        return statement(of.things[of.main[0]], of.main[1], of.things[of.main[2]])  # type: ignore[index]

    assert sorted(said(scene).split()) == sorted(said(other).split())
    assert said(scene) != said(other)
    true_in_other = {statement(other.things[i], name, other.things[j]) for i, name, j in relations(other)}
    assert said(scene) not in true_in_other


@given(seeds)
@settings(max_examples=30)
def test_captions_are_well_formed_brackets(seed: int) -> None:
    for style in (DOMAIN, CROSS_DOMAIN):
        trees = scene_captions(np.random.default_rng(seed), scene_of(seed), style)
        assert len(trees) == 5
        for tree in trees:
            assert tree.count("(") == tree.count(")")
            text = tree_text(tree)
            assert text == text.strip() and "(" not in text and " a orange" not in f" {text}"


def test_a_drawn_thing_has_its_colour_at_its_centre_and_the_background_elsewhere() -> None:
    thing = Thing("square", "red", "plain", 30, 80, 24)
    pixels = np.asarray(draw_scene(Scene((thing,), None, 5))).astype(int)
    assert np.abs(pixels[80, 30] - np.array([214, 40, 40])).max() <= 2
    assert np.abs(pixels[20, 90] - np.array([214, 40, 40])).max() > 40


def test_shapes_differ_and_the_line_drawing_is_another_domain() -> None:
    drawn = {}
    for shape in ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart"):
        scene = Scene((Thing(shape, "blue", "plain", 56, 56, 40),), None, 1)
        drawn[shape] = np.asarray(draw_scene(scene)).astype(int)
        lines = np.asarray(draw_scene(scene, lines=True)).astype(int)
        assert np.abs(lines - drawn[shape]).mean() > 10
    names = list(drawn)
    for a in range(len(names)):
        for b in range(a):
            assert np.abs(drawn[names[a]] - drawn[names[b]]).max() > 60, (names[a], names[b])


def test_held_out_combinations_appear_in_their_split_alone(tables: DatasetTables) -> None:
    objects = tables.objects.merge(tables.images[["image_id", "split"]], on="image_id")
    looks = [(attributes[0], name) for attributes, name in zip(objects["attributes"], objects["name"], strict=True)]
    held = pd.Series([look in HELD_OUT for look in looks])
    assert set(objects.loc[held, "split"]) == {"test_combination"}
    inside = objects[objects["split"] == "test_combination"]
    assert inside["image_id"].nunique() == held.groupby(objects["image_id"]).any().sum()


def test_tables_fit_their_declarations_and_refer_to_each_other(tables: DatasetTables) -> None:
    IMAGES.check(tables.images)
    CAPTIONS.check(tables.captions)
    OBJECTS.check(tables.objects)
    RELATIONS.check(tables.relations)
    CHOICES.check(tables.choices)
    QUESTIONS.check(tables.questions)
    images = set(tables.images["image_id"])
    assert set(tables.captions["image_id"]) == images
    assert set(tables.relations["subject_id"]) | set(tables.relations["object_id"]) <= set(tables.objects["object_id"])
    assert all(set(row) <= images for row in tables.choices["images"])
    for path in tables.images["path"]:
        assert (Path(tables.image_folder) / path).is_file()


def test_splits_show_different_images(tables: DatasetTables) -> None:
    sample = [Path(tables.image_folder) / path for path in tables.images["path"]]
    assert len({path.read_bytes() for path in sample}) == len(sample)


def test_every_wrong_candidate_is_false_in_its_scene() -> None:
    rng = np.random.default_rng(0)
    shown = [Shown(str(n), scene) for n, (scene, _) in enumerate(sample_scenes(rng, 200, twins=0.3))]
    scenes = {item.image_id: item.scene for item in shown}
    rows = benchmarks.aro_relation(shown, "test", 200) + benchmarks.replaced_relation(shown, "test", 200, rng)
    assert len(rows) == 400
    for row in rows:
        scene = scenes[row["images"][0]]  # type: ignore[index]
        true = {statement(scene.things[i], name, scene.things[j]) for i, name, j in relations(scene)}
        right, wrong = row["texts"]  # type: ignore[misc]
        assert right in true and wrong not in true
    for row in benchmarks.questions(shown, "test", 100, rng):
        scene = scenes[str(row["image_id"])]
        answer = max(set(row["answers"]), key=row["answers"].count)  # type: ignore[arg-type,attr-defined]
        true = {statement(scene.things[i], name, scene.things[j]) for i, name, j in relations(scene)}
        true_statements = [
            said
            for candidate, said in zip(row["candidates"], row["statements"], strict=True)  # type: ignore[call-overload]
            if said in true or candidate == answer
        ]
        assert len(true_statements) == 1 or row["kind"] == "attribute" or "what" in str(row["question"])


def test_predicates_are_drawn_evenly() -> None:
    rng = np.random.default_rng(1)
    mains = pd.Series([scene.main[1] for scene, _ in sample_scenes(rng, 800) if scene.main is not None])
    assert set(mains) == set(PREDICATES)
    assert mains.value_counts().min() > 60


def test_the_diagnosis_of_another_domain_is_drawn_in_lines_and_shares_no_image(tables: DatasetTables) -> None:
    def ink(split: str) -> float:
        """Mean share of an image that is not its background."""
        paths = tables.images.loc[tables.images["split"] == split, "path"]
        arrays = [np.asarray(Image.open(tables.image_folder / path).convert("L"), dtype=float) for path in paths]
        return float(np.mean([(np.abs(array - np.median(array)) > 40).mean() for array in arrays]))

    assert ink("diagnosis_domain") < 0.6 * ink("diagnosis")
    assert ink("diagnosis_domain") == pytest.approx(ink("test_domain"), rel=0.5)
    said = {
        split: set(tables.captions.loc[tables.captions["image_id"].str.startswith(f"{split}-"), "text"])
        for split in ("diagnosis", "diagnosis_domain", "test_domain")
    }
    assert not said["diagnosis_domain"] & said["test_domain"]
    words = {split: " ".join(texts).split() for split, texts in said.items()}
    unusual = {split: np.mean([word in set(SYNONYMS.values()) for word in found]) for split, found in words.items()}
    assert unusual["diagnosis_domain"] > 3 * unusual["diagnosis"]


def test_an_unknown_split_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.sizes.tset"):
        build(DataConfig(sizes={"tset": 3}), 0, tmp_path)


def test_the_relation_benchmark_cannot_be_solved_by_naming_the_larger_thing_first() -> None:
    shown = [Shown(str(n), scene) for n, (scene, _) in enumerate(sample_scenes(np.random.default_rng(0), 600))]
    size = {item.image_id: {f"the {t.colour} {t.shape}": t.size for t in item.scene.things} for item in shown}

    def ratios(rows) -> np.ndarray:  # type: ignore[no-untyped-def]
        found = []
        for row in rows:
            named = size[row["images"][0]]
            order = sorted((text for text in named if text in row["texts"][0]), key=row["texts"][0].index)
            found.append(np.log(named[order[0]] / named[order[1]]))
        return np.array(found)

    balanced = ratios(aro_relation(shown, "test", 600))
    plain = ratios(
        {"images": [item.image_id], "texts": [_main_statement(item.scene)]} for item in shown if item.scene.main
    )
    assert abs(balanced.mean()) < 0.01 < 0.1 < abs(plain.mean())
    for row, item in zip(aro_relation(shown, "test", 600), shown, strict=True):
        true = {statement(item.scene.things[i], name, item.scene.things[j]) for i, name, j in relations(item.scene)}
        assert row["texts"][0] in true and row["texts"][1] not in true


def test_what_confirms_is_drawn_from_another_seed(tmp_path, monkeypatch):
    drawn = []

    def noted(seed, *names):
        drawn.append((seed, names))
        return generator(seed, *names)

    monkeypatch.setattr(import_module("vialign.data.scenes.build"), "generator", noted)
    build(DataConfig(sizes=dict.fromkeys(DEFAULT_SIZES, 1)), 3, tmp_path)
    seeds = {names[-1]: seed for seed, names in drawn if names[0] == "scenes"}
    assert seeds.pop("confirmation") != 3 and set(seeds.values()) == {3}
