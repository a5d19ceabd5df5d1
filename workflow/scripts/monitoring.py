from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.files.artifacts import write_table
    from vialign.signal.validation.monitoring import monitoring
    from vialign.tables.training import MONITORING, SIGNAL_MONITOR
    from vialign.training.records import read_records

    config = run.config
    checks = read_records(run.input.checks, SIGNAL_MONITOR)
    table = monitoring(checks, config.training.monitor, config.evaluation.level, config.seed)
    write_table(table, MONITORING, run.output[0], run.provenance)
