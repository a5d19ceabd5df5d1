"""Tables of results and paired comparisons from the stored outcomes of every method."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Float

from vialign.evaluation.conventions import TagRule, aro_tag_rules, lenient_outcomes, published_outcomes
from vialign.evaluation.statistics import (
    detectable_effect,
    holm,
    interval,
    mcnemar,
    normal_p_value,
    replicate_means,
    seed_weights,
    wilson_interval,
)
from vialign.tables.evaluation import COMPARISONS, RESULTS

REFERENCES = ("frozen", "lora")
"""Methods that every other method is held against."""


@dataclass(frozen=True)
class Bootstrapped:
    """One benchmark and measure: the outcomes of all methods, item by item, and the bootstrap of their means."""

    benchmark: str
    measure: str
    methods: dict[str, list[int]]
    """Columns of each method, one a training seed, in order of the seeds."""
    seeds: list[int]
    """Training seed of each column."""
    values: Float[np.ndarray, "item column"]
    ties: Float[np.ndarray, "column"]
    """Ties of each column."""
    independent: bool
    """Whether each image has one item."""
    clusters: int
    """Images."""
    micro: Float[np.ndarray, "replicate column"]
    """Bootstrap of the mean over items."""
    macro: Float[np.ndarray, "replicate column"] | None
    """Bootstrap of the mean over tags; none where items have no tags."""
    macro_value: Float[np.ndarray, "column"]
    """Mean over tags."""

    def seeds_of(self, method: str) -> list[int]:
        """Training seeds of a method."""
        return [self.seeds[column] for column in self.methods[method]]

    def over_seeds(
        self, replicates: Float[np.ndarray, "replicate column"], method: str, seed: int
    ) -> Float[np.ndarray, "replicate"]:
        """Bootstrap of a method's mean over its training seeds."""
        weights = seed_weights(self.seeds_of(method), len(replicates), seed)
        return (weights * replicates[:, self.methods[method]]).sum(axis=1)


def bootstrap_outcomes(outcomes: pd.DataFrame, replicates: int, seed: int = 0) -> Iterator[Bootstrapped]:
    """Every benchmark and measure of OUTCOMES, bootstrapped for all methods at once.

    Raises ValueError when two methods or seeds were not measured on the same items: their difference would not be
    paired.
    """
    for name, rows in outcomes.groupby(["benchmark", "measure"], sort=True, observed=True):
        benchmark, measure = cast(tuple[str, str], name)
        rows = rows.assign(value=rows["value"].astype(np.float64))
        wide = rows.pivot(index="item_id", columns=["method", "seed"], values="value").sort_index(axis=1)
        if wide.isna().to_numpy().any():
            method, number = cast(tuple[str, int], wide.columns[wide.isna().any(axis=0)][0])
            raise ValueError(f"{benchmark}, {measure}: {method}, seed {number} lacks items that others have")
        items = rows.drop_duplicates("item_id").set_index("item_id").loc[wide.index]
        values = wide.to_numpy()
        image, images = _codes(items["image_id"])
        tag, tags = _codes(items["tag"]) if items["tag"].notna().all() else (np.zeros(len(items), np.int64), 1)
        sums, counts = _cluster_sums(values, image, images, tag, tags)
        # All items together are one more "tag", so that micro and macro means come from the same resamples.
        means = replicate_means(
            np.concatenate([sums, sums.sum(axis=2, keepdims=True)], axis=2),
            np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1),
            replicates,
            seed,
        )
        columns = cast(list[tuple[str, int]], wide.columns.tolist())
        methods: dict[str, list[int]] = {}
        for position, (method, _) in enumerate(columns):
            methods.setdefault(method, []).append(position)
        yield Bootstrapped(
            benchmark=benchmark,
            measure=measure,
            methods=methods,
            seeds=[int(number) for _, number in columns],
            values=values,
            ties=rows.groupby(["method", "seed"], observed=True)["tie"].sum().reindex(wide.columns).to_numpy(float),
            independent=images == len(items),
            clusters=images,
            micro=means[:, :, -1],
            macro=np.nanmean(means[:, :, :-1], axis=2) if tags > 1 else None,
            macro_value=(sums.sum(axis=0) / counts.sum(axis=0)).mean(axis=1),
        )


def published_tag_rules() -> dict[str, TagRule]:
    """Which tags the authors of a benchmark count in their macro mean."""
    from vialign.data.benchmarks.aro import SYMMETRIC_RELATIONS

    return aro_tag_rules(SYMMETRIC_RELATIONS)


def results_table(
    outcomes: pd.DataFrame,
    replicates: int = 2000,
    level: float = 0.05,
    seed: int = 0,
    tag_rules: Mapping[str, TagRule] | None = None,
) -> pd.DataFrame:
    """RESULTS: mean of every method on every benchmark over items and seeds, in every convention that applies.

    Micro always, macro where items have tags, lenient where there are ties, and published where `tag_rules` (by
    benchmark) say which tags the authors of a benchmark count; see `vialign.evaluation.conventions`.

    The interval is that of the bootstrap over images and seeds; where every item has the same 0/1 outcome, which a
    bootstrap takes for certainty, it is Wilson's for as many trials as there are images.
    """
    rows: list[dict[str, object]] = []
    for convention, read in (
        ({"micro": "micro", "macro": "macro"}, outcomes),
        ({"micro": "lenient"}, lenient_outcomes(outcomes)),
        ({"macro": "published"}, published_outcomes(outcomes, tag_rules or {})),
    ):
        for part in bootstrap_outcomes(read, replicates, seed):
            rows += _result_rows(part, convention, level, seed)
    return RESULTS.check(pd.DataFrame(rows)) if rows else RESULTS.empty()


