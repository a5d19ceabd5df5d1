"""Tables of failed queries, how they are classed, and what became of them."""

from vialign.tables.language import UNIT_KINDS
from vialign.tables.schema import Table, category, key, number, number_key, similarity, text, unit_interval, whole

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
"""What put a failed query into its class; the rules stand in `vialign.analysis.failures.classes`."""


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
    failure=category(FAILURE_CLASSES, "class by the rules of docs/method.md#93-failure-classes"),
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
