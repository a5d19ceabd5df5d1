from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.files.artifacts import write_text
    from vialign.report.build import build_report
    from vialign.report.sections.provenance import config_text
    from vialign.report.tracking import track_run

    write_text(config_text(run.config), run.output.config)
    build_report(run.results, run.config, Path(run.output[0]), run.provenance, run.params.called)
    track_run(run.config, Path(run.results))
