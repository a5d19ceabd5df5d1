"""Names, orders and table layouts that several sections share."""

import pandas as pd

from vialign.config import Config
from vialign.report.tables import Show

SIGNAL_NAMES = {
    "consistency": "C, calibrated",
    "consistency_raw": "C, raw",
    "agreement": "agreement",
    "s_global": "S global",
    "s_local": "S local",
    "s_sum": "S global + S local",
    "certainty": "certainty",
}
"""What a signal is called in figures; tables keep the name in the file."""

MEASURE_NAMES = {
    "r1": "R@1",
    "r5": "R@5",
    "r10": "R@10",
    "text": "text score",
    "image": "image score",
    "group": "group score",
    "accuracy": "accuracy",
    "soft_accuracy": "soft accuracy",
}

QUALITY_COLUMNS = (
    Show("subject", "Subject"),
    Show("domain", "Data"),
    Show("measure", "Measure"),
    Show("value", "Value", "number", "low", "high"),
    Show("count", "Items", "count"),
)


def words(name: object) -> str:
    """A name of a file as words of a figure."""
    return str(name).replace("_", " ")


def method_order(config: Config, frame: pd.DataFrame) -> list[str]:
    """Methods in the config's order, then the rest by name: the order of colours in every figure."""
    return [*config.training.methods, *sorted(set(frame["method"]) - set(config.training.methods))]


def by_method(config: Config, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its methods in the order of `method_order`, otherwise as it was."""
    places = {method: place for place, method in enumerate(method_order(config, frame))}
    return frame.sort_values("method", key=lambda names: names.map(places), kind="stable")


def benchmark_name(frame: pd.DataFrame) -> pd.Series:
    """Benchmark without its split, and measure, as a label."""
    benchmark = frame["benchmark"].str.split("/").str[-1].map(words)
    return benchmark + ", " + frame["measure"].map(lambda name: MEASURE_NAMES.get(name, words(name)))
