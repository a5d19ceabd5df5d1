"""Every table that a run writes: where it lies, how it is declared, which rule makes it and what it shows.

The report finds its sources here, and the list of files in docs/architecture.md is made of it. Paths in the rules stay
written out; a test holds both together.
"""

from dataclasses import dataclass

from vialign.tables.attribution import ATTRIBUTION, CARRIERS
from vialign.tables.data import (
    CAPTIONS,
    CHOICES,
    DATA_CHECK,
    IMAGES,
    OBJECTS,
    PROBLEMS,
    QUESTIONS,
    RATINGS,
    RELATIONS,
    SHARED,
)
from vialign.tables.evaluation import (
    AGREEMENT,
    BLIND,
    COMPARISONS,
    OUTCOMES,
    RANKS,
    REPRODUCTION,
    RERANKING,
    RESULTS,
    SPENDING,
)
from vialign.tables.failures import FAILURE_MOVES, FAILURE_RATES, FAILURE_REVIEW, FAILURES
from vialign.tables.gates import ABLATION, BUDGET, CONTRIBUTIONS, VERDICT
from vialign.tables.language import LOSS_ABLATION, QUALITY, SPANS, TEXTS, UNITS
from vialign.tables.schema import Table
from vialign.tables.signal import (
    DIAGNOSIS,
    PROBE,
    REFERENCES,
    SIGNAL_CALIBRATION,
    SIGNAL_CONTROLS,
    SIGNAL_SCORES,
    STRESS,
    STRESS_SUMMARY,
    TRUST,
    TRUST_CURVES,
)
from vialign.tables.theory import THEORY, THEORY_TRENDS
from vialign.tables.training import (
    AVERAGES,
    GRADIENT_SAMPLES,
    GRADIENT_TERMS,
    MONITOR,
    MONITORING,
    OPTIMISATION_PATH,
    SEARCH,
    SIGNAL_MONITOR,
    TRAINING_LOG,
)
from vialign.tables.uses import CURVES, USES


@dataclass(frozen=True)
class Result:
    """One table of a run, or one a method, seed or split."""

    name: str
    """In the report and its code."""
    path: str
    """Relative to the results folder; `{method}`, `{seed}` and `{split}` stand for those of a run."""
    table: Table
    """Its columns."""
    rule: str
    """The rule that makes it; empty where people do."""
    caption: str
    """What it holds, in a line."""

    @property
    def single(self) -> bool:
        """Whether it is one file."""
        return "{" not in self.path


