"""What a method is told and costs beyond the frozen backbone, beside its score."""

import pandas as pd
from markupsafe import Markup

from vialign.catalogue import CURRICULUM, GIVEN, METHODS, REGION_METHODS, UNTRAINED, family, trained_as
from vialign.config.experiment import Config
from vialign.config.pairs import pairs_before, pairs_in_training, recipe_of
from vialign.report.blocks import bullets, heading, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.numbers import cite_config, cite_interval
from vialign.report.sections.common import cost_caveat
from vialign.report.summary import main_method
from vialign.report.tables import Show, render_table

_COSTS = {"inference_overhead": "to score pairs", "training_overhead": "in a training step"}


def supervision(evidence: Evidence, config: Config, methods: list[str]) -> list[Markup]:
    """What each method is given and sees, as a table; then a line for each that is told more than images and captions:
    what, and what it costs.
    """
    return [*_terms(evidence, config, methods), *_told(evidence, config, methods)]


def setting(evidence: Evidence, config: Config) -> Markup | None:
    """On which backbone the answer stands and what its method was told, for the summary; None without an answer."""
    method = main_method(evidence)
    if method is None:
        return None
    return say(
        "The backbone is <code>{}</code> with the weights <code>{}</code>, frozen. Beyond the images and captions that "
        "LoRA was trained on, <code>{}</code> was told the labelled boxes of {}, for its dictionary, and reads some "
        "captions with a parser.",
        config.backbone.architecture,
        config.backbone.checkpoint or "none, drawn by seed",
        method,
        _labelled(config),
    )


def _labelled(config: Config) -> Markup:
    """The images whose boxes the dictionary is told."""
    most = cite_config(config, "visual.images" if config.visual.labelled is None else "visual.labelled", "count")
    source = config.data.disentangle
    if source is None:
        return say("at most {} training images, where the data set has any", most)
    return say("at most {} images of <code>{}</code>", most, source.dataset)


def _terms(evidence: Evidence, config: Config, methods: list[str]) -> list[Markup]:
    """The terms of the comparison: a row a method, a column a kind of supervision, and the pairs that it saw."""
    listed = [method for method in methods if trained_as(method) in METHODS]
    if not listed:
        return []
    training = config.training
    search = evidence.get("search")
    candidates = {} if search is None else search["method"].value_counts().to_dict()
    fits, seconds = _fit_seconds(evidence), _training_seconds(evidence)
    rows = []
    for method in listed:
        given = METHODS[trained_as(method)].given
        marks = {name: "yes" if name in given else "no" for name in GIVEN}
        learns = trained_as(method) not in UNTRAINED
        searched = candidates.get(family(method), 0) if learns else 0
        made = recipe_of(trained_as(method), config).negatives > 0 and training.hardest < 1
        rows.append(
            {
                "method": method,
                **marks,
                "negatives": "yes" if learns and made else "no",
                "before": pairs_before(method, config),
                "pairs": pairs_in_training(method, config),
                "searched": searched * training.early_steps * training.batch,
                "fits": fits if trained_as(method) in CURRICULUM else 0.0 if fits is not None else None,
                "seconds": seconds.get(trained_as(method)),
            }
        )
    columns = [
        Show("method", "Method"),
        Show("boxes", "Boxes in training"),
        Show("regions", "Boxes of every image"),
        Show("parser", "Parser"),
        Show("negatives", "Rule-made negatives"),
        Show("before", "Pairs before training", "count"),
        Show("pairs", "Pairs in training", "count"),
        Show("searched", "Pairs of the rate search", "count"),
        Show("fits", "Seconds before training", "count"),
        Show("seconds", "Seconds of training", "count"),
    ]
    table = render_table(
        pd.DataFrame(rows),
        None,
        source="config.yaml",
        title="Supervision and pairs of each method",
        columns=columns,
        derived="the methods' own declarations, the steps' log and the ledger; pairs are steps times batch, with "
        "repetition, for each seed",
    )
    explained = paragraph(
        "Two methods are on equal terms where their rows agree. All start from the same backbone, which saw the same "
        "pairs before. The boxes are those of {}. Pairs before training are the images and captions that the "
        "dictionary and the phrase units are fitted on. Seconds are by the clock of the run's machine, with whatever "
        "ran beside: of the fits that all seeds share, and of one seed's steps.",
        _labelled(config),
    )
    return [heading("Supervision and pairs"), table, explained]


def _fit_seconds(evidence: Evidence) -> float | None:
    """What the parser, the dictionary, the phrase units and the calibration took together; None without a ledger."""
    budget = evidence.get("budget")
    rows = None if budget is None else budget[budget["measure"].str.startswith("one_off_seconds_")]
    return None if rows is None or rows.empty else float(rows["value"].sum())


def _training_seconds(evidence: Evidence) -> dict[str, float]:
    """The steps of a whole training of each method, early ones and late ones, mean over its seeds."""
    late, early = evidence.get("log"), evidence.get("early_log")
    if late is None:
        return {}
    own = ["method", "seed"]
    # Combinations that were trained to the early check alone have no late steps, and then no sum.
    took = late.groupby(own)["seconds"].sum()
    if early is not None:
        took = (took + early.groupby(own)["seconds"].sum()).dropna()
    return {str(method): float(seconds) for method, seconds in took.groupby("method").mean().items()}


def _told(evidence: Evidence, config: Config, methods: list[str]) -> list[Markup]:
    """One line a method that is told more than images and captions: what, and what it costs; none without such."""
    kinds = {method: METHODS[trained_as(method)] for method in methods if trained_as(method) in METHODS}
    told = {method: kind for method, kind in kinds.items() if kind.told}
    if not told:
        return []
    budget = evidence.get("budget")
    lines = [
        say("<code>{}</code>: {}. {}", method, kind.told, _cost(budget, kind.name, config))
        for method, kind in told.items()
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
            "step. Of the other methods <code>grounding</code> and <code>lora-grounding</code> alone have it."
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
