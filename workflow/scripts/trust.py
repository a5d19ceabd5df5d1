from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.files.artifacts import write_table
    from vialign.signal.trust import trust_of_run
    from vialign.tables.signal import TRUST, TRUST_CURVES

    table, curves = trust_of_run(dict(run.input.items()), run.params.fit, run.params.read, run.config)
    write_table(table, TRUST, run.output.table, run.provenance)
    write_table(curves, TRUST_CURVES, run.output.curves, run.provenance)
