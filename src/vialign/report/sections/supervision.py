"""What a method is told and costs beyond the frozen backbone, beside its score."""

import pandas as pd
from markupsafe import Markup

from vialign.catalogue import METHODS, REGION_METHODS
from vialign.config.experiment import Config
from vialign.report.blocks import bullets, heading, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.numbers import cite_interval
from vialign.report.sections.common import cost_caveat

_COSTS = {"inference_overhead": "to score pairs", "training_overhead": "in a training step"}


def supervision(evidence: Evidence, config: Config, methods: list[str]) -> list[Markup]:
    """One line a method that is told more than images and captions: what, and what it costs; none without such."""
    told = [method for method in methods if method in METHODS and METHODS[method].told]
    if not told:
        return []
    budget = evidence.get("budget")
    lines = [
        say("<code>{}</code>: {}. {}", method, METHODS[method].told, _cost(budget, method, config)) for method in told
    ]
    blocks = [heading("What methods are told and cost"), bullets(lines)]
    explained = paragraph(
        "The other methods read nothing but images and captions. Times are the ledger's: of scoring over the frozen "
        "backbone, of a step over the same loop without modules."
    )
    return [*blocks, explained, *_grounding(config)]


def _grounding(config: Config) -> list[Markup]:
    """What the curriculum's methods have beside their modules, where the config asks for it."""
    if config.curriculum.grounding.share == 0:
        return []
    return [
        paragraph(
            "In this run every method of <code>vialign</code>, with or without modules, also grounds the words of a "
            "caption: a ridge regression from its words to its image, solved on the training split before the first "
            "step. No other method has it."
        )
    ]


def _cost(budget: pd.DataFrame | None, method: str, config: Config) -> Markup:
    """The ledger's overheads of a method on the run's own backbone."""
    if budget is None:
        own = pd.DataFrame()
    else:
        own = budget[(budget["method"] == method) & (budget["backbone"] == config.backbone.architecture)]
    if own.empty:
        return say("The run's ledger has no times of it.")
    parts = [
        say("{} % more time {}{}", cite_interval(row, "value", "percent"), what, cost_caveat(row))
        for name, what in _COSTS.items()
        for _, row in own[own["measure"] == name].iterrows()
    ]
    found = say(", ").join(parts) + say(".")
    if method in REGION_METHODS:
        found += say(" What finds the regions is not in that.")
    return found
