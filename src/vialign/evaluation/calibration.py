"""Whether the frozen backbone reproduces published numbers, before its data counts."""

from collections.abc import Sequence
from importlib.resources import files

import pandas as pd

from vialign.config import ExpectedValue
from vialign.errors import UserError
from vialign.tables import CALIBRATION

_RETRIEVAL = ("image_to_text", "text_to_image")


def published_values() -> pd.DataFrame:
    """The published values that ship with the package.

    Columns: architecture and checkpoint (open_clip names), benchmark (data set, or choice benchmark), metric
    (`<direction>_<measure>`, a measure, or `macro_<measure>`), percent, tolerance (percentage points), source.
    """
    with (files("vialign.evaluation") / "published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def check_calibration(
    results: pd.DataFrame,
    architecture: str,
    checkpoint: str | None,
    dataset: str,
    expected: Sequence[ExpectedValue] = (),
    *,
    method: str = "frozen",
    split: str = "test",
) -> pd.DataFrame:
    """CALIBRATION: every published or expected value that RESULTS of the frozen backbone can be held against.

    Published values count for this architecture and checkpoint tag: those of retrieval where `dataset` is the data
    set they are about, those of choice benchmarks where `results` holds a benchmark of that name (never in the
    embedded world, which borrows the forms of those benchmarks but not their items). Empty when there are none.
    Raises UserError when an expected value names a benchmark or measure that was not evaluated.
    """
    own = results[results["method"] == method]
    measured = own.set_index(["benchmark", "measure", "convention"])["value"].to_dict()
    rows = []
    for row in published_values().to_dict("records"):
        if (row["architecture"], row["checkpoint"]) != (architecture, checkpoint):
            continue
        retrieval = row["metric"].startswith(_RETRIEVAL)
        if (row["benchmark"] != dataset) if retrieval else (dataset == "scenes"):
            continue
        found = measured.get(_place(row["benchmark"], row["metric"], split))
        if found is not None:
            rows.append(
                _row(row["benchmark"], row["metric"], row["percent"], 100 * found, row["tolerance"], row["source"])
            )
    for value in expected:
        found = measured.get((value.benchmark, value.metric, "micro"))
        if found is None:
            raise UserError(
                f"config: evaluation.expected: {value.benchmark}, {value.metric} was not evaluated for {method}; "
                "correct the name or remove the entry"
            )
        rows.append(_row(value.benchmark, value.metric, value.percent, 100 * found, value.tolerance, value.source))
    return CALIBRATION.check(pd.DataFrame(rows)) if rows else CALIBRATION.empty()


def _place(benchmark: str, metric: str, split: str) -> tuple[str, str, str]:
    """Where a published value stands in RESULTS: benchmark, measure, convention."""
    for direction in _RETRIEVAL:
        if metric.startswith(f"{direction}_"):
            return f"{split}/{direction}", metric.removeprefix(f"{direction}_"), "micro"
    if metric.startswith("macro_"):
        return f"{split}/{benchmark}", metric.removeprefix("macro_"), "macro"
    return f"{split}/{benchmark}", metric, "micro"


def _row(
    benchmark: str, metric: str, published: float, measured: float, tolerance: float, source: str
) -> dict[str, object]:
    return {
        "benchmark": benchmark,
        "metric": metric,
        "published": published,
        "measured": measured,
        "tolerance": tolerance,
        # A difference of exactly the tolerance passes; 1e-9 is for its rounding in binary.
        "passed": abs(measured - published) <= tolerance + 1e-9,
        "source": source,
    }
