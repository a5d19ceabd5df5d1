"""Drawing scenes by chance.

A scene is drawn from a numpy generator and nothing else, so a seed reproduces it exactly.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vialign.data.scenes.world import (
    COLOURS,
    HELD_OUT,
    HIDDEN,
    IMAGE_SIZE,
    LARGE,
    MEDIUM,
    PREDICATES,
    SEEN,
    SHAPES,
    SMALL,
    SYMMETRIC,
    TEXTURES,
    Scene,
    Thing,
    boxes_apart,
    covered_share,
    holds,
    true_of,
)

_MARGIN = 2
_GAP = 10
"""Pixels between the boxes of two things with a line or an arrow between them, or one colour."""
_MOST_HIDDEN = 0.6
"""Share of a thing that the one that hides it covers at most."""


def sample_scene(
    rng: np.random.Generator, *, count: int | None = None, held_out: bool = False, seen: bool = False
) -> Scene:
    """Draw a scene of `count` things (2 to 4 unless given), with a held-out colour-shape pair if asked for.

    `seen`: in every other scene the main relation is one that boxes do not decide.
    """
    count = int(rng.choice([2, 3, 4], p=[0.5, 0.35, 0.15])) if count is None else count
    looks = _sample_looks(rng, count, held_out)
    if count == 1:
        thing = _place_anywhere(rng, looks[0], _sample_size(rng))
        return Scene((thing,), None, int(rng.integers(2**31)), seen)
    if seen and rng.random() < 0.5:
        return _sample_seen(rng, str(rng.choice(SEEN)), count, held_out)
    predicate = str(rng.choice(PREDICATES))
    while True:
        subject, other = _place_pair(rng, predicate, looks[0], looks[1])
        if not _fits(subject) or not _fits(other) or not holds(predicate, subject, other):
            continue
        things = [other, subject]
        for look in looks[2:]:
            extra = _place_distractor(rng, look, things)
            if extra is not None:
                things.append(extra)
        return Scene(tuple(things), (1, predicate, 0), int(rng.integers(2**31)), seen)


def _sample_seen(rng: np.random.Generator, predicate: str, count: int, held_out: bool) -> Scene:
    """A scene with a relation that boxes do not decide, and nothing else in the way of it."""
    while True:
        looks = _sample_looks(rng, count, held_out)
        if predicate == "matches":
            looks[1] = (looks[0][0], looks[1][1])
        elif looks[0][0] == looks[1][0]:
            continue
        # A pair of one colour may be a held-out one that this split must not show.
        known = [look for look in looks if look not in HELD_OUT]
        if len(set(looks)) < count or len(known) != count - held_out:
            continue
        subject, other = _place_seen(rng, predicate, looks[0], looks[1])
        if not _fits(subject) or not _fits(other):
            continue
        if predicate != "hides" and not boxes_apart(subject, other, _GAP):
            continue
        things = [other, subject]
        for look in looks[2:]:
            extra = _place_distractor(rng, look, things)
            if extra is not None and _out_of_the_way(extra, subject, other):
                things.append(extra)
        scene = Scene(tuple(things), (1, predicate, 0), int(rng.integers(2**31)), seen=True)
        if not true_of(scene, 1, predicate, 0):
            continue
        # Were it drawn the other way round, as much would be hidden: else the larger one would be the one that hides.
        shares = [covered_share(other, subject), covered_share(subject, other)]
        if predicate != "hides" or HIDDEN <= min(shares) <= max(shares) <= _MOST_HIDDEN:
            return scene


def _place_seen(
    rng: np.random.Generator, predicate: str, look: tuple[str, str], other_look: tuple[str, str]
) -> tuple[Thing, Thing]:
    """Two things in any direction from each other, drawn by the same law, so that no place and no size tells a role."""
    size, other_size = _sample_size(rng), _sample_size(rng)
    reach = (size + other_size) / 2
    far = rng.uniform(0.3, 0.8) * reach if predicate == "hides" else reach + rng.uniform(_GAP, 40)
    angle = rng.uniform(0, 2 * math.pi)
    other = _thing(rng, other_look, rng.uniform(0, IMAGE_SIZE), rng.uniform(0, IMAGE_SIZE), other_size)
    x, y = other.x + far * math.cos(angle), other.y + far * math.sin(angle)
    return _thing(rng, look, x, y, size), other


def _out_of_the_way(thing: Thing, subject: Thing, other: Thing) -> bool:
    """Whether a thing touches neither of two others nor the way between them."""
    along = np.array([other.x - subject.x, other.y - subject.y])
    to_thing = np.array([thing.x - subject.x, thing.y - subject.y])
    share = float(np.clip(along @ to_thing / (along @ along), 0, 1))
    way_off = float(np.linalg.norm(to_thing - share * along)) > thing.size * math.sqrt(0.5) + _MARGIN
    return way_off and boxes_apart(thing, subject) and boxes_apart(thing, other)


def twin(rng: np.random.Generator, scene: Scene, kind: str) -> Scene | None:
    """The same things in the other combination: `roles` exchanges the places, `colours` the colours, of the main pair.

    None where the exchange would leave the main relation true, break the frame, or make a held-out or a double look.
    """
    assert scene.main is not None
    i, predicate, j = scene.main
    things = list(scene.things)
    main = scene.main
    if kind == "roles" and predicate in ("inside", "on", "larger than", "smaller than", *SEEN):
        # Sizes, or what covers what, matter here, so the places stay and the looks are exchanged.
        swapped = (_relook(things[i], things[j]), _relook(things[j], things[i]))
    elif kind == "roles":
        first, second = things[i], things[j]
        swapped = (replace(first, x=second.x, y=second.y), replace(second, x=first.x, y=first.y))
        main = (j, predicate, i)
    else:
        if things[i].colour == things[j].colour or things[i].shape == things[j].shape:
            return None
        swapped = (replace(things[i], colour=things[j].colour), replace(things[j], colour=things[i].colour))
    things[i], things[j] = swapped
    looks = [thing.look for thing in things]
    known = {thing.look for thing in scene.things}
    if len(set(looks)) < len(looks) or any(look in HELD_OUT and look not in known for look in looks):
        return None
    if not all(_fits(thing) for thing in things):
        return None
    other = replace(scene, things=tuple(things), main=main)
    if not true_of(other, *main) or (predicate in SYMMETRIC and kind == "roles"):
        return None
    return replace(other, background=int(rng.integers(2**31)))


def sample_scenes(
    rng: np.random.Generator,
    count: int,
    *,
    singles: float = 0.0,
    twins: float = 0.0,
    held_out: bool = False,
    seen: bool = False,
) -> Iterator[tuple[Scene, str]]:
    """Draw `count` scenes with the kind of each: `single`, `scene`, or `roles`/`colours` for the second of two twins.

    `singles` is the share of scenes with one thing, `twins` the share of scenes that belong to a pair of twins; two
    thirds of the pairs exchange roles, the others colours.
    """
    made = 0
    while made < count:
        draw = rng.random()
        if draw < singles:
            yield sample_scene(rng, count=1, held_out=held_out, seen=seen), "single"
            made += 1
            continue
        scene = sample_scene(rng, held_out=held_out, seen=seen)
        # A pair is two scenes, so pairs are started half as often as their share of the scenes.
        other = None
        if made + 2 <= count and rng.random() < twins / (2 - twins):
            kind = "roles" if rng.random() < 2 / 3 else "colours"
            other = twin(rng, scene, kind)
            if held_out and other is not None and not any(thing.look in HELD_OUT for thing in other.things):
                other = None
        yield scene, "scene"
        made += 1
        if other is not None:
            yield other, kind
            made += 1


def _sample_looks(rng: np.random.Generator, count: int, held_out: bool) -> list[tuple[str, str]]:
    looks: list[tuple[str, str]] = []
    if held_out:
        looks.append(HELD_OUT[int(rng.integers(len(HELD_OUT)))])
    while len(looks) < count:
        look = (str(rng.choice(COLOURS)), str(rng.choice(SHAPES)))
        if look not in looks and look not in HELD_OUT:
            looks.append(look)
    order = rng.permutation(min(2, count))
    return [looks[k] for k in order] + looks[2:]


def _sample_size(rng: np.random.Generator) -> int:
    low, high = (SMALL, MEDIUM, LARGE)[int(rng.integers(3))]
    return int(rng.integers(low, high + 1))


def _sample_texture(rng: np.random.Generator) -> str:
    return str(rng.choice(TEXTURES, p=[0.6, 0.2, 0.2]))


def _thing(rng: np.random.Generator, look: tuple[str, str], x: float, y: float, size: int) -> Thing:
    return Thing(look[1], look[0], _sample_texture(rng), float(x), float(y), int(size))


def _place_anywhere(rng: np.random.Generator, look: tuple[str, str], size: int) -> Thing:
    low, high = size / 2 + _MARGIN, IMAGE_SIZE - size / 2 - _MARGIN
    return _thing(rng, look, rng.uniform(low, high), rng.uniform(low, high), size)


def _place_pair(
    rng: np.random.Generator, predicate: str, look: tuple[str, str], other_look: tuple[str, str]
) -> tuple[Thing, Thing]:
    size, other_size = _sample_size(rng), _sample_size(rng)
    if predicate == "inside":
        size, other_size = int(rng.integers(SMALL[0], 22)), int(rng.integers(48, 61))
        other = _place_anywhere(rng, other_look, other_size)
        return _thing(rng, look, other.x + rng.uniform(-3, 3), other.y + rng.uniform(-3, 3), size), other
    if predicate in ("larger than", "smaller than"):
        big, little = int(rng.integers(*LARGE)), int(rng.integers(*SMALL))
        size, other_size = (big, little) if predicate == "larger than" else (little, big)
        other = _place_anywhere(rng, other_look, other_size)
        thing = _place_anywhere(rng, look, size)
        far = max(abs(thing.x - other.x), abs(thing.y - other.y)) >= 0.9 * (size + other_size) / 2
        return (thing if far else replace(thing, x=-1.0)), other
    if predicate == "on":
        other = _place_anywhere(rng, other_look, other_size)
        reach = (size + other_size) / 2
        return _thing(rng, look, other.x + rng.uniform(-1, 1) * other_size / 5, other.y - reach + 1, size), other
    reach = (size + other_size) / 2
    along = rng.uniform(0.9 * reach, 2.2 * reach)
    across = rng.uniform(-0.5, 0.5) * along
    dx, dy = {
        "left of": (-along, across),
        "right of": (along, across),
        "above": (across, -along),
        "below": (across, along),
    }[predicate]
    other = _place_anywhere(rng, other_look, other_size)
    return _thing(rng, look, other.x + dx, other.y + dy, size), other


def _place_distractor(rng: np.random.Generator, look: tuple[str, str], things: list[Thing]) -> Thing | None:
    """A further thing that may cover up to a quarter of another; none when no place is found."""
    for _ in range(20):
        thing = _place_anywhere(rng, look, int(rng.integers(SMALL[0], MEDIUM[1])))
        if all(_covered(other, thing) <= 0.25 and _covered(thing, other) <= 0.25 for other in things):
            return thing
    return None


def _covered(thing: Thing, cover: Thing) -> float:
    """Share of `thing`'s box that lies under `cover`'s box."""
    width = min(thing.x + thing.size / 2, cover.x + cover.size / 2) - max(
        thing.x - thing.size / 2, cover.x - cover.size / 2
    )
    height = min(thing.y + thing.size / 2, cover.y + cover.size / 2) - max(
        thing.y - thing.size / 2, cover.y - cover.size / 2
    )
    return max(width, 0.0) * max(height, 0.0) / thing.size**2


def _fits(thing: Thing) -> bool:
    half = thing.size / 2
    return all(half + 1 <= centre <= IMAGE_SIZE - half - 1 for centre in (thing.x, thing.y))


def _relook(place: Thing, look: Thing) -> Thing:
    """The thing at `place`, with the look (shape, colour, texture) of another."""
    return replace(place, shape=look.shape, colour=look.colour, texture=look.texture)
