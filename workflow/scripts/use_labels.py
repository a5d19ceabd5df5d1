from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.uses.jobs import use_labels

    use_labels(run)
