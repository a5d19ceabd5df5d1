from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.disentangle.domains_job import measure_domains

    measure_domains(run)
