from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.signal.calibration_job import fit_maps

    fit_maps(run)
