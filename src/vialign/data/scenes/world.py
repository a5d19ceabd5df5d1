"""What a scene is: things with shape, colour, size and texture, and the relations that hold between them.

Everything is in pixels of a 112 x 112 image, x to the right and y down.
"""

from dataclasses import dataclass

import numpy as np

from vialign.data.scenes.shapes import shape_mask

IMAGE_SIZE = 112
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
TEXTURES = ("plain", "striped", "dotted")
PREDICATES = ("left of", "right of", "above", "below", "inside", "on", "larger than", "smaller than")
"""What the boxes of two things decide."""
SEEN = ("joined to", "points at", "hides", "matches")
"""What they do not decide: a line joins both, an arrow goes from one to the other, one covers a part of the other, both
have one colour. Only worlds with `data.seen_relations` have them."""
SYMMETRIC = ("joined to", "matches")
"""Those of them that hold both ways."""

CONVERSE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "larger than": "smaller than",
    "smaller than": "larger than",
}
"""Predicate that holds from the object to the subject."""

HELD_OUT = (
    ("red", "star"),
    ("green", "heart"),
    ("blue", "triangle"),
    ("yellow", "ring"),
    ("purple", "cross"),
    ("orange", "diamond"),
    ("white", "square"),
    ("black", "circle"),
)
"""Colour-shape pairs that no split but `test_combination` contains."""

SMALL = (19, 24)
"""Side lengths, in pixels, of things called small."""
MEDIUM = (27, 32)
LARGE = (37, 46)
"""Side lengths, in pixels, of things called large."""
_CLEAR = 1.5
"""A direction is said only when its axis exceeds the other by this factor, so that nobody could disagree."""
HIDDEN = 0.15
"""Share of a thing that another must cover to be said to hide it."""


@dataclass(frozen=True)
class Thing:
    """One drawn object."""

    shape: str
    colour: str
    texture: str
    x: float
    """Centre, pixels from the left."""
    y: float
    """Centre, pixels from the top."""
    size: int
    """Side of the bounding square, pixels."""

    @property
    def size_word(self) -> str | None:
        """`small`, `large`, or none for what lies between."""
        if self.size <= SMALL[1]:
            return "small"
        return "large" if self.size >= LARGE[0] else None

    @property
    def look(self) -> tuple[str, str]:
        """Colour and shape, by which a thing is unique in its scene."""
        return self.colour, self.shape


@dataclass(frozen=True)
class Scene:
    """Things in drawing order (later ones cover earlier ones) and what is said first about them."""

    things: tuple[Thing, ...]
    main: tuple[int, str, int] | None
    """Subject, predicate and object that the captions are about; none in a scene of one thing. A line or an arrow is
    drawn where it says so, and nowhere else."""
    background: int
    """Seed of the background."""
    seen: bool = False
    """Whether this world says what boxes do not decide (`SEEN`)."""

    @property
    def predicates(self) -> tuple[str, ...]:
        """What may be said of two things."""
        return (*PREDICATES, *SEEN) if self.seen else PREDICATES


def holds(predicate: str, subject: Thing, other: Thing) -> bool:
    """Whether `subject predicate other`, one of `PREDICATES`, is true beyond dispute."""
    dx, dy = subject.x - other.x, subject.y - other.y
    apart_x, apart_y = abs(dx) > _CLEAR * abs(dy), abs(dy) > _CLEAR * abs(dx)
    reach = (subject.size + other.size) / 2
    nested = max(abs(dx), abs(dy)) + subject.size / 2 <= other.size / 2 + 1
    if predicate == "inside":
        return nested
    if predicate in ("larger than", "smaller than"):
        ratio = subject.size / other.size
        return ratio >= 1.4 if predicate == "larger than" else ratio <= 1 / 1.4
    if nested or max(abs(dx), abs(dy)) + other.size / 2 <= subject.size / 2 + 1:
        return False
    if predicate == "on":
        return apart_y and dy < 0 and abs(-dy - reach) <= 2 and abs(dx) <= other.size / 4
    if max(abs(dx), abs(dy)) < 0.6 * reach:
        return False
    return {
        "left of": apart_x and dx < 0,
        "right of": apart_x and dx > 0,
        "above": apart_y and dy < 0,
        "below": apart_y and dy > 0,
    }[predicate]


def true_of(scene: Scene, i: int, predicate: str, j: int) -> bool:
    """Whether things `i` and `j` of a scene are so related, by any of its predicates."""
    subject, other = scene.things[i], scene.things[j]
    if predicate in PREDICATES:
        return holds(predicate, subject, other)
    if predicate == "hides":
        return i > j and covered_share(other, subject) >= HIDDEN
    if predicate == "matches":
        shapes = [thing.shape for thing in scene.things]
        # It is said without colours, so the shapes alone must tell which things are meant.
        return subject.colour == other.colour and shapes.count(subject.shape) == shapes.count(other.shape) == 1
    drawn = scene.main is not None and scene.main[1] == predicate
    return drawn and scene.main in ((i, predicate, j), (j, predicate, i) if predicate in SYMMETRIC else None)


def relations(scene: Scene) -> list[tuple[int, str, int]]:
    """Every relation that holds, the main one first."""
    found = [
        (i, predicate, j)
        for i in range(len(scene.things))
        for j in range(len(scene.things))
        if i != j
        for predicate in scene.predicates
        if true_of(scene, i, predicate, j)
    ]
    return sorted(found, key=lambda relation: relation != scene.main)


def covered_share(thing: Thing, cover: Thing) -> float:
    """Share of a thing's own pixels that another, drawn over it, covers."""
    mine, over = (_pixels(each) for each in (thing, cover))
    return float((mine & over).sum() / mine.sum())


def boxes_apart(thing: Thing, other: Thing, gap: float = 0.0) -> bool:
    """Whether the boxes of two things have at least so many pixels between them."""
    return max(abs(thing.x - other.x), abs(thing.y - other.y)) >= (thing.size + other.size) / 2 + gap


def _pixels(thing: Thing) -> np.ndarray:
    """Which pixels of a frame that holds every thing, also one that sticks out of the image, are this thing's."""
    frame = np.zeros((3 * IMAGE_SIZE, 3 * IMAGE_SIZE), dtype=bool)
    left, top = (round(centre - thing.size / 2) + IMAGE_SIZE for centre in (thing.x, thing.y))
    frame[top : top + thing.size, left : left + thing.size] = np.asarray(shape_mask(thing.shape, thing.size)) > 0
    return frame
