from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.report.compare_all import build_compare_all

    build_compare_all(run.results, run.config, Path(run.output[0]), run.provenance)
