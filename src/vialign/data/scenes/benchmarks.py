"""Minimal-pair diagnostics of Scenes in the forms of Winoground, ARO, SugarCrepe and VQA v2.

Every candidate that is called wrong is checked against the scene: it must be false there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from vialign.data.scenes.captions import EXACT, noun_phrase, statement, tree_text
from vialign.data.scenes.world import (
    COLOURS,
    CONVERSE,
    PREDICATES,
    SEEN,
    SHAPES,
    SYMMETRIC,
    Scene,
    Thing,
    holds,
    relations,
    true_of,
)
from vialign.tables.data import DEVELOPMENT

_DIRECTIONS = ("left of", "right of", "above", "below")
_PEOPLE = 10


@dataclass(frozen=True)
class Shown:
    """A scene under the name its image has."""

    image_id: str
    scene: Scene


def winoground(pairs: list[tuple[Shown, Shown, str]], split: str) -> list[dict[str, object]]:
    """Two images and two captions of the same words: the main relation of each twin (Thrush et al. 2022)."""
    rows: list[dict[str, object]] = []
    for number, (first, second, kind) in enumerate(pairs):
        rows.append(
            {
                "item_id": f"winoground/{split}/{number:05d}",
                "benchmark": "winoground",
                "split": split,
                "tag": kind,
                "images": [first.image_id, second.image_id],
                "texts": [_main_statement(first.scene), _main_statement(second.scene)],
            }
        )
    return rows


def aro_relation(shown: list[Shown], split: str, limit: int) -> list[dict[str, object]]:
    """`X is above Y` against `Y is above X`, for a relation that holds (Yuksekgonul et al. 2023, VG-Relation).

    A dual encoder that weighs what is named first and what looks large more than the rest would be right on one wording
    and wrong on its converse without reading either. So a relation that has a converse is worded in the way that
    keeps the sum of log size ratios, first to second thing, nearest to zero.
    """
    rows: list[dict[str, object]] = []
    balance = 0.0
    for item in _with_main(shown, limit):
        i, predicate, j = item.scene.main  # type: ignore[misc]
        subject, other = item.scene.things[i], item.scene.things[j]
        ratio = float(np.log(subject.size / other.size))
        if predicate in CONVERSE and abs(balance - ratio) < abs(balance + ratio):
            subject, predicate, other, ratio = other, CONVERSE[predicate], subject, -ratio
        balance += ratio
        texts = [statement(subject, predicate, other), statement(other, predicate, subject)]
        rows.append(_choice("aro_relation", split, len(rows), predicate, item, texts))
    return rows


def replaced_relation(shown: list[Shown], split: str, limit: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """`X is above Y` against `X is left of Y`, which is false there (Hsieh et al. 2023, replace-relation)."""
    rows: list[dict[str, object]] = []
    for item in _with_main(shown, limit):
        i, predicate, j = item.scene.main  # type: ignore[misc]
        subject, other = item.scene.things[i], item.scene.things[j]
        false = [name for name in PREDICATES if not holds(name, subject, other)]
        texts = [statement(subject, predicate, other), statement(subject, str(rng.choice(false)), other)]
        rows.append(_choice("replace_relation", split, len(rows), predicate, item, texts))
    return rows


def aro_attribution(shown: list[Shown], split: str, limit: int) -> list[dict[str, object]]:
    """`the red circle and the blue square` against the colours exchanged (VG-Attribution)."""
    rows: list[dict[str, object]] = []
    for item in shown:
        if len(rows) == limit:
            break
        pair = _exchangeable(item.scene)
        if pair is None:
            continue
        first, second = pair
        wrong = (replace(first, colour=second.colour), replace(second, colour=first.colour))
        texts = [_both(first, second), _both(*wrong)]
        tag = "_".join(sorted((first.colour, second.colour)))
        rows.append(_choice("aro_attribution", split, len(rows), tag, item, texts))
    return rows


def seen_roles(shown: list[Shown], split: str, limit: int) -> list[dict[str, object]]:
    """`X points at Y` against `Y points at X`, for the relations that boxes do not decide and that have roles."""
    rows: list[dict[str, object]] = []
    for item in _with_main(shown, limit, [name for name in SEEN if name not in SYMMETRIC]):
        i, predicate, j = item.scene.main  # type: ignore[misc]
        subject, other = item.scene.things[i], item.scene.things[j]
        texts = [statement(subject, predicate, other), statement(other, predicate, subject)]
        rows.append(_choice("seen_roles", split, len(rows), predicate, item, texts))
    return rows


def seen_relation(shown: list[Shown], split: str, limit: int) -> list[dict[str, object]]:
    """`X is joined to Y` against `X points at Y`, of which one holds: things so related lie by one and the same law."""
    rows: list[dict[str, object]] = []
    wrong = {"joined to": "points at", "points at": "joined to"}
    for item in _with_main(shown, limit, list(wrong)):
        i, predicate, j = item.scene.main  # type: ignore[misc]
        subject, other = item.scene.things[i], item.scene.things[j]
        texts = [statement(subject, name, other) for name in (predicate, wrong[predicate])]
        rows.append(_choice("seen_relation", split, len(rows), predicate, item, texts))
    return rows


def seen_object(shown: list[Shown], split: str, limit: int) -> list[dict[str, object]]:
    """`X matches Y` against `X matches Z`, both in the image, of which one holds; where `X` lies is near `Y` or not."""
    rows: list[dict[str, object]] = []
    for item in _with_main(shown, len(shown), [name for name in SEEN if name != "hides"]):
        i, predicate, j = item.scene.main  # type: ignore[misc]
        things = item.scene.things
        others = [k for k in range(len(things)) if k not in (i, j) and not true_of(item.scene, i, predicate, k)]
        # Said without colours, the shape alone must tell which thing is meant.
        shapes = [thing.shape for thing in things]
        if predicate == "matches":
            others = [k for k in others if shapes.count(shapes[k]) == 1]
        if others and len(rows) < limit:
            texts = [statement(things[i], predicate, things[k]) for k in (j, others[0])]
            rows.append(_choice("seen_object", split, len(rows), predicate, item, texts))
    return rows


def both_right(shown: list[Shown], split: str, limit: int) -> list[dict[str, object]]:
    """`X is above Y` and `Y is below X` against `Y is above X` (Dumpala et al. 2024, SugarCrepe++)."""
    rows: list[dict[str, object]] = []
    for item in _with_main(shown, len(shown)):
        i, predicate, j = item.scene.main  # type: ignore[misc]
        subject, other = item.scene.things[i], item.scene.things[j]
        if predicate in CONVERSE and len(rows) < limit:
            texts = [statement(subject, predicate, other), statement(other, CONVERSE[predicate], subject)]
            texts.append(statement(other, predicate, subject))
            row = _choice("sugarcrepe_pp_swap_obj", split, len(rows), "swap_obj", item, texts)
            rows.append(row | {"right": 2})
    return rows


def image_choices(pairs: list[tuple[Shown, Shown, str]], split: str, limit: int) -> list[dict[str, object]]:
    """The main relation of a scene, which is to prefer it to its twin (Hendricks and Nematzadeh 2021, SVO-Probes)."""
    rows: list[dict[str, object]] = []
    for first, second, _ in pairs[:limit]:
        row = _choice("svo_probes", split, len(rows), "subject", first, [_main_statement(first.scene)])
        rows.append(row | {"images": [first.image_id, second.image_id]})
    return rows


def statements(shown: list[Shown], split: str, limit: int) -> list[dict[str, object]]:
    """A main relation, true, or with its roles exchanged, false, in turn (Liu et al. 2023, VSR).

    One in four is for the threshold; where that leaves nothing to test, there are none.
    """
    rows: list[dict[str, object]] = []
    for item in _with_main(shown, len(shown)):
        i, predicate, j = item.scene.main  # type: ignore[misc]
        subject, other = item.scene.things[i], item.scene.things[j]
        if holds(predicate, other, subject) or len(rows) == limit:
            continue
        true = len(rows) % 2 == 0
        text = statement(subject, predicate, other) if true else statement(other, predicate, subject)
        benchmark = f"vsr_random{DEVELOPMENT}" if len(rows) % 8 < 2 else "vsr_random"
        rows.append(_choice(benchmark, split, len(rows), predicate, item, [text]) | {"right": int(true)})
    return rows if len(rows) > 2 else []


def questions(shown: list[Shown], split: str, limit: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """Relation and attribute questions with ten answers each (the form of VQA v2, Goyal et al. 2017)."""
    rows: list[dict[str, object]] = []
    makers = (_where_question, _what_question, _colour_question)
    for number, item in enumerate(shown):
        if len(rows) == limit:
            break
        made = makers[number % len(makers)](item.scene)
        if made is None:
            continue
        kind, question, answer, candidates, statements = made
        rows.append(
            {
                "question_id": f"vqa/{split}/{len(rows):05d}",
                "split": split,
                "image_id": item.image_id,
                "question": question,
                "kind": kind,
                "answers": _people(rng, answer, candidates),
                "candidates": candidates,
                "statements": statements,
            }
        )
    return rows


def _choice(benchmark: str, split: str, number: int, tag: str, item: Shown, texts: list[str]) -> dict[str, object]:
    return {
        "item_id": f"{benchmark}/{split}/{number:05d}",
        "benchmark": benchmark,
        "split": split,
        "tag": tag,
        "images": [item.image_id],
        "texts": texts,
    }


def _with_main(shown: list[Shown], limit: int, predicates: Sequence[str] = PREDICATES) -> list[Shown]:
    return [item for item in shown if item.scene.main is not None and item.scene.main[1] in predicates][:limit]


def _main_statement(scene: Scene) -> str:
    assert scene.main is not None
    i, predicate, j = scene.main
    return statement(scene.things[i], predicate, scene.things[j])


def _both(first: Thing, second: Thing) -> str:
    rng = np.random.default_rng(0)
    phrases = [tree_text(noun_phrase(rng, thing, EXACT, "the")) for thing in (first, second)]
    return " and ".join(phrases)


def _exchangeable(scene: Scene) -> tuple[Thing, Thing] | None:
    """Two things whose colours, exchanged, give looks that the scene does not contain."""
    looks = {thing.look for thing in scene.things}
    for first, second in permutations(scene.things, 2):
        exchanged = {(second.colour, first.shape), (first.colour, second.shape)}
        if first.colour != second.colour and first.shape != second.shape and not exchanged & looks:
            return first, second
    return None


def _where_question(scene: Scene) -> tuple[str, str, str, list[str], list[str]] | None:
    for i, predicate, j in relations(scene):
        if predicate in _DIRECTIONS:
            subject, other = scene.things[i], scene.things[j]
            question = f"where is {_the(subject)} compared to {_the(other)}?"
            statements = [statement(subject, name, other) for name in _DIRECTIONS]
            return "relation", question, predicate, list(_DIRECTIONS), statements
    return None


def _what_question(scene: Scene) -> tuple[str, str, str, list[str], list[str]] | None:
    for i, predicate, j in relations(scene):
        subject, other = scene.things[i], scene.things[j]
        rivals = [k for k in range(len(scene.things)) if k not in (i, j) and true_of(scene, k, predicate, j)]
        if predicate in _DIRECTIONS and not rivals:
            question = f"what shape is {predicate} {_the(other)}?"
            phrase = statement(subject, predicate, other).split(" is ", 1)[1]
            statements = [f"a {shape} is {phrase}" for shape in SHAPES]
            return "relation", question, subject.shape, list(SHAPES), statements
    return None


def _colour_question(scene: Scene) -> tuple[str, str, str, list[str], list[str]] | None:
    shapes = [thing.shape for thing in scene.things]
    for thing in scene.things:
        if shapes.count(thing.shape) == 1:
            statements = [f"the {thing.shape} is {colour}" for colour in COLOURS]
            return "attribute", f"what colour is the {thing.shape}?", thing.colour, list(COLOURS), statements
    return None


def _the(thing: Thing) -> str:
    return f"the {thing.colour} {thing.shape}"


def _people(rng: np.random.Generator, answer: str, candidates: list[str]) -> list[str]:
    """Ten answers of which most agree, as in VQA v2."""
    wrong = int(rng.integers(0, 4))
    others = [candidate for candidate in candidates if candidate != answer]
    return [answer] * (_PEOPLE - wrong) + [str(rng.choice(others)) for _ in range(wrong)]
