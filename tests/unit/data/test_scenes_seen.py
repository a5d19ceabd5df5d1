"""Relations that boxes do not decide: true, drawn, and to be had from the pixels alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_predict

from vialign.config.data import DataConfig
from vialign.data.scenes import benchmarks, build
from vialign.data.scenes.benchmarks import Shown
from vialign.data.scenes.build import DEFAULT_SIZES
from vialign.data.scenes.captions import DOMAIN, scene_captions, statement, tree_text
from vialign.data.scenes.draw import _INK, draw_scene
from vialign.data.scenes.sampling import sample_scene, sample_scenes, twin
from vialign.data.scenes.shapes import shape_mask
from vialign.data.scenes.world import (
    COLOURS,
    HELD_OUT,
    HIDDEN,
    PREDICATES,
    SEEN,
    SYMMETRIC,
    Scene,
    Thing,
    covered_share,
    relations,
    true_of,
)
from vialign.data.treebanks.head_rules import dependencies
from vialign.data.treebanks.penn import parse_tree
from vialign.language.gold import sentence_units
from vialign.language.lexicon import is_symmetric
from vialign.random import generator

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene for scene, _ in sample_scenes(generator(0, "seen"), 3000, seen=True)]


def of(scenes: list[Scene], *predicates: str) -> list[Scene]:
    return [scene for scene in scenes if scene.main is not None and scene.main[1] in predicates]


def ends(scene: Scene) -> tuple[Thing, Thing]:
    assert scene.main is not None
    return scene.things[scene.main[0]], scene.things[scene.main[2]]


def boxes(first: Thing, second: Thing) -> list[float]:
    """What a rule of geometry may look at."""
    dx, dy = first.x - second.x, first.y - second.y
    return [dx, dy, abs(dx), abs(dy), np.hypot(dx, dy), first.size, second.size, first.x, first.y, second.x, second.y]


@given(seeds, st.booleans())
@settings(max_examples=80)
def test_the_main_relation_is_true_and_its_reverse_only_where_it_is_symmetric(seed: int, held_out: bool) -> None:
    scene = sample_scene(np.random.default_rng(seed), seen=True, held_out=held_out)
    assert scene.main is not None
    i, predicate, j = scene.main
    assert true_of(scene, i, predicate, j)
    if predicate not in ("on", "inside"):
        assert true_of(scene, j, predicate, i) == (predicate in SYMMETRIC) == is_symmetric(predicate)
    assert len({thing.look for thing in scene.things}) == len(scene.things)
    assert sum(thing.look in HELD_OUT for thing in scene.things) == held_out


def test_half_of_the_scenes_have_such_a_relation_and_none_where_it_is_not_asked_for(scenes: list[Scene]) -> None:
    counts = pd.Series([scene.main[1] for scene in scenes if scene.main is not None]).value_counts()
    assert set(counts.index) == {*PREDICATES, *SEEN}
    assert 0.46 < counts[list(SEEN)].sum() / len(scenes) < 0.54
    assert counts[list(SEEN)].min() > 300
    plain = [scene for scene, _ in sample_scenes(generator(0, "plain"), 300)]
    assert not {predicate for scene in plain for _, predicate, _ in relations(scene)} & {*SEEN}


def guessed(cases: list[Scene], roles: bool) -> float:
    """How often boosted trees on the boxes find the role, or the relation, of pairs that they were not fitted on."""
    flipped = np.random.default_rng(1).random(len(cases)) < 0.5
    rows = [boxes(*ends(case)[:: -1 if flip else 1]) for case, flip in zip(cases, flipped & roles, strict=True)]
    right = flipped if roles else np.array([case.main is not None and case.main[1] == "points at" for case in cases])
    found = cross_val_predict(HistGradientBoostingClassifier(random_state=0), np.array(rows), right, cv=5)
    return float((found == right).mean())


def test_no_rule_on_boxes_reads_them(scenes: list[Scene]) -> None:
    error = 2.6 * 0.5 / np.sqrt(len(of(scenes, "hides", "points at")))
    assert abs(guessed(of(scenes, "hides", "points at"), roles=True) - 0.5) < error
    assert abs(guessed(of(scenes, "joined to", "points at"), roles=False) - 0.5) < error
    ratios = np.array([np.log(one.size / other.size) for one, other in map(ends, of(scenes, *SEEN))])
    assert abs(ratios.mean()) < 3 * ratios.std() / np.sqrt(len(ratios))
    # The same rule reads what boxes decide.
    assert guessed(of(scenes, "left of", "above"), roles=True) > 0.95


def ink_at(pixels: np.ndarray, thing: Thing, other: Thing) -> int:
    """Pixels of a line or an arrow just outside of the box of the first of two things, on the way to the second."""
    along, across, border = _way(pixels, thing, other)
    return int(((np.abs(across) < 2) & (along > border) & (along < border + 1.7)).sum())


def ink_beside(pixels: np.ndarray, thing: Thing, other: Thing) -> int:
    """Pixels of an arrow's head between the boxes of two things: those that a line would not have."""
    along, across, border = _way(pixels, thing, other)
    end = np.hypot(other.x - thing.x, other.y - thing.y) - border * other.size / thing.size
    return int(((np.abs(across) > 3) & (np.abs(across) < 7) & (along > border) & (along < end)).sum())


