"""Drawing a scene: textured background, shapes with texture, partial occlusion, and a line-drawing variant."""

import math

import numpy as np
from PIL import Image, ImageDraw

from vialign.data.scenes.world import IMAGE_SIZE, Scene, Thing

_OVERSAMPLING = 2
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
    for thing in scene.things:
        _draw_thing(canvas, thing, lines)
    return canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)


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


def _draw_thing(canvas: Image.Image, thing: Thing, lines: bool) -> None:
    side = thing.size * _OVERSAMPLING
    left = round((thing.x - thing.size / 2) * _OVERSAMPLING)
    top = round((thing.y - thing.size / 2) * _OVERSAMPLING)
    mask = _mask(thing.shape, side)
    colour = _RGB[thing.colour]
    if lines:
        inner = _mask(thing.shape, max(side - 4 * _OVERSAMPLING, 4))
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


def _mask(shape: str, side: int) -> Image.Image:
    """The shape, white on black, filling a square of `side` pixels."""
    mask = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(mask)
    s = side - 1
    if shape == "circle":
        pen.ellipse([0, 0, s, s], fill=255)
    elif shape == "square":
        pen.rectangle([0, 0, s, s], fill=255)
    elif shape == "triangle":
        pen.polygon([(s / 2, 0), (s, s), (0, s)], fill=255)
    elif shape == "diamond":
        pen.polygon([(s / 2, 0), (s, s / 2), (s / 2, s), (0, s / 2)], fill=255)
    elif shape == "cross":
        third = s / 3
        pen.rectangle([third, 0, 2 * third, s], fill=255)
        pen.rectangle([0, third, s, 2 * third], fill=255)
    elif shape == "ring":
        hole = s * 0.27
        pen.ellipse([0, 0, s, s], fill=255)
        pen.ellipse([hole, hole, s - hole, s - hole], fill=0)
    elif shape == "star":
        points = []
        for k in range(10):
            radius = s / 2 if k % 2 == 0 else s / 5
            angle = math.pi * k / 5 - math.pi / 2
            points.append((s / 2 + radius * math.cos(angle), s / 2 + radius * math.sin(angle)))
        pen.polygon(points, fill=255)
    elif shape == "heart":
        turns = np.linspace(0, 2 * math.pi, 60)
        x = 16 * np.sin(turns) ** 3
        y = 13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)
        pen.polygon([(s / 2 + a * s / 34, s * 0.45 - b * s / 34) for a, b in zip(x, y, strict=True)], fill=255)
    else:
        raise ValueError(f"unknown shape {shape!r}")
    return mask
