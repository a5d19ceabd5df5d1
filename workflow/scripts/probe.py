from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.signal.validation.probe_job import probe_relations

    probe_relations(run)