def _way(pixels: np.ndarray, thing: Thing, other: Thing) -> tuple[np.ndarray, np.ndarray, float]:
    """Of every pixel of the ink: how far it lies along the way from one thing to the other, and beside it; and how far
    the first thing's box reaches."""
    y, x = np.nonzero(np.abs(pixels.astype(int) - np.array(_INK)).max(axis=2) < 40)
    way = np.array([other.x - thing.x, other.y - thing.y])
    long = np.linalg.norm(way)
    along = (np.stack([x + 0.5, y + 0.5], axis=1) - [thing.x, thing.y]) @ way / long
    across = (np.stack([x + 0.5, y + 0.5], axis=1) - [thing.x, thing.y]) @ np.array([-way[1], way[0]]) / long
    return along, across, thing.size / 2 * long / np.abs(way).max()


@pytest.mark.parametrize("lines", [False, True])
def test_the_pixels_tell_them(scenes: list[Scene], lines: bool) -> None:
    cases = {name: of(scenes, name)[:60] for name in ("points at", "joined to", "matches")}
    ink = {
        name: [
            (ink_at(pixels, one, other) > 0, ink_at(pixels, other, one) > 0)
            for pixels, (one, other) in ((np.asarray(draw_scene(each, lines=lines)), ends(each)) for each in found)
        ]
        for name, found in cases.items()
    }
    # An arrow begins at what points and ends short of what it points at; a line touches both.
    expected = {"points at": (True, False), "joined to": (True, True), "matches": (False, False)}
    for name, found in ink.items():
        assert np.mean([pair == expected[name] for pair in found]) > 0.95, name
        heads = [ink_beside(np.asarray(draw_scene(each, lines=lines)), *ends(each)) > 3 for each in cases[name]]
        assert abs(np.mean(heads) - float(name == "points at")) < 0.15, name
    for scene in of(scenes, "hides")[:60]:
        hider, hidden = ends(scene)
        pictures = [
            np.asarray(draw_scene(replace(scene, things=things, main=None), lines=lines)).astype(int)
            for things in ((hidden, hider), (hider,), (hider, hidden))
        ]
        left, top = round(hider.x - hider.size / 2), round(hider.y - hider.size / 2)
        inside = pictures[0][top : top + hider.size, left : left + hider.size]
        own = np.asarray(shape_mask(hider.shape, hider.size)) > 0
        # But for its edge, what hides looks as if nothing were below it, and would not if it lay below.
        differs = [
            (np.abs(picture[top : top + hider.size, left : left + hider.size] - inside)[own].max(axis=1) > 40).mean()
            for picture in pictures[1:]
        ]
        assert differs[0] < 0.15 and 1.5 * differs[0] + 0.02 < differs[1], (scene, differs)


def test_what_hides_covers_a_part_that_is_alike_either_way(scenes: list[Scene]) -> None:
    for scene in of(scenes, "hides"):
        hider, hidden = ends(scene)
        assert min(covered_share(hidden, hider), covered_share(hider, hidden)) >= HIDDEN
    square, half = Thing("square", "red", "plain", 40, 40, 20), Thing("square", "blue", "plain", 50, 40, 20)
    assert covered_share(square, half) == 0.5
    assert covered_share(square, Thing("square", "blue", "plain", 70, 40, 20)) == 0
    assert true_of(Scene((square, half), None, 0, seen=True), 1, "hides", 0)
    assert not true_of(Scene((square, half), None, 0, seen=True), 0, "hides", 1)


