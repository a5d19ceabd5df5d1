"""Names, orders and table layouts that several sections share."""

import pandas as pd

from vialign.config.experiment import Config
from vialign.report.tables import Show

SIGNAL_NAMES = {
    "consistency": "C, calibrated",
    "consistency_raw": "C, raw",
    "agreement": "agreement",
    "s_global": "S global",
    "s_local": "S local, geometry",
    "s_local_plain": "S local, plain",
    "s_sum": "S global + S local",
    "certainty": "certainty",
    "s_token": "FILIP tokens",
    "s_words": "F-CLIPScore",
    "blind": "text alone",
}
"""What a signal is called in figures; tables keep the name in the file."""

REFERENCE_MEANINGS = {
    "s_token": "each token of the caption takes the patch of the image that it resembles most, and the cosines are "
    "averaged; no prototypes, no phrases.",
    "s_words": "the mean cosine of the whole image with the whole caption and with each of its nouns alone; it sees "
    "what is named, and nothing of how it combines.",
    "blind": "a classifier that sees no image, fitted on the words of the training captions against those of their "
    "rule-made negatives; where it succeeds, the wrong captions give themselves away by their wording.",
}
"""What a reference signal is, as a sentence after its name."""

MEASURE_NAMES = {
    "r1": "R@1",
    "r5": "R@5",
    "r10": "R@10",
    "text": "text score",
    "image": "image score",
    "group": "group score",
    "match": "group match",
    "both_right": "both right",
    "text_only": "both right, text only",
    "image_choice": "image choice",
    "statement": "statements",
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

RANK_COLUMNS = (
    Show("benchmark", "Benchmark"),
    Show("median_rank", "Median rank", "number"),
    Show("map_at_r", "mAP@R, %", "percent"),
    Show("queries", "Queries", "count"),
    Show("gallery", "Gallery", "count"),
)


def words(name: object) -> str:
    """A name of a file as words of a figure."""
    return str(name).replace("_", " ")


def signal_name(name: str) -> str:
    """What a signal is called in figures."""
    return SIGNAL_NAMES.get(name, words(name))


def method_order(config: Config, frame: pd.DataFrame) -> list[str]:
    """Methods in the config's order, then the rest by name: the order of colours in every figure."""
    return [*config.training.methods, *sorted(set(frame["method"].unique()) - set(config.training.methods))]


def by_method(config: Config, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its methods in the order of `method_order`, otherwise as it was."""
    places = {method: place for place, method in enumerate(method_order(config, frame))}
    return frame.sort_values("method", key=lambda names: names.map(places), kind="stable")


def benchmark_name(frame: pd.DataFrame) -> pd.Series:
    """Benchmark without its split, and measure, as a label."""
    benchmark = frame["benchmark"].str.split("/").str[-1].map(words)
    return benchmark + ", " + frame["measure"].map(lambda name: MEASURE_NAMES.get(name, words(name)))


def cost_caveat(row: pd.Series) -> str:
    """What must stand beside a cost whose limit is undecided; nothing beside others."""
    return " (undecided)" if row["outcome"] == "undecided" else ""
