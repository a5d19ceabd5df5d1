"""The report rule: everything under the results folder in, one self-contained HTML file out."""

import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.files.artifacts import write_text
from vialign.progress import track
from vialign.report.blocks import RESULTS, Section, part
from vialign.report.evidence import Evidence, read_evidence
from vialign.report.sections import SECTIONS, beside_published, design_review, opening


def build_report(
    results: Path,
    config: Config,
    output: Path,
    provenance: Mapping[str, str],
    called: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of whatever exists under `results` to `output`.

    The page needs no network and no JavaScript. A run that a gate stopped gives a report too: it says so first and
    adds a design review. The same results give the same bytes. `called` is how the run was called (the files of each
    option of Snakemake, and the config of the command line), for the command that takes it up again.

    Raises UserError when the folder is missing or one of its tables is broken.
    """
    page = render_report(read_evidence(Path(results), config), config, provenance, called)
    write_text(with_links(page, Path(results), Path(output)), output)


def render_report(
    evidence: Evidence, config: Config, provenance: Mapping[str, str], called: Mapping[str, Any] | None = None
) -> str:
    """The page as text; its links to tables wait for `with_links`."""
    review = partial(design_review, called=called)
    makers: list[Callable[[Evidence, Config], Section]] = [opening, *([review] if evidence.stopped else []), *SECTIONS]
    if config.report.frontier is not None:
        makers.append(beside_published)
    sections = [make(evidence, config) for make in track(makers, "sections of the report")]
    return render_page(config.title, "vialign report", sections, provenance)


def render_page(title: str, kind: str, sections: Sequence[Section], provenance: Mapping[str, str]) -> str:
    """One self-contained page of sections: style and script are part of it, and its policy forbids all else."""
    script = _asset("report.js")
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return part(
        "report.html.j2",
        title=title,
        kind=kind,
        sections=sections,
        style=Markup(_asset("style.css")),
        script=Markup(script),
        script_digest=f"sha256-{checksum}",
        provenance=sorted(provenance.items()),
    )


def with_links(page: str, results: Path, output: Path) -> str:
    """The page with its links to tables going from where it will lie to the results folder."""
    way = quote(Path(os.path.relpath(results.resolve(), output.parent.resolve())).as_posix())
    # Text from data is escaped, so a quotation mark before the scheme stands only where a template put it. As plain
    # text, because markup would escape what is put in.
    return str(page).replace(f'href="{RESULTS}', f'href="{way}/')


def _asset(name: str) -> str:
    return (files("vialign.report") / "templates" / name).read_text(encoding="utf-8").strip()
