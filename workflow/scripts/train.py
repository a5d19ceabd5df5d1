from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.evaluation.reproduction import require_reproduced
    from vialign.training.job import TrainingJob, run_job

    require_reproduced(getattr(run.input, "reproduced", []), run.config.evaluation.reproduction.action)
    run_job(
        TrainingJob(
            config=run.config,
            method=run.wildcards.method,
            seed=int(run.wildcards.seed),
            until=run.params.until,
            inputs={name: str(path) for name, path in run.input.items() if name not in ("reproduced", "config")},
            outputs=dict(run.output.items()),
            provenance=run.provenance,
            threads=run.threads,
        )
    )
