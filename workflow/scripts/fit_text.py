from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.disentangle.text_job import fit_units

    fit_units(run)
