"""Which differences of the headline hold on the images that nothing led to."""

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.evaluation.confirmation import CLAIMS
from vialign.report import summary
from vialign.report.blocks import absent, bullets, heading, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.numbers import cite, cite_interval, derived
from vialign.report.sections.common import words
from vialign.report.tables import Show, render_table
from vialign.tables.evaluation import COMPARISONS

_NAMES = {
    "image_to_text": "image to text, R@1",
    "text_to_image": "text to image, R@1",
    "aro_relation": "exchanged roles, accuracy",
    "replace_relation": "replaced relation, accuracy",
    "negatives": "rule-made hard negatives, accuracy",
}


@dataclass(frozen=True)
class Claim:
    """One difference of the headline that counts on the test split."""

    name: str
    reference: str
    shown: pd.Series
    """Its row of the comparisons."""
    again: pd.Series | None
    """Its row of the confirmation; none where the run has none."""
    confirmed: bool
    """Whether it has the same sign there and counts after Holm's correction over the claims."""


def claims(evidence: Evidence, config: Config) -> list[Claim] | None:
    """What the main method gained or lost to frozen backbone and LoRA on the first test split, as far as it counts.

    Negatives that the text alone solves are no claim. None for a run without comparisons.
    """
    method, comparisons = summary.main_method(evidence), evidence.get("comparisons")
    if method is None or comparisons is None:
        return None
    split, level, again = config.evaluation.splits[0], config.evaluation.level, evidence.get("confirmation")
    blind, found = summary.solved_blind(evidence), []
    for reference in summary.FLOOR:
        for name, measure, there in CLAIMS:
            shown = _row(comparisons, method, reference, f"{split}/{name}", measure)
            if shown is None or shown["benchmark"] in blind or not shown["p_holm"] < level:
                continue
            held = None if again is None else _row(again, method, reference, f"confirmation/{there}", measure)
            same = held is not None and (held["difference"] > 0) == (shown["difference"] > 0)
            found.append(
                Claim(_NAMES[name], reference, shown, held, bool(held is not None and same and held["p_holm"] < level))
            )
    return found


def _left_out(evidence: Evidence, split: str) -> Markup:
    """What counts for nothing because text alone solves it, as the end of a sentence; nothing where there is none."""
    blind = summary.solved_blind(evidence)
    names = [_NAMES[name] for name, *_ in CLAIMS if f"{split}/{name}" in blind]
    return say("; text alone solves {}, so no difference there counts", " and ".join(names)) if names else Markup("")


def confirmation_answer(evidence: Evidence, config: Config) -> Markup | None:
    """One sentence for the summary; None for a run without comparisons."""
    found = claims(evidence, config)
    if found is None:
        return None
    if evidence.get("confirmation") is None:
        return say("<strong>Not confirmed</strong>: this run measured nothing on the split <code>confirmation</code>.")
    split = config.evaluation.splits[0]
    if not found:
        return say(
            "<strong>Nothing to confirm</strong>: no difference in recall at rank one, in relations or on rule-made "
            "hard negatives to the frozen backbone or LoRA counts on <code>{}</code>{}.",
            split,
            _left_out(evidence, split),
        )
    held = [claim for claim in found if claim.confirmed]
    lost = [f"{claim.name} against {claim.reference}" for claim in found if not claim.confirmed]
    lead = "Confirmed" if not lost else "Confirmed in part" if held else "Not confirmed"
    text = say(
        "<strong>{}</strong>: {} of {} differences to the frozen backbone and LoRA that count on <code>{}</code> "
        "count with the same sign on <code>confirmation</code>, images that led to nothing before",
        lead,
        derived(len(held), "claims that hold here: same sign, p_holm below its level", evidence.path("confirmation")),
        derived(len(found), "claims with p_holm below evaluation.level", evidence.path("comparisons")),
        split,
    )
    return text + (say("; not {}.", ", nor ".join(lost)) if lost else Markup("."))


def confirmation_blocks(evidence: Evidence, config: Config) -> list[Markup]:
    """Every claim of the headline with what both splits say to it, and the table."""
    found, path, frame = claims(evidence, config), evidence.path("confirmation"), evidence.get("confirmation")
    title = heading("Confirmation")
    if found is None or frame is None:
        return [title, absent("the confirmation of the headline", path, evidence.stopped)]
    columns = [
        Show("benchmark", "Benchmark"),
        Show("measure", "Measure"),
        Show("method", "Method"),
        Show("reference", "Against"),
        Show("difference", "Difference, points", "points", "low", "high"),
        Show("p_holm", "p, Holm over the claims", "p"),
        Show("detectable", "Detectable, points", "percent"),
        Show("items", "Items", "count"),
    ]
    return [
        title,
        paragraph(
            "The split <code>confirmation</code> chose nothing and trained nothing. What carries the gain, trust in "
            "answers and the price of the correction are measured on it too, and lead to no choice either. A "
            "difference that counts on <code>{}</code> is confirmed where it has the same sign here and counts after "
            "Holm's correction over the claims. Exchanged roles and replaced relations are asked here as negatives "
            "made by rule.",
            config.evaluation.splits[0],
        ),
        bullets([_said(claim) for claim in found]),
        render_table(frame, COMPARISONS, source=path, title="The headline on fresh images", columns=columns),
    ]


def _row(frame: pd.DataFrame, method: str, reference: str, benchmark: str, measure: str) -> pd.Series | None:
    same = frame["method"].eq(method) & frame["reference"].eq(reference)
    part = frame[same & frame["benchmark"].eq(benchmark) & frame["measure"].eq(measure)]
    return None if part.empty else part.iloc[0]


def _said(claim: Claim) -> Markup:
    again = claim.again
    text = say(
        "{} against <em>{}</em>: {} points on {}, ",
        claim.name,
        claim.reference,
        cite_interval(claim.shown, "difference", "points"),
        words(claim.shown["benchmark"].split("/")[0]),
    )
    if again is None:
        return text + say("not measured again: <strong>not confirmed</strong>.")
    return text + say(
        "{} on confirmation (p {}): <strong>{}</strong>.",
        cite_interval(again, "difference", "points"),
        cite(again, "p_holm", "p"),
        "confirmed" if claim.confirmed else "not confirmed",
    )
