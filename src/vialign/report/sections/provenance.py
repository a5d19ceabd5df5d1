"""What made every artifact: configuration, code, seed, versions, time."""

import pandas as pd
import yaml
from markupsafe import Markup

from vialign.config import Config, digest
from vialign.report.blocks import Section, absent, folded, heading, paragraph
from vialign.report.evidence import FILE, ROW, Evidence
from vialign.report.tables import Show, render_table

FIELDS = ("rule", "code_digest", "config_digest", "seed", "backbone_architecture", "backbone_checkpoint")


def provenance(evidence: Evidence, config: Config) -> Section:
    """One row an artifact, one row a timed rule, and the whole configuration."""
    section = Section("provenance", "Provenance")
    section.blocks.append(
        paragraph(
            "Configuration <strong>{}</strong>, digest <code>{}</code>. An artifact may carry another digest when "
            "only sections that it does not depend on have changed since.",
            config.name,
            digest(config),
        )
    )
    section.blocks.append(_artifacts(evidence))
    section.blocks.append(heading("Time and memory of the rules"))
    section.blocks.append(_benchmarks(evidence))
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    block = Markup('<pre tabindex="0"><code>{}</code></pre>').format(text)
    section.blocks.append(folded("The whole configuration, defaults included", block))
    return section


def _artifacts(evidence: Evidence) -> Markup:
    rows = [
        {
            "artifact": artifact.path,
            **{f"metadata.{field}": artifact.provenance.get(field, "") for field in FIELDS},
            FILE: artifact.path,
        }
        for artifact in evidence.artifacts
    ]
    if not rows:
        return paragraph("The results folder holds no artifact.")
    frame = pd.DataFrame(rows).assign(**{ROW: 0})
    columns = [
        Show("artifact", "Artifact"),
        Show("metadata.rule", "Rule"),
        Show("metadata.code_digest", "Code", "digest"),
        Show("metadata.config_digest", "Config", "digest"),
        Show("metadata.seed", "Seed"),
        Show("metadata.backbone_architecture", "Backbone"),
        Show("metadata.backbone_checkpoint", "Checkpoint", "digest"),
    ]
    source = "the metadata of each file"
    table = render_table(frame, None, source=source, title="Artifacts", columns=columns, limit=1000)
    return folded("Every artifact and what made it", table)


def _benchmarks(evidence: Evidence) -> Markup:
    """Rule times as Snakemake wrote them; they are not an input of the report, so they may be from an earlier run."""
    parts = []
    for path in sorted((evidence.results / "benchmarks").rglob("*.tsv")):
        frame = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
        job = path.relative_to(evidence.results / "benchmarks").with_suffix("").as_posix()
        where = path.relative_to(evidence.results).as_posix()
        kept = frame.reindex(columns=["s", "max_rss", "cpu_time"]).apply(pd.to_numeric, errors="coerce")
        parts.append(kept.assign(**{"job": job, FILE: where, ROW: range(len(frame))}))
    if not parts:
        return absent("rule times", "benchmarks/", None)
    frame = pd.concat(parts, ignore_index=True).sort_values("s", ascending=False, kind="stable")
    columns = [
        Show("job", "Rule and wildcards"),
        Show("s", "Wall time, s", "number"),
        Show("cpu_time", "CPU time, s", "number"),
        Show("max_rss", "Peak memory, MB", "number"),
    ]
    return render_table(frame, None, source="benchmarks/", title="Jobs, slowest first", columns=columns)
