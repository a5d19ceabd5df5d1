"""Tables of the signal: its scores, their calibration, and what verifies them."""

import pyarrow as pa

from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.schema import (
    Column,
    Table,
    category,
    flag,
    key,
    number,
    number_key,
    similarity,
    text,
    unit_interval,
    whole,
)

PAIR_KINDS = ("aligned", "random", *NEGATIVE_KINDS)


SIGNALS = (
    "consistency",
    "consistency_raw",
    "agreement",
    "s_global",
    "s_local",
    "s_local_plain",
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
    s_local=similarity(
        "weighted mean best match of phrases among prototypes, relations with the geometry of both arguments"
    ),
    s_local_plain=similarity("weighted mean best match of phrases among prototypes alone, without geometry"),
    s_global_calibrated=unit_interval("s_global after the monotone map"),
    s_local_calibrated=unit_interval("s_local after the monotone map"),
    consistency=unit_interval("C = 1 - |s_global - s_local| of the calibrated values"),
    consistency_raw=number("C = 1 - |s_global - s_local| of the raw cosines"),
    agreement=unit_interval("product of the calibrated similarities: high only where both are"),
    s_sum=number("sum of the calibrated similarities"),
    local_entropy=unit_interval("entropy of the match distribution over log K"),
    certainty=unit_interval("1 - local_entropy"),
)


CONTROLS = ("shuffled prototypes", "unfitted dictionary")
"""What takes the place of the local part in the controls of the signal gate."""


SIGNAL_CONTROLS = Table(
    "signal_controls",
    control=category(CONTROLS, "what the local part of the signal was replaced by", key=True),
    **SIGNAL_SCORES.columns,
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
        "feature set: signal (the driver), s_global, s_local, s_local_plain, s_global+s_local, s_global+signal, "
        "s_global+s_local+signal, embedding (of the image), random, shuffled labels (the signal's features)"
    ),
    accuracy=unit_interval("balanced accuracy, cross-validated by image"),
    low=unit_interval("lower end of the interval over images"),
    high=unit_interval("upper end of the interval over images"),
    chance=unit_interval("accuracy of guessing"),
    selectivity=number("accuracy minus that on the control task", optional=True),
    gain=number("accuracy minus that of s_global, paired", optional=True),
    gain_low=number("lower end of the gain's interval", optional=True),
    gain_high=number("upper end of the gain's interval", optional=True),
    beyond_parts=number("accuracy minus that of s_global+s_local, paired", optional=True),
    beyond_parts_low=number("lower end of its interval", optional=True),
    beyond_parts_high=number("upper end of its interval", optional=True),
    classes=whole("relation classes", low=0),
    images=whole("images", low=0),
)


NONE = "none"
"""Target of a disturbance that aims at no signal, such as noise."""
OWN = "own"
"""Target of a mean in which every signal stands under the attacks on itself."""


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
    target=key("the signal that was attacked by its own gradient; none where a disturbance aims at no signal"),
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


STRESSED = Table(
    "stressed",
    number=number_key("place of the disturbance among all, as a job alone makes them"),
    attack=key("corruption or attack, or clean"),
    target=key("the signal that was attacked, or none"),
    strength=Column(pa.float64(), "how strong it is, in `unit`; 0 is clean", low=0, key=True),
    unit=text("what strength counts; empty where it is clean"),
    images=text("set of images that is resampled by itself"),
    **SIGNAL_SCORES.columns,
)
"""The scores of one shard of the stress test, for the job that puts them together."""


