from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.evaluation.reproduction import require_reproduced
    from vialign.training.job import TrainingJob, search_job

    require_reproduced(getattr(run.input, "reproduced", []), run.config.evaluation.reproduction.action)
    search_job(
        TrainingJob(
            config=run.config,
            method=run.wildcards.method,
            seed=run.config.training.seeds[0],
            until="early",
            inputs={name: str(path) for name, path in run.input.items() if name not in ("reproduced", "config")},
            outputs=dict(run.output.items()),
            provenance=run.provenance,
            threads=run.threads,
        )
    )
