from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.disentangle.visual_job import fit_prototypes

    fit_prototypes(run)
