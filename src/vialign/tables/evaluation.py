"""Tables of the evaluation: outcomes of queries, results and their paired comparisons."""

import pyarrow as pa

from vialign.tables.schema import Column, Table, category, flag, key, number, number_key, text, unit_interval, whole

OUTCOMES = Table(
    "outcomes",
    method=key("method"),
    seed=number_key("training seed"),
    benchmark=key("`<split>/<name>`, such as test/text_to_image or test/winoground"),
    item_id=key("query image, query caption, choice item or question"),
    measure=key(
        "r1, r5, r10; text, image, group, match; accuracy; both_right, text_only; image_choice; statement; "
        "soft_accuracy"
    ),
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


RANKS = Table(
    "ranks",
    method=key("method"),
    seed=number_key("training seed"),
    benchmark=key("`<split>/image_to_text` or `<split>/text_to_image`"),
    median_rank=number("median over queries of the rank of the first right candidate, from 1; a tie is lost", low=1),
    map_at_r=unit_interval("mAP@R: mean precision at the places of all right candidates among the first R"),
    queries=whole("queries", low=1),
    gallery=whole("candidates of a query", low=1),
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
    low=unit_interval("lower end of the interval over images and seeds, of images alone with one seed"),
    high=unit_interval("upper end of the interval"),
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
    low=number("lower end of its interval over images and seeds, by the two-level model", low=-1, high=1),
    high=number("upper end of its interval over images and seeds", low=-1, high=1),
    item_low=number("lower end of its interval over images alone, for these very seeds", low=-1, high=1),
    item_high=number("upper end of its interval over images alone", low=-1, high=1),
    seed_spread=number("standard deviation over seeds of the difference; none with one seed", low=0, optional=True),
    seeds=whole("seeds behind it; 1 means that the interval is over images alone", low=1),
    df=number("degrees of freedom of the interval's t, by Satterthwaite's rule", low=1),
    p_value=unit_interval("two-sided, of no difference, by the two-level model"),
    p_holm=unit_interval("after Holm's correction over the table"),
    detectable=number(
        "smallest difference that the test finds with 80 % power, by the two-level model; none above 1",
        low=0,
        optional=True,
    ),
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
        "the true captions come first; two images: text score; several images with one caption: a guess; statements: "
        "by a threshold; negatives: share of a caption's negatives that score lower; vqa: soft accuracy"
    ),
    low=unit_interval("lower end of the bootstrap interval over images"),
    high=unit_interval("upper end of the bootstrap interval over images"),
    chance=unit_interval("the same for guessing"),
    items=whole("items", low=1),
    solved=flag("whether the interval lies above chance by more than `evaluation.blind_margin`"),
)


REPRODUCTION = Table(
    "reproduction",
    benchmark=key("benchmark"),
    metric=key("metric"),
    published=number("published value, percent"),
    measured=number("measured value, percent"),
    tolerance=number("percentage points"),
    passed=flag("whether the difference is inside the tolerance"),
    cause=text("known causes that fit a missed value; empty where it passed"),
    source=text("where the published value stands"),
)


PUBLISHED = Table("published", method=key("model"), **REPRODUCTION.columns)


SPENDING = Table(
    "spending",
    method=key("method whose exact scores are spent"),
    benchmark=key("`<split>/<direction>`"),
    rule=category(("margin", "top", "random"), "how pairs are chosen for an exact score", key=True),
    share=Column(pa.float64(), "share of all pairs that get one", low=0, high=1, key=True),
    gain=number("R@1 with exact scores of all pairs less that of the cheap scores"),
    kept=number("share of that gain that is kept; NaN without a gain", optional=True),
    loss=number("R@1 with all pairs exact less that of the rule"),
    low=number("lower end of the interval of the loss"),
    high=number("upper end of the interval of the loss"),
    p_holm=unit_interval("two-sided p of no loss, after Holm's correction over the table"),
    items=whole("queries", low=1),
)
