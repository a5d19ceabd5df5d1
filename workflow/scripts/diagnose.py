from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.files.artifacts import read_table, write_table
    from vialign.signal.references import with_references
    from vialign.signal.validation.diagnosis import diagnose
    from vialign.tables.signal import DIAGNOSIS, REFERENCES, SIGNAL_SCORES

    scores = read_table(run.input.scores, SIGNAL_SCORES)
    scores = with_references(scores, read_table(run.input.references, REFERENCES))
    table = diagnose(scores, run.config.signal, run.config.gates.signal.level, run.config.seed)
    write_table(table, DIAGNOSIS, run.output[0], run.provenance)
