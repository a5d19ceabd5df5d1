from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.evaluation.reproduction import require_calibrated
    from vialign.training.job import TrainingJob, run_job

    require_calibrated(getattr(run.input, "calibrated", []), run.config.evaluation.calibration.action)
    run_job(
        TrainingJob(
            config=run.config,
            method=run.wildcards.method,
            seed=int(run.wildcards.seed),
            until=run.params.until,
            inputs={name: str(path) for name, path in run.input.items() if name not in ("calibrated", "config")},
            outputs=dict(run.output.items()),
            provenance=run.provenance,
            threads=run.threads,
        )
    )