STRESS_SUMMARY = Table(
    "stress_summary",
    attack=key("corruption or attack; `all` is the mean over all of them"),
    target=key(
        "the signal that was attacked; none where nothing is aimed at; own: each signal under attacks on itself"
    ),
    signal=key("which score discriminates"),
    kind=key("random, or hard: the rule-made negatives pooled"),
    relative_area=number(
        "area of the AUC above chance along the curve, over its clean value; missing where clean is not above chance",
        optional=True,
    ),
    low=number("lower end of its bootstrap interval over images", optional=True),
    high=number("upper end of its bootstrap interval over images", optional=True),
    difference=number(
        "relative_area minus that of s_global under the attack on s_global, paired; missing for s_global itself",
        optional=True,
    ),
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


TRUST_DIRECTIONS = ("image_to_text", "text_to_image")


TRUST_SIMPLE = ("similarity", "margin", "probability", "entropy")
"""The field's simple confidences in the top answer of a query."""


TRUST_SIGNALS = ("consistency", "agreement", "local_entropy")
"""What the signal says of the answer's own pair."""


TRUST_RANKING = ("local_rank", "local_gap", "fused_odds")
"""What the local look's own ranking of the gallery, and the one of both looks together, say of the answer."""


TRUST_RETURN = ("return_odds", "fused_return")
"""Whether the answer, as a query, leads back: by the global scores, and by both looks."""


TRUST_COMBINED = (
    "best simple",
    "simple",
    "simple and return",
    "simple and signal",
    "simple and local ranking",
    "all",
)
"""Predictors combined by a logistic regression; `best simple` is the best subset of the simple confidences, and all
further ones but `simple` hold it."""


TRUST_LOCAL = ("none", "with geometry", "without geometry", "without boxes", "shuffled")


_TRUST_KEYS = {
    "split": key("split whose answers are judged, or the file of captions"),
    "direction": category(TRUST_DIRECTIONS, "direction of retrieval", key=True),
    "predictor": category(
        (*TRUST_SIMPLE, *TRUST_SIGNALS, *TRUST_RANKING, *TRUST_RETURN, *TRUST_COMBINED),
        "what is to tell wrong top answers from right ones: one value, or several combined by a logistic regression",
        key=True,
    ),
    "local": category(
        TRUST_LOCAL,
        "how the image was looked at locally; `none`: only the global scores count; `shuffled`: control with the local "
        "values of other answers",
        key=True,
    ),
}


TRUST = Table(
    "trust",
    **_TRUST_KEYS,
    fitted_on=text(
        "split that a combination was fitted on; the split itself: cross-validated by image; empty: nothing was fitted"
    ),
    uses=text("single predictors in it, separated by commas"),
    auroc=unit_interval("of predicting that the answer is wrong; missing where all are right or wrong", optional=True),
    low=unit_interval("lower end of its bootstrap interval over images", optional=True),
    high=unit_interval("upper end", optional=True),
    aurc=unit_interval("area under the risk-coverage curve: mean share of wrong answers over all shares kept"),
    aurc_low=unit_interval("lower end of its bootstrap interval over images"),
    aurc_high=unit_interval("upper end"),
    reference=text(
        "combination that differences are measured from: `best simple`; of `all` it is `simple and return`",
        optional=True,
    ),
    difference=number("AUROC minus that of the reference, paired; combinations only", low=-1, high=1, optional=True),
    difference_low=number("lower end of its bootstrap interval over images", optional=True),
    difference_high=number("upper end", optional=True),
    p_value=unit_interval("two-sided, from the paired resamples", optional=True),
    p_holm=unit_interval("after Holm's correction over both directions of the split", optional=True),
    aurc_difference=number("AURC minus that of the reference; below 0 is better", low=-1, high=1, optional=True),
    aurc_difference_low=number("lower end of its bootstrap interval over images", optional=True),
    aurc_difference_high=number("upper end", optional=True),
    calibration_error=unit_interval(
        "expected calibration error of the probability of being wrong that it claims, 15 bins; missing where it claims "
        "none",
        optional=True,
    ),
    wrong=unit_interval("share of wrong answers"),
    queries=whole("queries", low=1),
    images=whole("their images, which are resampled", low=1),
)


TRUST_CURVES = Table(
    "trust_curves",
    **_TRUST_KEYS,
    coverage=Column(pa.float64(), "share of answers that are kept, the most trusted first", low=0, high=1, key=True),
    risk=unit_interval("share of wrong answers among them"),
    low=unit_interval("lower end of its bootstrap interval over images"),
    high=unit_interval("upper end"),
)
