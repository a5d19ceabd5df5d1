"""Drawing a scene: textured background, shapes with texture, partial occlusion, and a line-drawing variant."""

import numpy as np
from PIL import Image, ImageDraw

from vialign.data.scenes.shapes import shape_mask
from vialign.data.scenes.world import IMAGE_SIZE, Scene, Thing

_OVERSAMPLING = 2
_HEAD = 8 * _OVERSAMPLING
"""Length of an arrow's head."""
_INK = (60, 50, 60)
"""Of lines and arrows: no thing has this colour."""
_RGB = {
    "red": (214, 40, 40),
    "green": (44, 160, 60),
    "blue": (40, 90, 215),
    "yellow": (240, 214, 40),
    "purple": (138, 60, 180),
    "orange": (245, 140, 30),
    "white": (245, 245, 245),
    "black": (25, 25, 25),
}


def draw_scene(scene: Scene, *, lines: bool = False) -> Image.Image:
    """The scene as a 112 x 112 RGB image; `lines` draws outlines on paper, the cross-domain variant."""
    side = IMAGE_SIZE * _OVERSAMPLING
    canvas = _paper(scene.background, side) if lines else _background(scene.background, side)
    # Where it is said what hides what, a drawing shows it: what lies within an outline covers what is below.
    paper = canvas.copy() if lines and scene.seen else None
    if scene.main is not None and scene.main[1] in ("joined to", "points at"):
        _draw_way(canvas, scene.things[scene.main[0]], scene.things[scene.main[2]], arrow=scene.main[1] == "points at")
    for thing in scene.things:
        _draw_thing(canvas, thing, lines, paper)
    return canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)


def _draw_way(canvas: Image.Image, start: Thing, end: Thing, *, arrow: bool) -> None:
    """A dark line from one thing to another, below both; an arrow ends short of the box of the second, in a head."""
    from_, to = (np.array([thing.x, thing.y]) * _OVERSAMPLING for thing in (start, end))
    way = (to - from_) / np.linalg.norm(to - from_)
    across = np.array([-way[1], way[0]])
    to_border = _OVERSAMPLING / (2 * np.abs(way).max())
    # The line begins within the first thing, though not in the hole of a ring.
    from_ = from_ + 0.7 * start.size * to_border * way
    to = to - (end.size * to_border + 2 * _OVERSAMPLING if arrow else 0.7 * end.size * to_border) * way
    pen = ImageDraw.Draw(canvas)
    neck = to - _HEAD * way if arrow else to
    pen.line([*map(tuple, (from_, neck))], fill=_INK, width=3 * _OVERSAMPLING)
    if arrow:
        pen.polygon([*map(tuple, (to, neck + 0.7 * _HEAD * across, neck - 0.7 * _HEAD * across))], fill=_INK)


def _background(seed: int, side: int) -> Image.Image:
    """Muted colour with smooth and fine noise, so that no patch is plain and none looks like a thing's colour."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(110, 190) + rng.uniform(-18, 18, 3)
    coarse = rng.normal(0, 14, (6, 6, 1)) + rng.normal(0, 4, (6, 6, 3))
    smooth = Image.fromarray(np.clip(base + coarse, 0, 255).astype(np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    grain = rng.integers(-10, 11, (side // 2, side // 2, 1)).repeat(2, 0).repeat(2, 1)
    return Image.fromarray(np.clip(np.asarray(smooth).astype(np.int16) + grain, 0, 255).astype(np.uint8))


def _paper(seed: int, side: int) -> Image.Image:
    """Ruled packing paper, dark enough for white lines and light enough for black ones."""
    rng = np.random.default_rng(seed)
    tone = np.array([188, 170, 142]) + rng.integers(-8, 9, 3)
    pixels = np.broadcast_to(tone, (side, side, 3)).astype(np.int16).copy()
    pixels[int(rng.integers(8, 20)) :: int(rng.integers(18, 30))] -= 26
    return Image.fromarray(np.clip(pixels + rng.integers(-4, 5, (side, side, 1)), 0, 255).astype(np.uint8))


def _draw_thing(canvas: Image.Image, thing: Thing, lines: bool, paper: Image.Image | None) -> None:
    side = thing.size * _OVERSAMPLING
    left = round((thing.x - thing.size / 2) * _OVERSAMPLING)
    top = round((thing.y - thing.size / 2) * _OVERSAMPLING)
    mask = shape_mask(thing.shape, side)
    colour = _RGB[thing.colour]
    if lines:
        if paper is not None:
            canvas.paste(paper.crop((left, top, left + side, top + side)), (left, top), mask)
        inner = shape_mask(thing.shape, max(side - 4 * _OVERSAMPLING, 4))
        offset = (side - inner.width) // 2
        hollow = Image.new("L", mask.size, 0)
        hollow.paste(inner, (offset, offset))
        mask = Image.fromarray(np.where(np.asarray(hollow) > 127, 0, np.asarray(mask)).astype(np.uint8))
        canvas.paste(colour, (left, top), mask)
        return
    canvas.paste(_fill(thing, side, colour), (left, top), mask)


def _fill(thing: Thing, side: int, colour: tuple[int, int, int]) -> Image.Image:
    fill = Image.new("RGB", (side, side), colour)
    if thing.texture == "plain":
        return fill
    # A contrast tone of the same hue: lighter on dark colours, darker on light ones.
    shade = 0.45 if sum(colour) > 300 else 0.0
    tone = tuple(int(c * shade) if shade else min(255, c + 95) for c in colour)
    pen = ImageDraw.Draw(fill)
    if thing.texture == "striped":
        for start in range(-side, 2 * side, 14):
            pen.line([(start, 0), (start + side, side)], fill=tone, width=5)
        return fill
    for row, y in enumerate(range(3, side, 11)):
        for x in range(3 + 5 * (row % 2), side, 11):
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=tone)
    return fill