def _result_rows(part: Bootstrapped, names: Mapping[str, str], level: float, seed: int) -> Iterator[dict[str, object]]:
    """RESULTS rows of one benchmark and measure; `names` maps the means to take to the convention they stand for."""
    means = {"micro": (part.values.mean(axis=0), part.micro)}
    if part.macro is not None:
        means["macro"] = (part.macro_value, part.macro)
    for mean, (value_of, drawn) in means.items():
        for method, columns in part.methods.items() if mean in names else ():
            value = float(value_of[columns].mean())
            low, high = (float(end) for end in interval(part.over_seeds(drawn, method, seed), level))
            if value in (0.0, 1.0):
                low, high = wilson_interval(value * part.clusters, part.clusters, level)
            yield {
                "method": method,
                "benchmark": part.benchmark,
                "measure": part.measure,
                "convention": names[mean],
                "value": value,
                "low": float(np.clip(low, 0, 1)),
                "high": float(np.clip(high, 0, 1)),
                "items": len(part.values),
                "seeds": len(columns),
                "ties": int(part.ties[columns].sum()),
            }


def reference_pairs(methods: Sequence[str], references: Sequence[str] = REFERENCES) -> list[tuple[str, str]]:
    """Every method against every reference; a pair of references appears once, the later one as the method."""
    return [
        (method, reference)
        for place, reference in enumerate(references)
        for method in methods
        if reference in methods and method not in references[: place + 1]
    ]


def family_pairs(methods: Sequence[str], own: Sequence[str]) -> list[tuple[str, str]]:
    """Every method against the frozen backbone, and each of the project's `own` against every other method."""
    others = [method for method in methods if method not in own and method != "frozen"]
    pairs = [(method, "frozen") for method in methods if method != "frozen" and "frozen" in methods]
    pairs += [(method, other) for method in methods if method in own for other in others]
    return pairs + [(later, first) for place, first in enumerate(own) for later in own[place + 1 :]]


def comparison_table(
    outcomes: pd.DataFrame,
    pairs: Sequence[tuple[str, str]] | None = None,
    replicates: int = 2000,
    level: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """COMPARISONS: each pair of a method and a reference (`reference_pairs` by default), paired by item and seed.

    Seeds are paired where both methods have them; a reference with other seeds enters with its own mean. Micro means
    only; Holm's correction is over all rows.
    """
    if pairs is None:
        pairs = reference_pairs(list(dict.fromkeys(outcomes["method"])))
    rows = []
    for part in bootstrap_outcomes(outcomes, replicates, seed):
        first = {method: part.values[:, columns[0]] for method, columns in part.methods.items()}
        binary = bool(np.isin(part.values, (0.0, 1.0)).all())
        over_seeds = {method: part.over_seeds(part.micro, method, seed) for method in part.methods}
        for method, reference in pairs:
            columns, others = part.methods[method], part.methods[reference]
            difference = float(part.values[:, columns].mean() - part.values[:, others].mean())
            drawn = over_seeds[method] - over_seeds[reference]
            low, high = interval(drawn, level)
            error = float(drawn.std(ddof=1))
            if binary and part.independent:
                p_value = mcnemar(first[method] == 1, first[reference] == 1)
            else:
                p_value = normal_p_value(difference, error)
            # Methods that agree on every item still could differ by one that was not drawn.
            floor = 1 / part.clusters
            rows.append(
                {
                    "method": method,
                    "reference": reference,
                    "benchmark": part.benchmark,
                    "measure": part.measure,
                    "difference": difference,
                    "low": float(low),
                    "high": float(high),
                    "p_value": p_value,
                    "detectable": detectable_effect(max(error, floor), level),
                    "items": len(part.values),
                }
            )
    if not rows:
        return COMPARISONS.empty()
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p_value"].to_numpy())
    return COMPARISONS.check(table)


def _codes(labels: pd.Series) -> tuple[np.ndarray, int]:
    codes, unique = pd.factorize(labels, sort=True)
    return codes, len(unique)


def _cluster_sums(
    values: Float[np.ndarray, "item column"], image: np.ndarray, images: int, tag: np.ndarray, tags: int
) -> tuple[Float[np.ndarray, "image column tag"], Float[np.ndarray, "image tag"]]:
    """Sum of outcomes and number of items by image and tag."""
    cell = image * tags + tag
    counts = np.bincount(cell, minlength=images * tags).reshape(images, tags)
    sums = np.stack(
        [np.bincount(cell, weights=column, minlength=images * tags).reshape(images, tags) for column in values.T],
        axis=1,
    )
    return sums, counts.astype(np.float64)
