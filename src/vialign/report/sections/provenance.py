"""What made every artifact: configuration, code, seed, versions, machine, time and memory."""

import io

import pandas as pd
import yaml
from markupsafe import Markup

from vialign.config.experiment import Config, digest
from vialign.files.text import read_text
from vialign.report.blocks import Section, absent, folded, heading, paragraph
from vialign.report.evidence import FILE, ROW, Evidence
from vialign.report.tables import Show, render_table

FIELDS = ("rule", "code_digest", "config_digest", "seed", "backbone_architecture", "backbone_checkpoint")


def provenance(evidence: Evidence, config: Config) -> Section:
    """The configuration, versions and machine, one row an artifact, and time and memory of every rule."""
    section = Section("provenance", "Provenance")
    section.blocks.append(
        paragraph(
            "Configuration <strong>{}</strong>, digest <code>{}</code>. An artifact may carry another digest when "
            "only sections that it does not depend on have changed since.",
            config.name,
            digest(config),
        )
    )
    block = Markup('<pre tabindex="0" role="region" aria-label="Configuration"><code>{}</code></pre>')
    section.blocks.append(folded("The whole configuration, defaults included", block.format(config_text(config))))
    section.blocks.append(heading("Versions and machine"))
    section.blocks.append(_versions(evidence))
    section.blocks.append(heading("Artifacts"))
    section.blocks.append(_artifacts(evidence))
    section.blocks.append(heading("Time and memory of the rules"))
    section.blocks.extend(_benchmarks(evidence))
    return section


def config_text(config: Config) -> str:
    """The whole configuration as YAML, which reads back as the same configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _versions(evidence: Evidence) -> Markup:
    """Every value of each field that tells versions, machine or backbone, and how many artifacts carry it."""
    rows = [
        (name.removeprefix("version_"), value)
        for artifact in evidence.artifacts
        for name, value in artifact.provenance.items()
        if name.startswith(("version_", "backbone_")) or name in ("python", "machine")
    ]
    if not rows:
        return paragraph("No artifact says with what it was made.")
    counts = pd.DataFrame(rows, columns=["field", "value"]).value_counts().rename("artifacts").reset_index()
    columns = [Show("field", "What"), Show("value", "Value", "prose"), Show("artifacts", "Artifacts", "count")]
    return render_table(
        counts.sort_values(["field", "artifacts"], ascending=[True, False], kind="stable"),
        None,
        source="the metadata of each file",
        title="Versions, machine and backbone",
        columns=columns,
        derived="artifacts counted by what their metadata says",
    )


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


def _benchmarks(evidence: Evidence) -> list[Markup]:
    """Rule times as Snakemake wrote them; they are not an input of the report, so they may be from an earlier run."""
    parts = []
    for path in sorted((evidence.results / "benchmarks").rglob("*.tsv")):
        frame = pd.read_csv(io.StringIO(read_text(path)), sep="\t", na_values=["-", "NA"])
        job = path.relative_to(evidence.results / "benchmarks").with_suffix("").as_posix()
        where = path.relative_to(evidence.results).as_posix()
        kept = frame.reindex(columns=["s", "max_rss", "cpu_time"]).apply(pd.to_numeric, errors="coerce")
        parts.append(kept.assign(**{"job": job, FILE: where, ROW: range(len(frame))}))
    if not parts:
        return [absent("rule times", "benchmarks/", None)]
    frame = pd.concat(parts, ignore_index=True).sort_values("s", ascending=False, kind="stable")
    rules = frame.groupby(frame["job"].str.split("/").str[0].rename("rule")).agg(
        jobs=("job", "size"),
        s=("s", "sum"),
        # A time that no job of the rule has is missing, not zero.
        cpu_time=("cpu_time", lambda times: times.sum(min_count=1)),
        max_rss=("max_rss", "max"),
    )
    measures = [
        Show("s", "Wall time, s", "number"),
        Show("cpu_time", "CPU time, s", "number"),
        Show("max_rss", "Peak memory, MB", "number"),
    ]
    every = render_table(
        frame,
        None,
        source="benchmarks/",
        title="Jobs, slowest first",
        columns=[Show("job", "Rule and wildcards"), *measures],
        limit=1000,
    )
    return [
        render_table(
            rules.sort_values("s", ascending=False, kind="stable").reset_index(),
            None,
            source="benchmarks/",
            title="Rules, slowest first",
            columns=[Show("rule", "Rule"), Show("jobs", "Jobs", "count"), *measures],
            derived="times of a rule's jobs added up, largest memory of one job",
        ),
        folded("Every job", every),
    ]
