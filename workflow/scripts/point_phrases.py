from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.disentangle.grounding_job import point_phrases

    point_phrases(run)
