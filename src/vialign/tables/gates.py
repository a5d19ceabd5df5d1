"""Tables of what was decided: verdicts of the gates, the ablation and the budget ledger."""

from vialign.tables.schema import Table, category, flag, key, number, text, unit_interval, whole

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


ABLATION = Table(
    "ablation",
    method=key("`vialign` with its active modules"),
    reweight=flag("ambiguity-aware reweighting is on"),
    regularise=flag("consistency regularisation is on"),
    correct=flag("adaptive feature correction is on"),
    recall=unit_interval("mean selection R@1 of both directions over seeds"),
    negatives=unit_interval("mean selection accuracy against negatives over seeds", optional=True),
    score=unit_interval("mean of both (recall alone without negatives), by which the combination is chosen"),
    low=unit_interval("lower end of its bootstrap interval over selection images and seeds"),
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
