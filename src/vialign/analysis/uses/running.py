"""The trainings of C at work: the same recipe with noisy captions, or with captions that join in an order."""

from collections.abc import Mapping, Sequence

import pandas as pd

from vialign.analysis.attribution.running import Build, final_outcomes, measured_captions
from vialign.analysis.uses.names import CHOICES, ORDERS, RULES, Noise
from vialign.analysis.uses.noise import Weighed, noisy, rule_of
from vialign.analysis.uses.order import batches_of
from vialign.config.methods import TrainingConfig
from vialign.methods.objective import SplitData
from vialign.progress import track
from vialign.tables.evaluation import OUTCOMES
from vialign.training.loop import train


def noise_outcomes(
    build: Build,
    data: Mapping[str, SplitData],
    measured: str,
    config: TrainingConfig,
    conditions: Sequence[Noise],
    *,
    peak_rate: float,
    seeds: Sequence[int],
    steps: int,
    images: int,
) -> pd.DataFrame:
    """OUTCOMES on the split `measured` after training under each condition by each rule; the method column says
    `<condition>: <rule>`.

    `data` has `train` and `measured`, and only `train` is made noisy. Without noise a rule that chooses chooses all, so
    there it is not trained.
    """
    shown = measured_captions(data[measured], images, 0)
    tried = [(noise, name) for noise in conditions for name in RULES if noise.share or name not in CHOICES.values()]
    frames = [OUTCOMES.empty()]
    for noise, name in track(tried, "noisy captions"):
        for seed in seeds:
            here = noisy(data["train"], noise, seed)
            inner = build(seed)
            method = Weighed(inner, rule_of(name, inner, here, noise.share))
            train(method, here, here, config, peak_rate=peak_rate, seed=seed, to_step=steps, looks=())
            frames.append(final_outcomes(method, shown, f"{noise.name}: {name}", measured, seed))
    return pd.concat(frames, ignore_index=True)


def order_outcomes(
    build: Build,
    data: Mapping[str, SplitData],
    measured: str,
    config: TrainingConfig,
    *,
    peak_rate: float,
    seeds: Sequence[int],
    steps: int,
    checks: int,
    images: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """OUTCOMES averaged over `checks` evenly spread looks, and CURVES: the mean at each look.

    An outcome averaged over the looks is the item's share in the area under the learning curve, so the areas are paired
    by item as everything else is.
    """
    shown = measured_captions(data[measured], images, 0)
    ends = sorted({max(1, round(steps * number / checks)) for number in range(1, checks + 1)})
    areas, curves = [], []
    for name in track(ORDERS, "curriculum in time"):
        for seed in seeds:
            method = build(seed)
            batches = batches_of(name, method, data["train"], config.batch, steps, seed)
            start, looks = None, []
            for end in ends:
                result = train(
                    method,
                    data["train"],
                    data["train"],
                    config,
                    peak_rate=peak_rate,
                    seed=seed,
                    to_step=end,
                    start=start,
                    looks=(),
                    batches=batches,
                )
                start = result.checkpoint
                looks.append(final_outcomes(method, shown, name, measured, seed))
            areas.append(averaged(looks))
            means = [look.groupby(["benchmark", "measure"], observed=True)["value"].mean() for look in looks]
            curve = pd.concat(dict(zip(ends, means, strict=True)), names=["step"]).reset_index()
            curves.append(curve.assign(order=name, seed=seed))
    return pd.concat(areas, ignore_index=True), pd.concat(curves, ignore_index=True)


def averaged(looks: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The first of these OUTCOMES, which hold the same items in the same order, with the mean value of all."""
    values = sum(look["value"].astype(float) for look in looks) / len(looks)
    return looks[0].assign(value=values, tie=False, chosen=None)
