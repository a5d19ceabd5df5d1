from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.data.base import write_dataset
    from vialign.data.registry import read_dataset

    # Real data sets draw and publish nothing; the folders exist all the same, because the rule promises them.
    for folder in (run.output.drawn, run.output.published):
        Path(folder).mkdir(parents=True, exist_ok=True)
    tables = read_dataset(run.config.data, run.config.seed, Path(run.output.drawn).parent)
    write_dataset(tables, Path(run.output.images).parent, run.provenance)