def test_one_colour_is_said_without_colours(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    for scene in of(scenes, "matches")[:50]:
        one, other = ends(scene)
        assert one.colour == other.colour
        assert not set(statement(one, "matches", other).split()) & set(COLOURS)
        for tree in (scene_captions(rng, scene)[n] for n in (0, 1, 4)):
            said = tree_text(tree).split(",")[0].split()
            assert {"matches", "matching"} & set(said) and not {"crimson", "violet", *COLOURS} & set(said)


def test_captions_have_gold_units_of_their_relation(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    cases = [scene for name in SEEN for scene in of(scenes, name)[:20]]
    trees = [scene_captions(rng, scene, DOMAIN)[0] for scene in cases]
    units = sentence_units([dependencies(parse_tree(tree)) for tree in trees], [str(n) for n in range(len(trees))])
    found = units[units["kind"] == "relation"].reset_index(drop=True)
    assert found["text_id"].tolist() == [str(n) for n in range(len(trees))]
    assert (found[["subject", "object"]] >= 0).all(axis=None)
    said = {tree_text(trees[int(row.text_id)])[row.start : row.end] for row in found.itertuples()}
    assert said == {"joined to", "points at", "pointing at", "hides", "hiding", "matches", "matching"}


def test_every_wrong_candidate_is_false_in_its_scene_and_no_wording_is_always_right(scenes: list[Scene]) -> None:
    shown = [Shown(str(n), scene) for n, scene in enumerate(scenes)]
    made = {
        "seen_roles": benchmarks.seen_roles(shown, "test", 400),
        "seen_relation": benchmarks.seen_relation(shown, "test", 400),
        "seen_object": benchmarks.seen_object(shown, "test", 300),
    }
    assert {name: len(rows) for name, rows in made.items()} == {
        "seen_roles": 400,
        "seen_relation": 400,
        "seen_object": 300,
    }
    for row in (row for rows in made.values() for row in rows):
        scene = scenes[int(row["images"][0])]  # type: ignore[index]
        true = {statement(scene.things[i], name, scene.things[j]) for i, name, j in relations(scene)}
        right, wrong = row["texts"]  # type: ignore[misc]
        assert right in true and wrong not in true
        assert len(right.split()) == len(wrong.split()) or row["benchmark"] == "seen_relation"
    assert {row["tag"] for row in made["seen_roles"]} == {"hides", "points at"}
    assert {row["tag"] for row in made["seen_object"]} == {"joined to", "points at", "matches"}
    pointed = [row["tag"] == "points at" for row in made["seen_relation"]]
    assert 0.4 < np.mean(pointed) < 0.6
    # The other diagnostics keep to what boxes decide.
    rng = np.random.default_rng(0)
    others = benchmarks.aro_relation(shown, "test", 200) + benchmarks.replaced_relation(shown, "test", 200, rng)
    assert not {row["tag"] for row in others} & {*SEEN}


@given(seeds)
@settings(max_examples=60)
def test_a_twin_exchanges_what_is_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng, seen=True)
    other = twin(rng, scene, "roles")
    assert scene.main is not None
    if scene.main[1] in SYMMETRIC:
        assert other is None
    if other is None or scene.main[1] not in SEEN:
        return
    assert true_of(other, *scene.main)
    assert [thing.look for thing in other.things[:2]] == [thing.look for thing in scene.things[1::-1]]


def test_the_tables_hold_them(tmp_path: Path) -> None:
    sizes = dict.fromkeys(DEFAULT_SIZES, 6) | {"test": 80}
    tables = build(DataConfig(sizes=sizes, seen_relations=True), 3, tmp_path)
    assert {*SEEN} <= set(tables.relations["predicate"])
    found = tables.choices.loc[tables.choices["split"] == "test", "benchmark"].value_counts()
    assert found[["seen_roles", "seen_relation", "seen_object"]].min() >= 8
