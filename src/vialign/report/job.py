"""The report of a run, the configuration beside it, and what an experiment tracker is told."""

from pathlib import Path

from vialign.files.artifacts import write_text
from vialign.report.build import build_report
from vialign.report.sections.provenance import config_text
from vialign.report.tracking import track_run
from vialign.stage import Run


def write_report(run: Run) -> None:
    """The report of whatever the run made, with the whole configuration beside it."""
    write_text(config_text(run.config), run.output.config)
    build_report(run.results, run.config, Path(run.output[0]), run.provenance, run.params.called)
    track_run(run.config, run.results)
