"""Tables of what carries the gain: the method with one part replaced, against the method as shipped."""

from vialign.tables.schema import Table, flag, key, number, text, whole

ATTRIBUTION = Table(
    "attribution",
    method=key("method that is taken apart"),
    part=key("what is replaced: `driver`, `local`, or `whole` (the method as shipped, and the frozen backbone)"),
    replacement=key("what stands in its place"),
    benchmark=key("benchmark"),
    measure=key("measure"),
    value=number("mean over items and seeds"),
    shipped=number("the same of the method as shipped"),
    cost=number("shipped less value: what the replacement loses"),
    low=number("lower end of the interval of the cost"),
    high=number("upper end of the interval of the cost"),
    p_value=number("two-sided p of no cost", optional=True),
    p_holm=number("the same after Holm's correction over the table's rows of one method", optional=True),
    gain=number("shipped less frozen: what there is to lose"),
    seeds=whole("training seeds", low=1),
    steps=whole("training steps", low=0),
    items=whole("queries", low=1),
)

CARRIERS = Table(
    "carriers",
    method=key("method that is taken apart"),
    claim=key("what is said to carry the gain"),
    holds=flag("whether every replacement that it names costs something significant, after correction"),
    share=number("share of the gain that is lost without it, over all measures; NaN without a gain", optional=True),
    reason=text("the evidence, in a sentence"),
)
