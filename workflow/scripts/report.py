from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.report.build import build_report

    build_report(run.results, run.config, Path(run.output[0]), run.provenance)
