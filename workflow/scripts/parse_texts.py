from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.language.parse_job import parse_split

    parse_split(run)
