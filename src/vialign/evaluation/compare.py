"""Tables of results and paired comparisons from the stored outcomes of every method."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Float

from vialign.evaluation.conventions import TagRule, aro_tag_rules, lenient_outcomes, published_outcomes
from vialign.evaluation.statistics import holm, wilson_interval
from vialign.evaluation.two_level import Contrast, Estimates, difference_of, linearised, mean_of, two_level
from vialign.tables.evaluation import COMPARISONS, RESULTS

REFERENCES = ("frozen", "lora", "grounding")
"""Methods that every other method is held against, as far as they are among them. Word grounding is one, because the
curriculum may have it too: the difference is what the modules add.
"""


@dataclass(frozen=True)
class Measured:
    """One benchmark and measure: the outcomes of all methods and seeds on the same items, image by image."""

    benchmark: str
    measure: str
    methods: dict[str, dict[int, int]]
    """Column of each training seed, by method."""
    items: int
    images: int
    ties: Float[np.ndarray, "column"]
    """Ties of each column."""
    micro: Float[np.ndarray, "image column"]
    """Linearised values of the mean over items."""
    macro: Float[np.ndarray, "image column"] | None
    """Linearised values of the mean over tags; none where items have no tags."""

    def mean(self, method: str) -> Contrast:
        """The mean of a method over its seeds."""
        return mean_of(list(self.methods[method].values()), self.micro.shape[1])

    def difference(self, method: str, reference: str) -> Contrast:
        """The mean of a method minus that of a reference, paired where both have seeds in common."""
        return difference_of(self.methods[method], self.methods[reference], self.micro.shape[1])


def measured(outcomes: pd.DataFrame) -> Iterator[Measured]:
    """Every benchmark and measure of OUTCOMES.

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
        image, images = _codes(items["image_id"])
        tag, tags = _codes(items["tag"]) if items["tag"].notna().all() else (np.zeros(len(items), np.int64), 1)
        sums, counts = _image_sums(wide.to_numpy(), image, images, tag, tags)
        methods: dict[str, dict[int, int]] = {}
        for column, (method, number) in enumerate(cast(list[tuple[str, int]], wide.columns.tolist())):
            methods.setdefault(method, {})[int(number)] = column
        yield Measured(
            benchmark=benchmark,
            measure=measure,
            methods=methods,
            items=len(items),
            images=images,
            ties=rows.groupby(["method", "seed"], observed=True)["tie"].sum().reindex(wide.columns).to_numpy(float),
            micro=linearised(sums.sum(axis=2, keepdims=True), counts.sum(axis=1, keepdims=True)),
            macro=linearised(sums, counts) if tags > 1 else None,
        )


def published_tag_rules() -> dict[str, TagRule]:
    """Which tags the authors of a benchmark count in their macro mean."""
    from vialign.data.benchmarks.aro import SYMMETRIC_RELATIONS

    return aro_tag_rules(SYMMETRIC_RELATIONS)


def results_table(
    outcomes: pd.DataFrame, level: float = 0.05, tag_rules: Mapping[str, TagRule] | None = None
) -> pd.DataFrame:
    """RESULTS: mean of every method on every benchmark over items and seeds, in every convention that applies.

    Micro always, macro where items have tags, lenient where there are ties, and published where `tag_rules` (by
    benchmark) say which tags the authors of a benchmark count; see `vialign.evaluation.conventions`.

    The interval is that of the two-level model of images and seeds, of images alone for a method with one seed; where
    every item has the same 0/1 outcome, which the model takes for nearly certain, it is Wilson's for as many trials as
    there are images.
    """
    rows: list[dict[str, object]] = []
    for convention, read in (
        ({"micro": "micro", "macro": "macro"}, outcomes),
        ({"micro": "lenient"}, lenient_outcomes(outcomes)),
        ({"macro": "published"}, published_outcomes(outcomes, tag_rules or {})),
    ):
        for part in measured(read):
            rows += _result_rows(part, convention, level)
    return RESULTS.check(pd.DataFrame(rows)) if rows else RESULTS.empty()


def _result_rows(part: Measured, names: Mapping[str, str], level: float) -> Iterator[dict[str, object]]:
    """RESULTS rows of one benchmark and measure; `names` maps the means to take to the convention they stand for."""
    for mean, values in (("micro", part.micro), ("macro", part.macro)):
        if values is None or mean not in names:
            continue
        found = two_level(values, [part.mean(method) for method in part.methods])
        lows, highs = found.interval(level)
        for (method, columns), value, low, high in zip(part.methods.items(), found.value, lows, highs, strict=True):
            # Linearised values are means up to rounding.
            value = float(np.clip(value, 0, 1))
            if min(value, 1 - value) < 1e-9:
                value = float(round(value))
                low, high = wilson_interval(value * part.images, part.images, level)
            yield {
                "method": method,
                "benchmark": part.benchmark,
                "measure": part.measure,
                "convention": names[mean],
                "value": value,
                "low": float(np.clip(low, 0, 1)),
                "high": float(np.clip(high, 0, 1)),
                "items": part.items,
                "seeds": len(columns),
                "ties": int(part.ties[list(columns.values())].sum()),
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
    outcomes: pd.DataFrame, pairs: Sequence[tuple[str, str]] | None = None, level: float = 0.05
) -> pd.DataFrame:
    """COMPARISONS: each pair of a method and a reference (`reference_pairs` by default), paired by item and seed.

    Intervals, p-values and detectable differences are those of `vialign.evaluation.two_level`; `difference_of` there
    says how methods with different seeds are held against each other. Micro means only; Holm's correction is over all
    rows.
    """
    if pairs is None:
        pairs = reference_pairs(list(dict.fromkeys(outcomes["method"])))
    frames = []
    for part in measured(outcomes) if pairs else ():
        found = two_level(part.micro, [part.difference(*pair) for pair in pairs])
        frames.append(
            pd.DataFrame(
                {
                    "method": [method for method, _ in pairs],
                    "reference": [reference for _, reference in pairs],
                    "benchmark": part.benchmark,
                    "measure": part.measure,
                    **difference_columns(found, level),
                    "p_value": found.p_value,
                    "detectable": found.detectable_share(level),
                    "items": part.items,
                }
            )
        )
    if not frames:
        return COMPARISONS.empty()
    table = pd.concat(frames, ignore_index=True)
    table["p_holm"] = holm(table["p_value"].to_numpy())
    return COMPARISONS.check(table)


def difference_columns(found: Estimates, level: float) -> dict[str, np.ndarray]:
    """Columns of differences of means of outcomes in [0, 1]: their intervals, cut to [-1, 1], and what they rest on."""
    (low, high), (item_low, item_high) = found.interval(level), found.item_interval(level)
    return {
        "difference": found.value,
        "low": low.clip(-1, 1),
        "high": high.clip(-1, 1),
        "item_low": item_low.clip(-1, 1),
        "item_high": item_high.clip(-1, 1),
        "seed_spread": found.seed_spread,
        "seeds": found.seeds.astype(np.int64),
        "df": found.df,
    }


def _codes(labels: pd.Series) -> tuple[np.ndarray, int]:
    codes, unique = pd.factorize(labels, sort=True)
    return codes, len(unique)


def _image_sums(
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
