"""Every table of the project, declared once: columns, types, units, ranges and meaning.

A stage writes a table with `vialign.artifacts.write_table(frame, TABLE, path, provenance)` and reads one with
`read_table(path, TABLE)`; both check the frame against the declaration, so a wrong column never reaches a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from vialign.names import BENCHMARKS, EMBEDDED_SPLITS, NEGATIVES


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    type: pa.DataType
    """Arrow type on disk."""
    meaning: str
    """What a value says, with its unit."""
    low: float | None = None
    """Smallest value allowed."""
    high: float | None = None
    """Largest value allowed."""
    values: tuple[str, ...] | None = None
    """Allowed values of a category."""
    optional: bool = False
    """Whether a value may be missing."""
    key: bool = False
    """Whether the column belongs to the row's key, which is unique."""


class Table:
    """A declared table: its name and its columns, in order."""

    def __init__(self, name: str, /, **columns: Column) -> None:
        self.name = name
        self.columns = columns

    def check(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with exactly the declared columns, in order.

        Raises ValueError naming the table, the column and the first offending row.
        """
        missing = [name for name in self.columns if name not in frame.columns]
        extra = [name for name in frame.columns if name not in self.columns]
        if missing or extra:
            raise ValueError(f"table {self.name}: missing columns {missing}, undeclared columns {extra}")
        frame = frame[list(self.columns)].reset_index(drop=True)
        for name, column in self.columns.items():
            self._check_column(name, column, frame[name])
        keys = [name for name, column in self.columns.items() if column.key]
        if keys:
            twice = frame.duplicated(keys)
            if twice.any():
                row = int(np.flatnonzero(twice)[0])
                raise ValueError(f"table {self.name}, row {row}: key {frame.loc[row, keys].to_dict()} appears twice")
        return frame

    def _check_column(self, name: str, column: Column, series: pd.Series) -> None:
        null = series.isna()
        bad = None
        if not column.optional and null.any():
            bad, why = null, "is missing"
        present = series[~null]
        if bad is None and (column.low is not None or column.high is not None):
            numbers = present.astype(float)
            low = -np.inf if column.low is None else column.low
            high = np.inf if column.high is None else column.high
            outside = (numbers < low) | (numbers > high)
            bad, why = outside, f"is outside [{low}, {high}]"
        if bad is None and column.values is not None:
            bad, why = ~present.isin(column.values), f"is not one of {column.values}"
        if bad is not None and bad.any():
            row = bad.index[bad][0]
            raise ValueError(f"table {self.name}, row {row}: {name} = {series[row]!r} {why}")

    def schema(self) -> pa.Schema:
        """The Arrow schema on disk."""
        return pa.schema([pa.field(name, column.type) for name, column in self.columns.items()])

    def to_arrow(self, frame: pd.DataFrame) -> pa.Table:
        """The checked frame as an Arrow table of the declared schema."""
        return pa.Table.from_pandas(frame, schema=self.schema(), preserve_index=False)

    def empty(self) -> pd.DataFrame:
        """A frame with the declared columns and no rows."""
        return self.schema().empty_table().to_pandas()


def text(meaning: str, *, optional: bool = False, key: bool = False) -> Column:
    """A string."""
    return Column(pa.string(), meaning, optional=optional, key=key)


def key(meaning: str) -> Column:
    """A string that, with the other keys, names the row."""
    return text(meaning, key=True)


def number_key(meaning: str) -> Column:
    """A whole number that, with the other keys, names the row."""
    return Column(pa.int64(), meaning, key=True)


def category(values: Sequence[str], meaning: str, *, optional: bool = False, key: bool = False) -> Column:
    """One of a closed list of strings."""
    return Column(pa.string(), meaning, values=tuple(values), optional=optional, key=key)


def whole(meaning: str, *, low: float | None = None, high: float | None = None, optional: bool = False) -> Column:
    """A whole number."""
    return Column(pa.int64(), meaning, low=low, high=high, optional=optional)


def number(meaning: str, *, low: float | None = None, high: float | None = None, optional: bool = False) -> Column:
    """A real number."""
    return Column(pa.float64(), meaning, low=low, high=high, optional=optional)


def unit_interval(meaning: str, *, optional: bool = False) -> Column:
    """A number in [0, 1], with room for rounding."""
    return number(meaning, low=-1e-6, high=1 + 1e-6, optional=optional)


def similarity(meaning: str, *, optional: bool = False) -> Column:
    """A cosine in [-1, 1], with room for rounding."""
    return number(meaning, low=-1.0001, high=1.0001, optional=optional)


def flag(meaning: str) -> Column:
    """True or false."""
    return Column(pa.bool_(), meaning)


def texts(meaning: str) -> Column:
    """A list of strings."""
    return Column(pa.list_(pa.string()), meaning)


def numbers(meaning: str) -> Column:
    """A list of real numbers."""
    return Column(pa.list_(pa.float64()), meaning)


# ---------------------------------------------------------------------------------------------------- data

BENCHMARK_SPLITS = tuple(BENCHMARKS)
"""Test splits of benchmarks that bring their own images."""
SPLITS = (
    "backbone",
    *EMBEDDED_SPLITS,
    *BENCHMARK_SPLITS,
)
NEGATIVE_KINDS = NEGATIVES

IMAGES = Table(
    "images",
    image_id=key("name of the image, unique in the data set; never a path"),
    split=category(SPLITS, "the one split the image belongs to"),
    path=text("file, relative to the folder of its source"),
    width=whole("pixels of what is seen: of the crop, where there is one", low=1),
    height=whole("pixels of what is seen", low=1),
    source=text("whose folder the path is relative to: `data` (the data set) or the name of a benchmark"),
    crop=numbers("x, y, width and height in pixels of the part of the file that is seen; empty: all of it"),
)

CAPTIONS = Table(
    "captions",
    caption_id=key("`<image_id>#<n>`"),
    image_id=text("the image it describes"),
    text=text("the caption as published"),
    tree=text("gold Penn Treebank brackets, where the data set has them", optional=True),
)

OBJECTS = Table(
    "objects",
    object_id=key("`<image_id>/<n>`"),
    image_id=text("the image it is in"),
    name=text("object class, a noun"),
    x=number("left edge, pixels", low=0),
    y=number("top edge, pixels", low=0),
    width=number("pixels", low=0),
    height=number("pixels", low=0),
    attributes=texts("attributes, such as colour and size"),
)

RELATIONS = Table(
    "relations",
    relation_id=key("`<image_id>/<n>`"),
    image_id=text("the image it holds in"),
    subject_id=text("object that the relation is said of"),
    predicate=text("relation, such as `above`"),
    object_id=text("object that it is said towards"),
)

CHOICES = Table(
    "choices",
    item_id=key("`<benchmark>/<n>`"),
    benchmark=text("winoground, aro_relation, aro_attribution, aro_order, ..."),
    split=category(SPLITS, "split of its images"),
    tag=text("class over which macro averages are taken: the predicate, the attribute pair, the tag"),
    images=texts("image ids: one, or two for Winoground"),
    texts=texts("candidate captions; candidate j is true of images[j], every later one is wrong"),
)

QUESTIONS = Table(
    "questions",
    question_id=key("`vqa/<n>`"),
    split=category(SPLITS, "split of its image"),
    image_id=text("the image asked about"),
    question=text("the question"),
    kind=category(("relation", "attribute"), "what must be understood to answer"),
    answers=texts("ten answers of people (embedded: of the world)"),
    candidates=texts("candidate answers that are ranked"),
    statements=texts("each candidate as a sentence, ranked by image-text score in the zero-shot form"),
)

RATINGS = Table(
    "ratings",
    image_id=key("rated image"),
    caption_id=key("rated caption, which may belong to another image"),
    source=key("who rated: `crowdflower`, `expert`"),
    judge=number_key("number of the judgement of this pair by this source, from 0"),
    rating=number("one judgement, or the mean of all where only that is published; higher is better"),
)

PROBLEMS = Table(
    "problems",
    file=text("file the problem is in"),
    row=text("line or key"),
    problem=text("what is wrong and what was done"),
)

DATA_CHECK = Table(
    "data_check",
    source=key("data set, benchmark or treebank, as the config names it"),
    counted=key("what was counted"),
    count=whole("how many were found", low=0, optional=True),
    published=whole("how many its authors say there are", low=0, optional=True),
    state=category(("as published", "differs", "counted", "missing"), "what that means"),
)

# ------------------------------------------------------------------------------------------------ language

UNIT_KINDS = ("entity", "attribute", "relation")

TEXTS = Table(
    "texts",
    text_id=key("caption id, `<caption_id>!<negative kind>`, `<item_id>:<candidate>` or `<question_id>:<candidate>`"),
    split=category(SPLITS, "split it belongs to"),
    image_id=text("image it is meant for (for a negative: the image of the caption it was made from)"),
    kind=category(("caption", *NEGATIVE_KINDS, "choice", "answer"), "what the text is"),
    text=text("the text itself"),
)

UNITS = Table(
    "units",
    text_id=key("text it belongs to"),
    unit=number_key("number of the unit inside its text, from 0, in order of its first character"),
    kind=category(UNIT_KINDS, "what the unit names"),
    start=whole("first character", low=0),
    end=whole("one past the last character", low=0),
    head_start=whole("first character of the head word", low=0),
    head_end=whole("one past the last character of the head word", low=0),
    subject=whole("unit that a relation is said of, or that an attribute modifies; -1 for none", low=-1),
    object=whole("unit that a relation is said towards; -1 for none", low=-1),
)

QUALITY = Table(
    "quality",
    subject=text("what was measured: tagger, span path, readout, dictionary, ..."),
    domain=text("data it was measured on"),
    measure=text("name of the measure"),
    value=number("value"),
    low=number("lower end of the 95 % interval", optional=True),
    high=number("upper end of the 95 % interval", optional=True),
    count=whole("items measured", low=0),
)

# ------------------------------------------------------------------------------------------------ features

FEATURE_SHARDS = Table(
    "feature_shards",
    shard=key("Parquet file of the shard, in the folder of the manifest"),
    rows=whole("rows of the shard", low=1),
    ids=texts("image or text ids of the rows, in order"),
)

# -------------------------------------------------------------------------------------------------- signal

PAIR_KINDS = ("aligned", "random", *NEGATIVE_KINDS)
SIGNALS = (
    "consistency",
    "consistency_raw",
    "agreement",
    "s_global",
    "s_local",
    "s_sum",
    "certainty",
)
REFERENCE_SIGNALS = ("s_token", "s_words", "blind")
"""Scores of other makers on the same pairs, which the signals are held against in the diagnosis."""

SIGNAL_CALIBRATION = Table(
    "signal_calibration",
    similarity=category(("s_global", "s_local"), "similarity that is mapped", key=True),
    slope=number("slope of the logistic map, never negative: 0 says that the similarity carries nothing", low=0),
    intercept=number("intercept of the logistic map"),
    free_slope=number("slope without the constraint; negative where aligned pairs score lower"),
    pairs=whole("pairs it was fitted on, aligned and random", low=0),
    auc=unit_interval("aligned against random pairs of the calibration split"),
    brier=unit_interval("mean squared error of the map, cross-fitted by image; guessing gives 0.25"),
    calibration_error=unit_interval(
        "mean distance of the map from the observed rate over ten equal bins, cross-fitted"
    ),
)

SIGNAL_SCORES = Table(
    "signal_scores",
    image_id=key("image"),
    text_id=key("text"),
    kind=category(PAIR_KINDS, "aligned, or the way in which the caption was made wrong"),
    s_global=similarity("cosine of the pooled embeddings"),
    s_local=similarity("weighted mean best match of phrases among prototypes"),
    s_global_calibrated=unit_interval("s_global after the monotone map"),
    s_local_calibrated=unit_interval("s_local after the monotone map"),
    consistency=unit_interval("C = 1 - |s_global - s_local| of the calibrated values"),
    consistency_raw=number("C = 1 - |s_global - s_local| of the raw cosines"),
    agreement=unit_interval("product of the calibrated similarities: high only where both are"),
    s_sum=number("sum of the calibrated similarities"),
    local_entropy=unit_interval("entropy of the match distribution over log K"),
    certainty=unit_interval("1 - local_entropy"),
)

REFERENCES = Table(
    "references",
    image_id=key("image"),
    text_id=key("text"),
    kind=category(PAIR_KINDS, "aligned, or the way in which the caption was made wrong"),
    s_token=similarity("mean over the caption's tokens of the largest cosine with a patch (FILIP)"),
    s_words=similarity("mean cosine of the image with the caption and with each of its nouns (F-CLIPScore)"),
    blind=number("log-odds of a caption by its words alone, from a classifier that sees no image", optional=True),
)

DIAGNOSIS = Table(
    "diagnosis",
    signal=key("which score discriminates"),
    kind=key("kind of misaligned pair it is held against"),
    auc=unit_interval(
        "area under the ROC curve, aligned against misaligned; for rule-made negatives within pairs: how often the "
        "caption scores above the negative made from it, ties count half"
    ),
    low=unit_interval("lower end of the bootstrap interval over images"),
    high=unit_interval("upper end of the bootstrap interval over images"),
    cohen_d=number("difference of the means over the pooled standard deviation"),
    p_value=unit_interval("two-sided permutation test of the AUC within images"),
    p_holm=unit_interval("after Holm's correction over the table"),
    pairs=whole("misaligned pairs", low=0),
    images=whole("images", low=0),
)

PROBE = Table(
    "probe",
    features=key(
        "feature set: signal (the driver), s_global, s_local, s_global+s_local, s_global+signal, embedding (of the "
        "image), random, shuffled labels (the signal's features)"
    ),
    accuracy=unit_interval("balanced accuracy, cross-validated by image"),
    low=unit_interval("lower end of the interval over images"),
    high=unit_interval("upper end of the interval over images"),
    chance=unit_interval("accuracy of guessing"),
    selectivity=number("accuracy minus that on the control task", optional=True),
    gain=number("accuracy minus that of s_global, paired", optional=True),
    gain_low=number("lower end of the gain's interval", optional=True),
    gain_high=number("upper end of the gain's interval", optional=True),
    classes=whole("relation classes", low=0),
    images=whole("images", low=0),
)

STRESS_UNITS = (
    "severity",
    "epsilon in 1/255",
    "percent of words misspelt",
    "percent of words moved",
    "words replaced",
    "domain",
)

STRESS = Table(
    "stress",
    attack=key("corruption or attack"),
    strength=Column(pa.float64(), "how strong it is, in `unit`; 0 is clean", low=0, key=True),
    unit=category(
        STRESS_UNITS,
        "what strength counts: severity 1 to 5 of a corruption, largest change of a pixel, disturbed words; domain: 1 "
        "is the other one",
    ),
    signal=key("which score discriminates"),
    kind=key("random, or hard: the rule-made negatives pooled"),
    auc=unit_interval("discrimination under stress, as in the diagnosis"),
    low=unit_interval("lower end of the bootstrap interval over images"),
    high=unit_interval("upper end of the bootstrap interval over images"),
    pairs=whole("misaligned pairs", low=0),
)

STRESS_SUMMARY = Table(
    "stress_summary",
    attack=key("corruption or attack; `all` is the mean over all of them"),
    signal=key("which score discriminates"),
    kind=key("random, or hard: the rule-made negatives pooled"),
    relative_area=number(
        "area of the AUC above chance along the curve, over its clean value; missing where clean is not above chance",
        optional=True,
    ),
    low=number("lower end of its bootstrap interval over images", optional=True),
    high=number("upper end of its bootstrap interval over images", optional=True),
    difference=number("relative_area minus that of s_global, paired; missing for s_global itself", optional=True),
    difference_low=number("lower end of the difference's interval", optional=True),
    difference_high=number("upper end of the difference's interval", optional=True),
    clean=unit_interval("AUC without any disturbance"),
)

USES = ("fit", "calibration", "none")

TOOLKIT_IMAGES = Table(
    "toolkit_images",
    image_id=key("file name of the image, relative to its folder"),
    content=text("sha256 of the file's bytes, by which the image is known again under any name"),
    used_for=category(USES, "what the image was used for"),
)

TOOLKIT_SCORES = Table(
    "toolkit_scores",
    **{
        **SIGNAL_SCORES.columns,
        "image_id": key("file name of the image, relative to its folder"),
        "text_id": key("`<image_id>#<n>`: the n-th caption of the image, from 0"),
    },
    caption_id=text("as in the captions file; without one, the text_id"),
    position=whole("row of the captions file, from 1, header not counted", low=1),
    parsed=flag("whether the parser found a unit; where not, the whole text stands as one"),
    cut=flag("whether the text is longer than the backbone's context, so that its end was cut off"),
    used_for=category(USES, "whether the units or the calibration were fitted on this image, known by its content"),
)

VERDICT = Table(
    "verdict",
    gate=category(("signal", "budget", "early"), "gate"),
    criterion=text("what must hold, as a sentence"),
    value=number("measured", optional=True),
    low=number("lower end of the interval", optional=True),
    high=number("upper end of the interval", optional=True),
    threshold=number("limit", optional=True),
    met=flag("whether the criterion is shown to hold"),
    undecided=flag("whether the measurement can tell neither that it holds nor that it does not"),
    required=flag("whether the gate stops when it does not hold"),
    action=category(("go", "warn", "stop"), "what the gate decided as a whole, the same on each of its rows"),
    evidence=text("table that holds the evidence, relative to results/"),
    reason=text("why the threshold is what it is, or why the criterion is not available"),
)

# ------------------------------------------------------------------------------------- training and budget

PRETRAINING = Table(
    "pretraining",
    step=number_key("optimiser step, from 1"),
    loss=number("symmetric contrastive loss of the step's batch"),
)

TRAINING_LOG = Table(
    "training_log",
    step=number_key("optimiser step, from 1"),
    loss=number("total loss"),
    contrastive=number("symmetric contrastive term"),
    negative=number("hard-negative term"),
    regularisation=number("consistency regularisation"),
    learning_rate=number("learning rate"),
    gradient_norm=number("before clipping"),
    seconds=number("time of the step", low=0),
)

SEARCH = Table(
    "search",
    method=key("method; `vialign` for all its subsets"),
    learning_rate=Column(pa.float64(), "candidate of its peak rate", low=0, key=True),
    seed=number_key("training seed"),
    steps=whole("optimiser steps of each candidate", low=1),
    recall=unit_interval(
        "mean any-hit R@1 of both directions on validation after them; missing where the training diverged",
        optional=True,
    ),
    negatives=unit_interval("accuracy against rule-made negatives, as in `monitor`", optional=True),
    score=unit_interval("mean of both, or recall alone without negatives: the validation metric", optional=True),
    chosen=flag("whether the method is trained with it: the best score, of equal ones the smallest rate"),
)

MONITOR = Table(
    "monitor",
    step=number_key("optimiser step"),
    recall=unit_interval("mean any-hit R@1 of both directions on validation"),
    negatives=unit_interval(
        "mean over validation captions of the share of their rule-made negatives that score lower", optional=True
    ),
    consistency_mean=number("mean C on aligned validation pairs", optional=True),
    consistency_sd=number("spread of C on aligned validation pairs", optional=True),
)

SIGNAL_MONITOR = Table(
    "signal_monitor",
    step=number_key("optimiser step of a light check, on a fixed part of the validation split"),
    recall=unit_interval("mean any-hit R@1 of both directions"),
    negatives=unit_interval("accuracy against rule-made negatives, as in `monitor`", optional=True),
    score=unit_interval("mean of both, or recall alone without negatives: the validation metric"),
    consistency_mean=number("mean C on aligned pairs"),
    consistency_sd=number("spread of C on aligned pairs"),
)

MONITORING = Table(
    "monitoring",
    method=key("method"),
    seed=number_key("training seed"),
    of=category(("level", "change"), "values at the checks, or their changes from check to check", key=True),
    step=number_key("optimiser step of the window's last check"),
    window=whole("checks in the window (for changes: changes)", low=1),
    correlation=number(
        "Spearman's rank correlation of mean C and validation metric; missing below the minimum of checks",
        low=-1,
        high=1,
        optional=True,
    ),
    low=number("lower end of its interval, simultaneous over the windows", low=-1, high=1, optional=True),
    high=number("upper end of its interval", low=-1, high=1, optional=True),
    band_low=number("lower end of what shuffled order gives, simultaneous", low=-1, high=1, optional=True),
    band_high=number("upper end of what shuffled order gives", low=-1, high=1, optional=True),
    warned=flag("whether the whole interval lies under 0"),
)

LIMIT_OUTCOMES = ("kept", "broken", "undecided")

BUDGET = Table(
    "budget",
    method=key("method"),
    backbone=key("backbone at whose size it was measured"),
    measure=key("parameters, operations (flops, elementwise), bytes, memory; seconds, overheads and their A/A control"),
    value=number("value"),
    low=number("lower end of the 95 % interval", optional=True),
    high=number("upper end of the 95 % interval", optional=True),
    unit=text("unit of the value"),
    limit=number("limit of the budget, where there is one", optional=True),
    outcome=category(
        LIMIT_OUTCOMES,
        "kept: the interval lies under the limit; broken: it lies above; undecided: it holds the limit, or `reason`",
        optional=True,
    ),
    reason=text("why a limit is undecided", optional=True),
)

# ---------------------------------------------------------------------------------------------- evaluation

OUTCOMES = Table(
    "outcomes",
    method=key("method"),
    seed=number_key("training seed"),
    benchmark=key("`<split>/<name>`, such as test/text_to_image or test/winoground"),
    item_id=key("query image, query caption, choice item or question"),
    measure=key("r1, r5, r10; text, image, group; accuracy; soft_accuracy"),
    value=unit_interval("outcome of this item"),
    tag=text("class over which macro averages are taken", optional=True),
    tie=flag("whether only a tie made the outcome worse (ties are counted wrong)"),
    chosen=text("id of the best-ranked wrong candidate, where the item failed", optional=True),
    image_id=text("first image of the item: items of one image are not independent and are resampled together"),
)

RERANKING = Table(
    "reranking",
    method=key("method"),
    seed=number_key("training seed"),
    benchmark=key("`<split>/image_to_text` or `<split>/text_to_image`"),
    k=whole("candidates of a query that are scored exactly", low=1),
    queries=whole("queries that were ranked exactly too", low=1),
    r1=unit_interval("share of them with the same R@1"),
    r5=unit_interval("share with the same R@5"),
    r10=unit_interval("share with the same R@10"),
    first=unit_interval("share with the same first candidate"),
)

RESULTS = Table(
    "results",
    method=key("method"),
    benchmark=key("`<split>/<name>`"),
    measure=key("measure"),
    convention=category(
        ("micro", "macro", "published", "lenient"),
        "mean over items; over the means of the tags; of the tags that the authors count; over items, ties right",
        key=True,
    ),
    value=unit_interval("mean over items and seeds"),
    low=unit_interval("lower end of the bootstrap interval over items and seeds"),
    high=unit_interval("upper end of the bootstrap interval"),
    items=whole("items", low=0),
    seeds=whole("seeds", low=1),
    ties=whole("ties, counted wrong except by the lenient convention", low=0),
)

COMPARISONS = Table(
    "comparisons",
    method=key("method"),
    reference=key("method it is held against"),
    benchmark=key("`<split>/<name>`"),
    measure=key("measure"),
    difference=number("mean paired difference, method minus reference"),
    low=number("lower end of the paired bootstrap interval"),
    high=number("upper end of the paired bootstrap interval"),
    p_value=unit_interval(
        "McNemar's exact test for 0/1 outcomes (first seed) where each image has one item, else paired bootstrap"
    ),
    p_holm=unit_interval("after Holm's correction over the table"),
    detectable=number("smallest difference this many items can show with 80 % power", low=0),
    items=whole("items", low=0),
)

AGREEMENT = Table(
    "agreement",
    signal=key("score held against human ratings"),
    ratings=key("source of the ratings: `crowdflower` is read by tau-b and `expert` by tau-c, as in CLIPScore"),
    tau_b=number("Kendall's tau-b", low=-1, high=1),
    tau_c=number("Kendall's tau-c", low=-1, high=1),
    low=number("lower end of the bootstrap interval of tau-b"),
    high=number("upper end of the bootstrap interval of tau-b"),
    pairs=whole("rated pairs", low=0),
)

BLIND = Table(
    "blind",
    benchmark=key("`<split>/<name>`"),
    accuracy=unit_interval(
        "mean over items of what the classifier that sees no image scores; a tie counts as a guess. One image: whether "
        "the true caption comes first; winoground: text score; negatives: share of a caption's negatives that score "
        "lower; vqa: soft accuracy"
    ),
    low=unit_interval("lower end of the bootstrap interval over images"),
    high=unit_interval("upper end of the bootstrap interval over images"),
    chance=unit_interval("the same for guessing"),
    items=whole("items", low=1),
    solved=flag("whether the interval lies above chance by more than `evaluation.blind_margin`"),
)

CALIBRATION = Table(
    "calibration_check",
    benchmark=key("benchmark"),
    metric=key("metric"),
    published=number("published value, percent"),
    measured=number("measured value, percent"),
    tolerance=number("percentage points"),
    passed=flag("whether the difference is inside the tolerance"),
    cause=text("known causes that fit a missed value; empty where it passed"),
    source=text("where the published value stands"),
)

# ------------------------------------------------------------------------------------------------ analysis

FAILURE_CLASSES = ("concept missing", "combination beyond reach", "annotation ambiguity", "other")
FAILURE_RULES = (
    "identical text",
    "human answers",
    "missing",
    "same words",
    "agreement",
    "same concepts",
    "none",
)
"""What put a failed query into its class; the rules stand in `vialign.analysis.failures`."""
QUERY_MEASURES = ("r1", "accuracy", "text", "image", "soft_accuracy")
"""Measures of OUTCOMES by which a query is solved or failed; the others say the same again."""
QUERY_STATES = ("solved", *FAILURE_CLASSES)
"""What became of a query."""
PHRASE_KINDS = (*UNIT_KINDS, "none")
"""Kind of the phrase that decided a failure, or none."""

FAILURES = Table(
    "failures",
    method=key("method"),
    seed=number_key("training seed"),
    benchmark=key("`<split>/<name>`"),
    item_id=key("failed item"),
    image_id=text("the image that should have won, or the query image"),
    true_text=text("the text that should have won, or the query text"),
    chosen_text=text("the text that won, or a caption of the image that won; empty where that has none"),
    chosen_image=text("the image that won, or that the text that won goes with"),
    rival=category(("image", "text"), "what won: another image for the text, or another text for the image"),
    failure=category(FAILURE_CLASSES, "class by the rules of method.md, section 8"),
    rule=category(FAILURE_RULES, "rule that gave the class"),
    phrase=text("the phrase that decided; missing where none did, or where its words are not known", optional=True),
    phrase_kind=category(PHRASE_KINDS, "kind of that phrase"),
    phrase_of=category(("truth", "rival"), "whose text it stands in", optional=True),
    prototype=whole("its prototype, by mass from 0; for a relation that of its subject", low=0, optional=True),
    prototype_image=text("the image of that prototype", optional=True),
    prototype_x=number("mean x of the prototype, image widths from the left", optional=True),
    prototype_y=number("mean y of the prototype, image heights from the top", optional=True),
    prototype_area=number("share of the image's patches that the prototype holds", optional=True),
    phrase_match=similarity("match of phrase and prototype: a cosine", optional=True),
    phrase_match_true=similarity("where an image won: best match of the phrase in the right image", optional=True),
    worst_phrase=text("concept of the true text with the weakest match in the right image", optional=True),
    worst_match=similarity("that match", optional=True),
    worst_match_rival=similarity("weakest match of the rival's concepts in the rival's image", optional=True),
    missing_limit=number("match under which a concept is missing"),
    local_true=similarity("local similarity of the pair that should have won"),
    local_rival=similarity("local similarity of the pair that won"),
    margin_limit=number("how far the rival's local similarity may lie lower", low=0),
    agreement=similarity("mean cosine of the rival's text with the captions of the rival's image", optional=True),
    agreement_limit=similarity("cosine from which it counts as one of them; missing: rule not in use", optional=True),
    human=unit_interval("soft accuracy of the chosen answer among people's answers, of VQA", optional=True),
    human_limit=unit_interval("soft accuracy from which the chosen answer is as good"),
)

FAILURE_RATES = Table(
    "failure_rates",
    method=key("method"),
    benchmark=key("`<split>/<name>`, or `<split>/all` for all queries of a split together"),
    phrase_kind=category(("all", *PHRASE_KINDS), "kind of the phrase that decided, or `all` failures", key=True),
    failure=category(("all", *FAILURE_CLASSES), "class, or `all` failures", key=True),
    queries=whole("queries of the benchmark", low=1),
    images=whole("their images, which are resampled", low=1),
    seeds=whole("training seeds", low=1),
    count=number("failed queries of this class and kind, mean over seeds", low=0),
    rate=unit_interval("their share among the queries"),
    low=unit_interval("lower end of the bootstrap interval over images and seeds"),
    high=unit_interval("upper end"),
    share=unit_interval("their share among the method's failed queries", optional=True),
    share_low=unit_interval("lower end of its bootstrap interval", optional=True),
    share_high=unit_interval("upper end", optional=True),
    change=number("rate minus that of the frozen backbone on the same queries", low=-1, high=1, optional=True),
    change_low=number("lower end of its paired bootstrap interval", low=-1, high=1, optional=True),
    change_high=number("upper end", low=-1, high=1, optional=True),
)

FAILURE_MOVES = Table(
    "failure_moves",
    method=key("method"),
    benchmark=key("`<split>/<name>`, or `<split>/all`"),
    before=category(QUERY_STATES, "what became of the query with the frozen backbone", key=True),
    after=category(QUERY_STATES, "what became of it with the method", key=True),
    queries=whole("queries of the benchmark", low=1),
    count=number("queries that moved so, mean over seeds", low=0),
    share=unit_interval("their share among the queries"),
    low=unit_interval("lower end of the bootstrap interval over images and seeds"),
    high=unit_interval("upper end"),
    net=number("share minus that of the opposite move", low=-1, high=1, optional=True),
    net_low=number("lower end of its paired bootstrap interval", low=-1, high=1, optional=True),
    net_high=number("upper end", low=-1, high=1, optional=True),
)

FAILURE_REVIEW = Table(
    "failure_review",
    first=key("rater: `rules`, or the name of a sheet"),
    second=key("the other rater"),
    first_label=category(FAILURE_CLASSES, "class by the first", key=True),
    second_label=category(FAILURE_CLASSES, "class by the second", key=True),
    count=whole("failures with these two labels", low=0),
    items=whole("failures that both labelled", low=1),
    observed=unit_interval("share on which both agree, the same on each row of the two raters"),
    kappa=number("Cohen's kappa, the same on each of their rows", low=-1, high=1, optional=True),
    low=number("lower end of its bootstrap interval over images", low=-1, high=1, optional=True),
    high=number("upper end", low=-1, high=1, optional=True),
)

GRADIENT_TERMS = Table(
    "gradient_terms",
    method=key("method"),
    seed=number_key("training seed"),
    step=number_key("optimiser step of the checkpoint"),
    first=key("term of the loss"),
    second=key("another term of the loss"),
    cosine=similarity("mean over batches of the cosine between the gradients of both terms on one batch"),
    low=similarity("lower end of its interval over batches"),
    high=similarity("upper end of its interval over batches"),
    batches=whole("batches on which both gradients are not zero", low=1),
)

GRADIENT_SAMPLES = Table(
    "gradient_samples",
    method=key("method"),
    step=number_key("optimiser step of the checkpoint"),
    bin=number_key("group of samples by C, 0 the lowest"),
    consistency=number("mean C of the group"),
    cosine=similarity("mean cosine of a sample's gradient with the mean gradient of all other samples"),
    low=similarity("lower end of its interval over samples and seeds"),
    high=similarity("upper end of its interval over samples and seeds"),
    samples=whole("samples of all seeds in the group", low=1),
)

OPTIMISATION_PATH = Table(
    "optimisation_path",
    method=key("method"),
    seed=number_key("training seed"),
    step=number_key("optimiser step of the checkpoint"),
    first=number("coordinate of the weights along the path's first principal direction"),
    second=number("coordinate along the second"),
    first_share=unit_interval("share of the path's variance along the first direction"),
    second_share=unit_interval("share along the second"),
)

THEORY_WORLDS = ("gaussian", "shared noise", "combination", "blind")
THEORY_MEASURES = (
    "consistency",
    "consistency random",
    "consistency own",
    "consistency auc random",
    "consistency auc exchanged",
    "agreement",
    "agreement random",
    "agreement auc random",
    "agreement auc exchanged",
    "s_global",
    "s_local",
    "infonce",
    "infonce s_global",
    "infonce s_local",
    "infonce ceiling",
)

THEORY = Table(
    "theory",
    world=category(THEORY_WORLDS, "world with known mutual information (docs/theory.md)", key=True),
    parameter=Column(pa.float64(), "correlation of parts and phrases, or error of the relation", key=True),
    mutual_information=number("of image and caption, nats, known exactly", low=0),
    measure=category(
        THEORY_MEASURES,
        "mean over aligned pairs, calibrated; `random`: over pairs with the caption of another; `own`: calibrated at "
        "this level of information alone; `auc`: aligned against those or against exchanged roles; `infonce`: bound of "
        "the best critic or of one similarity, nats, and its ceiling, the log of the pairs in a batch",
        key=True,
    ),
    value=number("mean over drawings of the world"),
    low=number("lower end of its interval over drawings"),
    high=number("upper end"),
    seeds=whole("drawings", low=2),
)

THEORY_TRENDS = Table(
    "theory_trends",
    world=category(THEORY_WORLDS, "world with known mutual information", key=True),
    measure=category(THEORY_MEASURES, "as in `theory`", key=True),
    correlation=number(
        "Spearman's rank correlation of the measure with mutual information over the world's levels, mean over "
        "drawings; missing where the measure never changes",
        low=-1,
        high=1,
        optional=True,
    ),
    low=number("lower end of its interval over drawings", low=-1, high=1, optional=True),
    high=number("upper end", low=-1, high=1, optional=True),
    change=number("the measure at most information minus at least"),
    change_low=number("lower end of its interval over drawings"),
    change_high=number("upper end"),
    seeds=whole("drawings", low=2),
)

SPAN_PATHS = ("main", "fallback", "mixed", "asked")
SPAN_KINDS = (*UNIT_KINDS, "all", "noun phrase")

SPANS = Table(
    "spans",
    trained_on=key("domain that the parser was trained on and the main path fitted on"),
    domain=key("domain of the held-out texts"),
    typos=Column(pa.float64(), "share of words with a typo", low=0, high=1, key=True),
    path=category(SPAN_PATHS, "which reading decides; `asked` is mixed without leaving the parser out", key=True),
    kind=category(
        SPAN_KINDS, "kind of unit; a noun phrase is an entity with its attributes, held against gold brackets", key=True
    ),
    precision=unit_interval("right units over units found", optional=True),
    recall=unit_interval("right units over gold units"),
    f1=unit_interval("harmonic mean of both"),
    low=unit_interval("lower end of F1's 95 % bootstrap interval over texts"),
    high=unit_interval("upper end"),
    margin=number("mixed or asked: its F1 minus that of the better single path", low=-1, high=1, optional=True),
    margin_low=number("lower end of the margin's paired 95 % bootstrap interval", low=-1, high=1, optional=True),
    margin_high=number("upper end", low=-1, high=1, optional=True),
    count=whole("texts with a gold unit", low=1),
    cut=whole("texts that fill the context of the text tower, whose end may be cut off", low=0),
    trusted=unit_interval("share of texts on which the mixed path does not ask the parser"),
)

LOSS_ABLATION = Table(
    "loss_ablation",
    part=category(("visual", "text"), "disentangler whose loss it is", key=True),
    left_out=key("weight of the config that was set to 0; `none` is the full loss"),
    subject=key("what was measured: dictionary, span path main, S_local"),
    measure=key("name of the measure, as in QUALITY"),
    value=number("value on held-out items"),
    low=number("lower end of its 95 % bootstrap interval", optional=True),
    high=number("upper end", optional=True),
    difference=number("value minus that of the full loss"),
    difference_low=number("lower end of its paired 95 % bootstrap interval over the same items", optional=True),
    difference_high=number("upper end", optional=True),
    count=whole("items measured", low=0),
)

ABLATION = Table(
    "ablation",
    method=key("`vialign` with its active modules"),
    reweight=flag("ambiguity-aware reweighting is on"),
    regularise=flag("consistency regularisation is on"),
    correct=flag("adaptive feature correction is on"),
    recall=unit_interval("mean validation R@1 of both directions over seeds"),
    negatives=unit_interval("mean validation accuracy against negatives over seeds", optional=True),
    score=unit_interval("mean of both (recall alone without negatives), by which the combination is chosen"),
    low=unit_interval("lower end of its bootstrap interval over validation images and seeds"),
    high=unit_interval("upper end of its bootstrap interval"),
    path=whole("place on the backward-elimination path from the full model, 0 first; -1 when not on it", low=-1),
    chosen=flag("whether it is the chosen combination"),
)

CONTRIBUTIONS = Table(
    "contributions",
    module=key("module"),
    measure=key("recall, negatives or score"),
    removal=number("score of the full model minus the score without it, paired"),
    low=number("lower end of the interval"),
    high=number("upper end of the interval"),
    shapley=number("Shapley value over the subsets"),
)
