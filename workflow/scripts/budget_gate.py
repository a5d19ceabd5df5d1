from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.artifacts import read_table, write_table
    from vialign.evaluation.gates import budget_verdict
    from vialign.tables import BUDGET, VERDICT

    table = budget_verdict(read_table(run.input.ledger, BUDGET), run.config.gates.budget, run.config.budget)
    write_table(table, VERDICT, run.output[0], run.provenance)
