from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.gradients_job import trace_gradients

    trace_gradients(run)
