from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.report.compare_all import build_compare_all

    build_compare_all(run)
