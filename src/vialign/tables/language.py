"""Tables of texts, their phrase units, and how well both sides are taken apart."""

import pyarrow as pa

from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.schema import Column, Table, category, key, number, number_key, text, unit_interval, whole

UNIT_KINDS = ("entity", "attribute", "relation")


TEXTS = Table(
    "texts",
    text_id=key("caption id, `<caption_id>!<negative kind>`, `<item_id>:<candidate>` or `<question_id>:<candidate>`"),
    split=text("split it belongs to"),
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


POINTING = Table(
    "pointing",
    **{"method": key("model")}
    | QUALITY.columns
    | {"subject": key("readout of the model's frozen image tower, or chance"), "domain": key("benchmark")},
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
