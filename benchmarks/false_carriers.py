"""How often attribution calls a driver the carrier of a gain that it does not carry, and how often one that it does.

    python benchmarks/false_carriers.py                  # the table of docs/measurements.md
    python benchmarks/false_carriers.py --trials 100     # faster, rougher

A method is trained with its driver as it is, with a constant and with a shuffle in the driver's place, and frozen; all
are asked the same items. Whether an answer is right is drawn from a logistic model with effects of the item (shared,
and each training's own) and of the seed. The driver is called a carrier where on one measure both replacements cost
something, after Holm's correction over all of them: `carriers` of the package judges the outcomes as in a run. It errs
where at least one of them costs nothing. That error is largest where the other costs so much that it is always seen.
"""

import argparse
import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy.stats import binomtest

from vialign.analysis.attribution.findings import attribution_table, carriers
from vialign.analysis.attribution.names import DRIVER, FROZEN, SHIPPED

PARTS = {"constant": "driver", "shuffled": "driver"}
LEVEL = 0.05


@dataclass(frozen=True)
class World:
    """What is simulated; costs and standard deviations are on the scale of the logit."""

    constant: float = 0.0
    """What the constant costs on every measure."""
    shuffled: float = 0.0
    """What the shuffle costs."""
    images: int = 300
    seeds: int = 5
    measures: int = 4
    seed_sd: float = 0.1
    """Of each training."""
    image_sd: float = 1.0
    """Of items, shared by all."""
    own_sd: float = 0.5
    """Of items, each training's own over its seeds."""
    gain: float = 0.5
    """Of the method over frozen."""

    @property
    def carried(self) -> bool:
        """Whether the driver carries anything: both replacements cost something."""
        return min(self.constant, self.shuffled) > 0


WORLDS = (
    World(),
    World(constant=3.0),
    World(shuffled=3.0),
    World(constant=3.0, seed_sd=0.0),
    World(constant=3.0, seed_sd=0.3),
    World(constant=3.0, seeds=2),
    World(constant=3.0, images=1000),
    World(constant=0.3, shuffled=0.3),
    World(constant=0.5, shuffled=0.5),
    World(constant=1.0, shuffled=1.0),
)


class Outcomes:
    """Tables of outcomes from one world, drawn again and again; only the column of values changes."""

    def __init__(self, world: World) -> None:
        self._world = world
        level = {SHIPPED: 0.0, "constant": -world.constant, "shuffled": -world.shuffled, FROZEN: -world.gain}
        self._trained = [
            (name, measure, seed)
            for measure, name in itertools.product(range(world.measures), level)
            for seed in range(1 if name == FROZEN else world.seeds)
        ]
        self._level = np.array([level[name] for name, _, _ in self._trained])
        self._measure = np.array([measure for _, measure, _ in self._trained])
        names = list(level)
        self._own = np.array([measure * len(names) + names.index(name) for name, measure, _ in self._trained])
        ids = [f"{number}" for number in range(world.images)]
        parts = [
            pd.DataFrame({"method": name, "seed": seed, "benchmark": f"simulated/{measure}", "item_id": ids})
            for name, measure, seed in self._trained
        ]
        self._table = pd.concat(parts, ignore_index=True).assign(
            measure="accuracy", value=0.0, tie=False, image_id=ids * len(parts), tag=None, chosen=None
        )

    def draw(self, rng: Generator) -> pd.DataFrame:
        """One table."""
        world = self._world
        shared = world.image_sd * rng.normal(size=(world.measures, world.images))
        own = world.own_sd * rng.normal(size=(self._own.max() + 1, world.images))
        seed = world.seed_sd * rng.normal(size=(len(self._trained), 1))
        logit = self._level[:, None] + shared[self._measure] + own[self._own] + seed
        right = rng.random(logit.shape) < 1 / (1 + np.exp(-logit))
        return self._table.assign(value=right.ravel().astype(float))


def called(world: World, trials: int, seed: int) -> int:
    """In how many of `trials` runs drawn from the world the driver is called a carrier."""
    rng, outcomes = np.random.default_rng(seed), Outcomes(world)
    return sum(
        bool(
            carriers(attribution_table(outcomes.draw(rng), "simulated", PARTS, 1, level=LEVEL), LEVEL)
            .set_index("claim")
            .loc[DRIVER, "holds"]
        )
        for _ in range(trials)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="runs drawn from each world")
    trials = parser.parse_args().trials
    print("| constant costs | shuffle costs | images | seeds | seed effect | carries | called so, % | 95 % |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for number, world in enumerate(WORLDS):
        found = binomtest(called(world, trials, number), trials)
        low, high = found.proportion_ci(method="exact")
        what = (f"{world.constant:g}", f"{world.shuffled:g}", world.images, world.seeds, f"{world.seed_sd:g}")
        shares = (f"{100 * found.statistic:.1f}", f"{100 * low:.1f} to {100 * high:.1f}")
        print("|", " | ".join(map(str, (*what, "yes" if world.carried else "no", *shares))), "|", flush=True)


if __name__ == "__main__":
    main()
