"""The report rule: everything under the results folder in, one self-contained HTML file out."""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from vialign.artifacts import write_text
from vialign.config import Config
from vialign.progress import track
from vialign.report.blocks import part
from vialign.report.evidence import Evidence, read_evidence
from vialign.report.sections import SECTIONS, design_review, opening


def build_report(results: Path, config: Config, output: Path, provenance: Mapping[str, str]) -> None:
    """Write the report of whatever exists under `results` to `output`.

    The page needs no network and no JavaScript. A run that a gate stopped gives a report too: it says so first and
    adds a design review. The same results give the same bytes.

    Raises UserError when the folder is missing or one of its tables is broken.
    """
    write_text(render_report(read_evidence(Path(results), config), config, provenance), output)


def render_report(evidence: Evidence, config: Config, provenance: Mapping[str, str]) -> str:
    """The page as text."""
    makers = [opening, *([design_review] if evidence.stopped else []), *SECTIONS]
    sections = [make(evidence, config) for make in track(makers, "sections of the report")]
    script = _asset("report.js")
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return part(
        "report.html.j2",
        title=config.title,
        sections=sections,
        style=Markup(_asset("style.css")),
        script=Markup(script),
        script_digest=f"sha256-{checksum}",
        provenance=sorted(provenance.items()),
    )


def _asset(name: str) -> str:
    return (files("vialign.report") / "templates" / name).read_text(encoding="utf-8").strip()
