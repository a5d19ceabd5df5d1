"""Names, orders and table layouts that several sections share."""

import pandas as pd

from vialign.config.experiment import Config
from vialign.report.tables import Show

SIGNAL_NAMES = {
    "consistency": "C, calibrated",
    "consistency_raw": "C, raw",
    "agreement": "agreement",
    "s_global": "S global",
    "s_local": "S local",
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

METHOD_MEANINGS = {
    "frozen": ("Frozen", "the backbone as loaded; nothing is trained."),
    "lora": ("LoRA", "low-rank changes of the attention projections of both towers (Hu et al.)."),
    "adapter": ("Adapter", "bottleneck layers inside the blocks of both towers (Houlsby et al.)."),
    "clip-adapter": ("CLIP-Adapter", "a residual bottleneck on each tower's embedding (Gao et al.)."),
    "bitfit": ("BitFit", "the biases of both towers and nothing else (Ben-Zaken et al.)."),
    "prompt": ("Prompt tuning", "learned tokens in every block of both towers (VPT-deep, Jia et al.)."),
    "coop": ("CoOp", "learned vectors in front of each caption, for retrieval (Zhou et al.)."),
    "filip": ("FILIP", "best matches between single patches and words, beside the embeddings (Yao et al.)."),
    "vinvl": ("VinVL", "words against boxes with object tags, beside the embeddings (Zhang et al.; Oscar, Li et al.)."),
    "uniter": ("UNITER", "a small transformer over boxes and words, beside the embeddings (Chen et al.)."),
    "vialign": ("vialign", "the curriculum with all its modules."),
    "vialign-guided": ("vialign, guided rate", "the same, with a learning rate that follows mean C (exploratory)."),
}
"""What a method is called among people, and what it is, as a sentence after its name."""

METHOD_SUPERVISION = {
    "vinvl": "boxes with labels of every image, those that it is tested on included",
    "uniter": "boxes of every image, those that it is tested on included, and one pass for every pair of a gallery",
    "vialign": "boxes with labels of some training images, for its dictionary, where the data set has them",
}
"""What a method is told beyond images and captions, as the end of a sentence; subsets of `vialign` are told as much."""

_MODULE_WORDS = {
    "reweight": "reweighting",
    "regularise": "regularisation",
    "correct": "correction",
    "none": "none of its modules",
}

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


def signal_name(name: str) -> str:
    """What a signal is called in figures."""
    return SIGNAL_NAMES.get(name, words(name))


def method_meaning(method: str) -> tuple[str, str]:
    """Name among people and what it is; a subset of the curriculum's modules says which it has."""
    if method in METHOD_MEANINGS:
        return METHOD_MEANINGS[method]
    modules = [_MODULE_WORDS.get(part, part) for part in method.split("-")[1:]]
    return method, f"the curriculum with {' and '.join(modules)}."


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
