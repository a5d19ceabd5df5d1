from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.features.extract_job import extract_split_images

    extract_split_images(run)
