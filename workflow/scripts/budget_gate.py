from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.files.artifacts import read_table, write_table
    from vialign.gates.budget import budget_verdict
    from vialign.tables.gates import BUDGET, VERDICT

    table = budget_verdict(read_table(run.input.ledger, BUDGET), run.config.gates.budget, run.config.budget)
    write_table(table, VERDICT, run.output[0], run.provenance)
