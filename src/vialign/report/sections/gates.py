"""What the gates made of the evidence."""

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.report.blocks import Section, absent, folded, heading, paragraph
from vialign.report.evidence import GATES, Evidence
from vialign.report.tables import Show, render_table
from vialign.tables.gates import VERDICT


def verdict_table(frame: pd.DataFrame, path: str, title: str) -> Markup:
    """Criteria of a gate with value, threshold, evidence and reason."""
    columns = [
        Show("criterion", "Criterion", "prose"),
        Show("met", "Met", "verdict"),
        *([Show("undecided", "Undecided", "flag")] if frame["undecided"].any() else []),
        Show("value", "Measured", "number", "low", "high"),
        Show("threshold", "Threshold", "number"),
        Show("reason", "Reason", "prose"),
        Show("evidence", "Evidence"),
    ]
    return render_table(frame, VERDICT, source=path, title=title, columns=columns)


def gates(evidence: Evidence, config: Config) -> Section:
    """Every criterion of every gate that was reached: first those that decide, then those that only inform."""
    section = Section("gates", "Gates")
    for gate in GATES:
        frame, path = evidence.get(f"gate_{gate}"), evidence.path(f"gate_{gate}")
        section.blocks.append(heading(f"{gate.capitalize()} gate"))
        if frame is None:
            section.blocks.append(absent(f"the verdict of the {gate} gate", path, evidence.stopped))
            continue
        section.blocks.append(paragraph("Decision: <strong>{}</strong>.", frame["action"].iloc[0]))
        required = frame[frame["required"]]
        section.blocks.append(verdict_table(required, path, f"Criteria that decide the {gate} gate"))
        informative = frame[~frame["required"]]
        if not informative.empty:
            title = f"Criteria that only inform, {gate} gate"
            section.blocks.append(folded(title, verdict_table(informative, path, title)))
    return section
