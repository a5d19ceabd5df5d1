"""Retrieval against composition over published checkpoints, and what tuning for composition costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vialign.config.evaluation import ReportConfig
from vialign.data.folders import EMBEDDED
from vialign.errors import UserError
from vialign.evaluation.published_means import MEANS
from vialign.evaluation.published_values import NAMES, percents, read_published

RETRIEVAL = {"flickr30k": ("flickr_i2t", "flickr_t2i"), "coco": ("coco_i2t", "coco_t2i")}
"""Columns with R@1 of both directions, by data set."""
GROUPS = {"winoground": "Winoground, group score", "colorswap": "ColorSwap, group score"}
GROUPS |= {"mmvp_vlm": "MMVP-VLM, group score"}
"""Columns with the group score of one benchmark."""
COMPOSITION = {**{name: mean.what for name, mean in MEANS.items()}, **GROUPS}
"""Columns whose value is one that a run measures too, with what it is."""
AVERAGES = ("comp_avg", "i2t_avg", "t2i_avg")
"""Means over benchmarks as the source computes them."""
TUNED = "-ft"
"""How the checkpoint of a model ends that was tuned from another."""


@dataclass(frozen=True)
class Frontier:
    """Published checkpoints, one row each."""

    path: Path
    table: pd.DataFrame
    """`model` (architecture and checkpoint), `family`, `tuned`, and every column of numbers, percent; nan where the
    file has none."""

    @property
    def benchmarks(self) -> list[str]:
        """Columns with a value of one benchmark."""
        return [name for name in self.table.columns if name not in ("model", "family", "tuned", *AVERAGES)]


def read_frontier(path: Path) -> Frontier:
    """Read a file with a row a checkpoint, in the wide form of `vialign.evaluation.published_values`.

    Raises UserError where a column is missing, a mean is empty, a value is no percentage, or a checkpoint of one family
    comes twice; the exact same row twice is one.
    """
    text = read_published(path).drop_duplicates()
    wanted = [*NAMES, *AVERAGES, *(name for pair in RETRIEVAL.values() for name in pair)]
    missing = next((name for name in wanted if name not in text.columns), None)
    if missing is not None:
        raise UserError(
            f"{path}: no column `{missing}`, only {', '.join(text.columns)}; the frontier is a row a checkpoint with "
            f"{', '.join(wanted)}"
        )
    family = text.get("family", pd.Series("", index=text.index))
    model = text["architecture"] + ", " + text["checkpoint"]
    # Two sources may call their checkpoints alike.
    model = model.mask(model.duplicated(keep=False) & (family != ""), model + " (" + family + ")")
    twice = model[model.duplicated()]
    if len(twice):
        raise UserError(f"{path}: {twice.iloc[0]} comes twice with different values; keep one row")
    numbers = {name: percents(path, text, name) for name in text.columns if name not in (*NAMES, "family")}
    empty = next((name for name in AVERAGES if numbers[name].isna().all()), None)
    if empty is not None:
        raise UserError(
            f"{path}: column `{empty}` holds no number, and the frontier is drawn by it; get the file again"
        )
    table = pd.DataFrame({"model": model, "family": family, "tuned": text["checkpoint"].str.endswith(TUNED), **numbers})
    return Frontier(path, table.reset_index(drop=True))


def on_frontier(table: pd.DataFrame, x: str, y: str) -> pd.Series:
    """Which rows no other row beats in both columns: none is higher in one and at least as high in the other."""
    values = table[[x, y]].to_numpy(float)
    beaten = [bool(((values >= row).all(axis=1) & (values > row).any(axis=1)).any()) for row in values]
    return pd.Series(beaten, index=table.index).eq(False)


def tuning_costs(frontier: Frontier, base: str) -> pd.DataFrame:
    """Every tuned checkpoint less the one it started from: `model`, and the differences of every column, in points.

    The file does not say what a checkpoint was tuned from; `base` names it, `architecture, checkpoint`, for all.
    Raises UserError when the file has no such checkpoint.
    """
    check_base(frontier, base)
    rows = frontier.table.set_index("model")
    tuned = rows[rows["tuned"].astype(bool)]
    names = [*frontier.benchmarks, *(name for name in AVERAGES if name in rows)]
    return (tuned[names] - rows.loc[base, names].astype(float)).reset_index()


def check_base(frontier: Frontier, base: str) -> None:
    """Raises UserError when the file has no checkpoint of that name."""
    names = frontier.table["model"]
    if base not in set(names):
        near = [name for name in names if name.split(", ")[-1] == base.split(", ")[-1]][:3]
        hint = f" (there are {'; '.join(near)})" if near else ""
        raise UserError(
            f"{frontier.path}: has no checkpoint {base!r}{hint}; name one of its rows with --base, or in a run with "
            "`report.frontier_base`"
        )


def check_frontier(report: ReportConfig) -> None:
    """Raises UserError where the file that a report is to draw is missing, is none, or lacks its base."""
    if report.frontier is not None:
        check_base(read_frontier(Path(report.frontier)), report.frontier_base)


def own_points(results: pd.DataFrame, dataset: str, split: str) -> pd.DataFrame:
    """What RESULTS of a run say of the frontier's columns: one row a method, percent; nan where it was not measured.

    Empty where the run's data set is not one of `RETRIEVAL`: its recall could be compared with nothing.
    """
    methods: Sequence[str] = list(dict.fromkeys(results["method"]))
    columns = ["model", *(name for pair in RETRIEVAL.values() for name in pair), *COMPOSITION]
    if dataset not in RETRIEVAL or dataset in EMBEDDED:
        return pd.DataFrame(columns=columns)
    rows = []
    for method in methods:
        own = results[results["method"] == method]
        values = own[own["convention"] == "micro"].set_index(["benchmark", "measure"])["value"]
        found: dict[str, object] = {"model": method}
        for name, direction in zip(RETRIEVAL[dataset], ("image_to_text", "text_to_image"), strict=True):
            found[name] = values.get((f"{split}/{direction}", "r1"))
        found |= {name: values.get((f"{name}/{name}", "group")) for name in GROUPS}
        found |= {name: mean.of(own) for name, mean in MEANS.items()}
        rows.append(found)
    table = pd.DataFrame(rows, columns=columns)
    table[columns[1:]] = 100 * table[columns[1:]].astype(float)
    return table
