from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.report.uses import build_uses

    build_uses(run)
