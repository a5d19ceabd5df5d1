from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.files.artifacts import read_table, write_table
    from vialign.gates.signal import signal_verdict
    from vialign.signal.references import with_references
    from vialign.tables.gates import VERDICT
    from vialign.tables.signal import DIAGNOSIS, PROBE, REFERENCES, SIGNAL_CALIBRATION, SIGNAL_SCORES, STRESS_SUMMARY

    table = signal_verdict(
        with_references(read_table(run.input.scores, SIGNAL_SCORES), read_table(run.input.references, REFERENCES)),
        read_table(run.input.calibration, SIGNAL_CALIBRATION),
        read_table(run.input.diagnosis, DIAGNOSIS),
        read_table(run.input.probe, PROBE),
        read_table(run.input.stress, STRESS_SUMMARY),
        run.config.signal,
        run.config.gates.signal,
        run.config.seed,
    )
    print(table[["criterion", "value", "low", "high", "met", "required", "action"]].to_string())
    write_table(table, VERDICT, run.output[0], run.provenance)
