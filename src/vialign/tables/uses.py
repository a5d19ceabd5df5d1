"""Tables of C at work: noisy captions, curriculum in time, and how many labelled images the dictionary needs."""

from vialign.tables.schema import Table, category, key, number, number_key, unit_interval, whole

USES = Table(
    "uses",
    use=category(("noise", "order", "labels"), "noisy captions, curriculum in time, or labelled images", key=True),
    method=key("method that is trained"),
    condition=key("how the training captions were made wrong, such as `random 40 %`; `none` where they were not"),
    rule=key("what was tried"),
    reference=key("what it is held against, such as `no weights`; `clean captions` for what the noise costs"),
    benchmark=key("benchmark"),
    measure=key("measure; of an order the mean over the looks, which is the area under the learning curve"),
    value=unit_interval("mean over items and seeds"),
    difference=number("value less that of the reference"),
    low=number("lower end of the interval of the difference"),
    high=number("upper end of the interval of the difference"),
    p_value=number("two-sided p of no difference", optional=True),
    p_holm=number(
        "the same after Holm's correction over the rows of one use; gains over the frozen backbone by themselves",
        optional=True,
    ),
    recovered=number(
        "share of what the noise costs that the rule wins back; NaN where it costs nothing", optional=True
    ),
    seeds=whole("training seeds; of labelled images each has a dictionary of its own", low=1),
    steps=whole("training steps", low=1),
    items=whole("queries", low=1),
)

CURVES = Table(
    "curves",
    order=key("order in which captions join"),
    seed=number_key("training seed"),
    step=number_key("steps done"),
    benchmark=key("benchmark"),
    measure=key("measure"),
    value=unit_interval("mean over items"),
)
