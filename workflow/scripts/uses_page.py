from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.report.uses import build_uses

    build_uses(run.results, run.config, Path(run.output[0]), run.provenance)