RESULTS_OF_A_RUN = (
    Result("images", "data/images.parquet", IMAGES, "prepare_data", "every image, its split and its file"),
    Result("captions", "data/captions.parquet", CAPTIONS, "prepare_data", "the captions of the images"),
    Result("objects", "data/objects.parquet", OBJECTS, "prepare_data", "labelled boxes"),
    Result("relations", "data/relations.parquet", RELATIONS, "prepare_data", "labelled relations between boxes"),
    Result("choices", "data/choices.parquet", CHOICES, "prepare_data", "items that ask for the right caption or image"),
    Result("questions", "data/questions.parquet", QUESTIONS, "prepare_data", "questions with their answers"),
    Result("ratings", "data/ratings.parquet", RATINGS, "prepare_data", "what people think of pairs"),
    Result("problems", "data/problems.parquet", PROBLEMS, "prepare_data", "broken rows that were left out, and why"),
    Result("shared", "data/shared.parquet", SHARED, "prepare_data", "photographs of a source that were kept out"),
    Result(
        "data_check", "data/check.parquet", DATA_CHECK, "check_data", "what data are there and what is wrong with them"
    ),
    Result(
        "language_quality",
        "language/quality.parquet",
        QUALITY,
        "train_language",
        "how well the parser reads held-out sentences",
    ),
    Result("texts", "language/{split}/texts.parquet", TEXTS, "parse_texts", "captions, negatives and items as texts"),
    Result("units", "language/{split}/units.parquet", UNITS, "parse_texts", "phrase units of every text"),
    Result("readout", "features/readout.parquet", QUALITY, "readout", "what each readout of patches tells of words"),
    Result(
        "visual_quality",
        "disentangle/visual_quality.parquet",
        QUALITY,
        "fit_visual",
        "how well prototypes cover labelled boxes",
    ),
    Result("text_quality", "disentangle/text_quality.parquet", QUALITY, "fit_text", "how well phrase units are found"),
    Result("text_spans", "disentangle/text_spans.parquet", SPANS, "fit_text", "phrases found, by kind and by typos"),
    Result(
        "text_domains",
        "disentangle/text_domains.parquet",
        SPANS,
        "text_domains",
        "phrases found in other kinds of text",
    ),
    Result(
        "phrase_grounding",
        "disentangle/phrase_grounding.parquet",
        QUALITY,
        "point_phrases",
        "how often phrases that people wrote point into their boxes",
    ),
    Result(
        "loss_ablation",
        "disentangle/loss_ablation.parquet",
        LOSS_ABLATION,
        "ablate_losses",
        "both disentanglers with one term of their loss left out",
    ),
    Result(
        "signal_calibration",
        "signal/calibration.parquet",
        SIGNAL_CALIBRATION,
        "calibrate_signal",
        "the monotone maps of both similarities",
    ),
    Result("scores", "signal/scores.parquet", SIGNAL_SCORES, "score_pairs", "every signal of every diagnosed pair"),
    Result(
        "controls",
        "signal/controls.parquet",
        SIGNAL_CONTROLS,
        "score_controls",
        "the same with shuffled prototypes and with an unfitted dictionary",
    ),
    Result(
        "references", "signal/references.parquet", REFERENCES, "score_references", "simpler signals of the same pairs"
    ),
    Result(
        "diagnosis", "signal/diagnosis.parquet", DIAGNOSIS, "diagnose", "how each signal tells aligned from other pairs"
    ),
    Result("probe", "signal/probe.parquet", PROBE, "probe", "what a linear probe reads of relations"),
    Result("stress", "signal/stress.parquet", STRESS, "stress", "discrimination under every disturbance"),
    Result(
        "stress_summary",
        "signal/stress_summary.parquet",
        STRESS_SUMMARY,
        "stress",
        "what is kept of the clean discrimination",
    ),
    Result("gate_signal", "signal/verdict.parquet", VERDICT, "signal_gate", "verdict of the signal gate"),
    Result("budget", "budget/ledger.parquet", BUDGET, "ledger", "what every method costs beyond its reference"),
    Result("gate_budget", "gates/budget.parquet", VERDICT, "budget_gate", "verdict of the budget gate"),
    Result("search", "search/{method}.parquet", SEARCH, "search_rate", "candidates of a method's learning rate"),
    Result(
        "early_log",
        "train/{method}/{seed}/early_log.parquet",
        TRAINING_LOG,
        "train_early",
        "losses up to the early check",
    ),
    Result(
        "early_monitor",
        "train/{method}/{seed}/early_monitor.parquet",
        MONITOR,
        "train_early",
        "selection checks up to the early check",
    ),
    Result(
        "early_signal_monitor",
        "train/{method}/{seed}/early_signal_monitor.parquet",
        SIGNAL_MONITOR,
        "train_early",
        "light checks of the signal up to the early check",
    ),
    Result(
        "early_outcomes",
        "train/{method}/{seed}/early_outcomes.parquet",
        OUTCOMES,
        "train_early",
        "selection queries at the early check",
    ),
    Result("log", "train/{method}/{seed}/log.parquet", TRAINING_LOG, "train_final", "losses of the whole training"),
    Result(
        "monitor",
        "train/{method}/{seed}/monitor.parquet",
        MONITOR,
        "train_final",
        "selection checks of the whole training",
    ),
    Result(
        "signal_monitor",
        "train/{method}/{seed}/signal_monitor.parquet",
        SIGNAL_MONITOR,
        "train_final",
        "light checks of the signal",
    ),
    Result(
        "averages",
        "train/{method}/{seed}/averages.parquet",
        AVERAGES,
        "average_weights",
        "averages of tuned and frozen weights on selection",
    ),
    Result(
        "early_monitoring",
        "gates/early_monitoring.parquet",
        MONITORING,
        "early_gate",
        "how mean C and the selection metric move together, early",
    ),
    Result(
        "gate_outcomes",
        "gates/early_outcomes.parquet",
        OUTCOMES,
        "early_outcomes",
        "queries of the early gate's own split at the early check",
    ),
    Result("gate_early", "gates/early.parquet", VERDICT, "early_gate", "verdict of the early gate"),
    Result(
        "ablation", "ablate/ablation.parquet", ABLATION, "ablation", "all subsets of the modules, and the one chosen"
    ),
    Result("contributions", "ablate/contributions.parquet", CONTRIBUTIONS, "ablation", "what each module adds"),
    Result("attribution", "attribute/attribution.parquet", ATTRIBUTION, "attribution", "what each replaced part costs"),
    Result("carriers", "attribute/carriers.parquet", CARRIERS, "attribution", "what carries the gain"),
    Result("use_noise", "uses/noise.parquet", USES, "use_noise", "what rules for noisy captions win back"),
    Result("use_order", "uses/order.parquet", USES, "use_order", "what an order of the captions is worth"),
    Result("curves", "uses/curves.parquet", CURVES, "use_order", "learning curves of each order"),
    Result("use_labels", "uses/labels.parquet", USES, "use_labels", "what fewer labelled images cost"),
    Result(
        "replaced_outcomes",
        "attribute/{method}/{part}.parquet",
        OUTCOMES,
        "train_replaced",
        "queries of the method with one part replaced",
    ),
    Result(
        "outcomes",
        "evaluate/{method}/{seed}/outcomes.parquet",
        OUTCOMES,
        "evaluate_method",
        "every test query and whether it was solved",
    ),
    Result(
        "reranking",
        "evaluate/{method}/{seed}/reranking.parquet",
        RERANKING,
        "evaluate_method",
        "how often reranking gives the exact answer",
    ),
    Result(
        "ranks_of_method",
        "evaluate/{method}/{seed}/ranks.parquet",
        RANKS,
        "evaluate_method",
        "median rank and mAP@R of retrieval",
    ),
    Result("agreement", "evaluate/agreement.parquet", AGREEMENT, "agreement", "agreement of the signals with people"),
    Result("blind", "evaluate/blind.parquet", BLIND, "blind_benchmarks", "what the text alone solves"),
    Result("results", "compare/results.parquet", RESULTS, "compare", "results of every method, with intervals"),
    Result("ranks", "compare/ranks.parquet", RANKS, "compare", "median rank and mAP@R of every method"),
    Result("comparisons", "compare/comparisons.parquet", COMPARISONS, "compare", "paired differences between methods"),
    Result("backbones", "compare/backbones.parquet", RESULTS, "compare_backbones", "both demo backbones, frozen"),
    Result(
        "backbone_differences",
        "compare/backbone_differences.parquet",
        COMPARISONS,
        "compare_backbones",
        "paired differences between the demo backbones",
    ),
    Result(
        "confirmation",
        "compare/confirmation.parquet",
        COMPARISONS,
        "confirm",
        "the headline's differences on images that nothing led to",
    ),
    Result("spending", "analyse/spending.parquet", SPENDING, "spend", "the gain kept at a share of its cost"),
    Result(
        "reproduction",
        "compare/reproduction.parquet",
        REPRODUCTION,
        "reproduce",
        "the frozen backbone against known numbers",
    ),
    Result("ranks_all", "compare_all/ranks.parquet", RANKS, "compare_methods", "median rank and mAP@R of all methods"),
    Result("results_all", "compare_all/results.parquet", RESULTS, "compare_methods", "results of all methods"),
    Result(
        "comparisons_all",
        "compare_all/comparisons.parquet",
        COMPARISONS,
        "compare_methods",
        "paired differences between all methods",
    ),
    Result("budget_all", "compare_all/ledger.parquet", BUDGET, "ledger_methods", "costs of all methods"),
    Result("failures", "analyse/failures.parquet", FAILURES, "failures", "failed queries, their class and evidence"),
    Result(
        "failure_rates",
        "analyse/failure_rates.parquet",
        FAILURE_RATES,
        "failures",
        "how often each class of failure occurs",
    ),
    Result(
        "failure_moves",
        "analyse/failure_moves.parquet",
        FAILURE_MOVES,
        "failures",
        "what became of the frozen backbone's failures",
    ),
    Result(
        "failure_review",
        "analyse/failure_review.parquet",
        FAILURE_REVIEW,
        "",
        "labels that people gave to failures (`vialign failures import`)",
    ),
    Result(
        "monitoring",
        "analyse/monitoring.parquet",
        MONITORING,
        "monitoring",
        "how mean C and the selection metric move together",
    ),
    Result(
        "gradient_terms",
        "analyse/gradient_terms.parquet",
        GRADIENT_TERMS,
        "gradients",
        "gradients of the terms of the loss along the trail",
    ),
    Result(
        "gradient_samples",
        "analyse/gradient_samples.parquet",
        GRADIENT_SAMPLES,
        "gradients",
        "gradients of single samples by their C",
    ),
    Result(
        "optimisation_path",
        "analyse/optimisation_path.parquet",
        OPTIMISATION_PATH,
        "gradients",
        "the path of the weights",
    ),
    Result("trust", "analyse/trust.parquet", TRUST, "trust", "what tells that a top answer is wrong"),
    Result(
        "trust_curves",
        "analyse/trust_curves.parquet",
        TRUST_CURVES,
        "trust",
        "errors among the answers that are kept, by the share kept",
    ),
    Result("theory", "analyse/theory.parquet", THEORY, "theory", "C in worlds of known mutual information"),
    Result("theory_trends", "analyse/theory_trends.parquet", THEORY_TRENDS, "theory", "whether C follows it"),
)
"""In the order in which a run makes them."""

NAMED = {result.name: result for result in RESULTS_OF_A_RUN}
"""The same by name."""


MARKS = ("<!-- made by `vialign results list`; `make schema` writes it anew -->", "<!-- end of results -->")
"""Around the list in docs/architecture.md."""


def records() -> list[dict[str, str | None]]:
    """Every file as an object of JSON, with what `listing` says of it."""
    return [
        {"name": one.name, "file": one.path, "table": one.table.name, "rule": one.rule or None, "caption": one.caption}
        for one in RESULTS_OF_A_RUN
    ]


def listing() -> str:
    """A table in Markdown of every file."""
    lines = ["| file | rows of | made by | what it holds |", "| --- | --- | --- | --- |"]
    for result in RESULTS_OF_A_RUN:
        rule = f"`{result.rule}`" if result.rule else "people"
        lines.append(f"| `{result.path}` | `{result.table.name}` | {rule} | {result.caption} |")
    return "\n".join(["", *lines, "", ""])
