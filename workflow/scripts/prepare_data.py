from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.data.base import write_dataset
    from vialign.data.registry import read_dataset

    # Real data sets draw nothing; the folder exists all the same, because the rule promises it.
    Path(run.output.drawn).mkdir(parents=True, exist_ok=True)
    tables = read_dataset(run.config.data, run.config.seed, Path(run.output.drawn).parent)
    write_dataset(tables, Path(run.output.images).parent, run.provenance)
