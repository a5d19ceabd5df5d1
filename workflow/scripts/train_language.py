from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.language.train_job import train_parser

    train_parser(run)
