"""What the method cost, as an answer of the summary."""

import pandas as pd
from markupsafe import Markup

from vialign.gates.verdict import missed, undecided, unmeasured
from vialign.report import summary
from vialign.report.blocks import say
from vialign.report.evidence import Evidence
from vialign.report.numbers import cite, cite_interval, quote
from vialign.report.sections.common import cost_caveat


def there(*sentences: Markup | None) -> list[Markup]:
    """The sentences that there is anything to say for."""
    return [sentence for sentence in sentences if sentence]


def unknown(evidence: Evidence, what: str) -> list[Markup]:
    """That something is not known, and why."""
    why = (
        f"the {evidence.stopped} gate stopped the run before it" if evidence.stopped else "this run did not measure it"
    )
    return [say("<strong>Not known</strong>: {}; {}.", what, why)]


_COSTS = {
    "parameters_extra_share": "extra parameters",
    "inference_overhead": "extra time of inference",
    "training_overhead": "extra time of training",
}


def costs(evidence: Evidence) -> list[Markup]:
    """What the budget's verdict says, and the ledger's numbers behind it."""
    ledger = evidence.get("budget")
    if ledger is None:
        return unknown(evidence, "no ledger of parameters and times")
    measured = set(ledger["method"])
    method = next((name for name in (summary.main_method(evidence), "vialign") if name in measured), None)
    own = ledger[ledger["method"].eq(method or "") & ledger["limit"].notna() & ledger["measure"].isin(_COSTS)]
    found = []
    for backbone, part in own.groupby("backbone", sort=False):
        costs = Markup(", ").join(
            say("{} {} %{}", _COSTS[row["measure"]], cite_interval(row, "value", "percent"), cost_caveat(row))
            for _, row in part.iterrows()
        )
        found.append(say("<em>{}</em> on <code>{}</code>: {}.", method, backbone, costs))
    return [*there(_outcome(evidence)), *found] or unknown(evidence, "the ledger has no limit of this method")


def _outcome(evidence: Evidence) -> Markup | None:
    verdict = evidence.get("gate_budget")
    if verdict is None:
        return None
    broken, open_ = missed(verdict), undecided(verdict)
    broken = broken[~broken["undecided"]]  # a strict gate stops at undecided limits too, which are not broken by that
    if broken.empty and len(open_):
        return say(
            "<strong>Undecided</strong>: no limit of the efficiency budget is broken, and this machine could not tell "
            "whether these are kept: {}. Operations and bytes, which no clock measures, stand beside it (Efficiency).",
            _limits(open_),
        )
    if broken.empty and len(unmeasured(verdict)):
        return say(
            "<strong>No more than allowed</strong>, by its operations and bytes, which are the same on every machine. "
            "The clock of this one could not tell: {}.",
            _limits(unmeasured(verdict)),
        )
    if broken.empty:
        # Times on a small backbone inform without binding; a reader must not take them for kept.
        if bool((verdict["criterion"].str.startswith("vialign on") & ~verdict["met"]).any()):
            return say(
                "<strong>No more than allowed</strong>: every limit of the efficiency budget that binds is kept; some "
                "that only inform are not (Gates)."
            )
        return say("<strong>No more than allowed</strong>: every limit of the efficiency budget is kept.")
    return say("<strong>More than allowed</strong>. The efficiency budget is broken: {}.", _limits(broken))


def _limits(rows: pd.DataFrame) -> Markup:
    """Every limit of these rows of VERDICT, with what was measured and, where it is undecided, why."""
    return Markup("; ").join(
        say(
            "{} (measured {}, limit {}{})",
            quote(row, "criterion"),
            cite_interval(row, "value", "number"),
            cite(row, "threshold", "number"),
            say("; {}", quote(row, "reason")) if row["undecided"] else "",
        )
        for _, row in rows.iterrows()
    )
