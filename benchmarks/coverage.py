"""How often the intervals of compared methods hold the truth, and how often a test errs, in simulated worlds.

    python benchmarks/coverage.py                  # the table of docs/measurements.md
    python benchmarks/coverage.py --trials 500     # faster, rougher

Two methods are trained with the same seeds and asked the same items of the same images. Whether an answer is right is
drawn from a logistic model with effects of the image (shared, and each method's own) and of the seed (each method's
own). The truth is the difference over all images and all seeds; nominal coverage is 95 %.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from vialign.evaluation.two_level import difference_of, linearised, two_level

_EVERY = 300_000
"""Draws behind the truth."""


@dataclass(frozen=True)
class World:
    """What is simulated; standard deviations and the gain are on the scale of the logit."""

    images: int = 1000
    seeds: int = 5
    seed_sd: float = 0.0
    """Of each method's seeds."""
    items: int = 1
    """Items of one image."""
    gain: float = 0.3
    """Of the method over its reference."""
    base: float = 0.0
    """Of the reference: 0 is 50 % right."""
    image_sd: float = 1.0
    """Of images, shared by both methods."""
    own_sd: float = 0.5
    """Of images, each method's own."""


@dataclass(frozen=True)
class Coverage:
    """What came of the trials of one world."""

    covered: float
    """Share of the intervals over images and seeds that hold the truth."""
    items_covered: float
    """Share of the intervals over images alone that do."""
    width: float
    """Mean width of the interval over images and seeds."""
    df: float
    """Median degrees of freedom."""


def coverage(world: World, trials: int, seed: int) -> Coverage:
    """Draw `trials` benchmarks from the world and take both intervals of each."""
    rng = np.random.default_rng(seed)
    truth = _truth(world, np.random.default_rng(seed + 1))
    seeds = world.seeds
    paired = difference_of({n: n for n in range(seeds)}, {n: seeds + n for n in range(seeds)}, 2 * seeds)
    counts = np.full((world.images, 1), float(world.items))
    rows = []
    for _ in range(trials):
        found = two_level(linearised(_right_answers(world, rng)[:, :, None], counts), [paired])
        (low, high), (item_low, item_high) = found.interval(0.05), found.item_interval(0.05)
        inside = [bool(low[0] <= truth <= high[0]), bool(item_low[0] <= truth <= item_high[0])]
        rows.append((*inside, high[0] - low[0], found.df[0]))
    covered, items_covered, width, _ = np.mean(rows, axis=0)
    return Coverage(float(covered), float(items_covered), float(width), float(np.median([row[-1] for row in rows])))


def _chances(world: World, rng: Generator, image: tuple[int, ...], seed: tuple[int, ...]) -> list[np.ndarray]:
    """Chances of a right answer, of the method and of its reference."""
    shared = world.image_sd * rng.normal(size=image)
    logits = (
        world.base + gain + shared + world.own_sd * rng.normal(size=image) + world.seed_sd * rng.normal(size=seed)
        for gain in (world.gain, 0.0)
    )
    return [1 / (1 + np.exp(-logit)) for logit in logits]


def _truth(world: World, rng: Generator) -> float:
    """The difference of both methods over many images and seeds."""
    method, reference = _chances(world, rng, (_EVERY,), (_EVERY,))
    return float(method.mean() - reference.mean()) if world.gain else 0.0


def _right_answers(world: World, rng: Generator) -> np.ndarray:
    """Right answers of each image (rows) in each column: the seeds of the method, then of its reference."""
    chances = _chances(world, rng, (world.images, 1), (1, world.seeds))
    return np.asarray(rng.binomial(world.items, np.concatenate(chances, axis=1)), dtype=np.float64)


WORLDS = (
    *(World(images=images, seed_sd=sd) for images in (500, 1000) for sd in (0.0, 0.05, 0.1, 0.2, 0.3)),
    World(seed_sd=0.2, items=5),
    World(seed_sd=0.2, gain=0.0),
    World(seed_sd=0.2, base=-3.0),
    *(World(seeds=seeds, seed_sd=0.2) for seeds in (2, 3, 10)),
    *(World(images=images, seed_sd=0.2) for images in (20, 100)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4000, help="benchmarks drawn from each world")
    trials = parser.parse_args().trials
    print(f"{trials} trials each; an error of {196 * (0.95 * 0.05 / trials) ** 0.5:.1f} points on 95 %")
    print("| images | items each | seeds | seed effect | gain | base | covered, % | by images alone, % | width | df |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for number, world in enumerate(WORLDS):
        found = coverage(world, trials, number)
        what = (world.images, world.items, world.seeds, f"{world.seed_sd:g}", f"{world.gain:g}", f"{world.base:g}")
        shares = (f"{100 * found.covered:.1f}", f"{100 * found.items_covered:.1f}")
        print("|", " | ".join(map(str, (*what, *shares, f"{found.width:.3f}", f"{found.df:.1f}"))), "|", flush=True)


if __name__ == "__main__":
    main()
