from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.artifacts import read_table, write_table
    from vialign.evaluation.blind import blind_benchmarks
    from vialign.signal.blind import fit_blind
    from vialign.tables import BLIND, CHOICES, QUESTIONS, TEXTS

    table = blind_benchmarks(
        fit_blind(read_table(run.input.train_texts, TEXTS), run.config.seed),
        {split: read_table(run.input[f"{split}_texts"], TEXTS) for split in run.config.test_splits},
        read_table(run.input.choices, CHOICES),
        read_table(run.input.questions, QUESTIONS),
        run.config.evaluation,
        run.config.seed,
    )
    write_table(table, BLIND, run.output[0], run.provenance)
