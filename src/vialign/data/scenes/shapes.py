"""The outlines of the shapes."""

import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw


@cache
def shape_mask(shape: str, side: int) -> Image.Image:
    """The shape, white on black, filling a square of `side` pixels; not to be written into."""
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
