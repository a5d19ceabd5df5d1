from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.features.regions_job import write_regions

    write_regions(run)
