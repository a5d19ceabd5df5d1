"""The trainings of a run as jobs of the workflow."""

from typing import Literal

from vialign.evaluation.reproduction import require_reproduced
from vialign.stage import Run
from vialign.training.job import TrainingJob, run_job, search_job


def train_run(run: Run) -> None:
    """Train a method up to the early check, or from there to the end."""
    run_job(_job(run, int(run.wildcards.seed), run.params.until))


def search_run(run: Run) -> None:
    """Search the learning rate of a method."""
    search_job(_job(run, run.config.training.seeds[0], "early"))


def _job(run: Run, seed: int, until: Literal["early", "final"]) -> TrainingJob:
    """The training that a rule asks for. Raises UserError where the backbone misses its known numbers."""
    require_reproduced(getattr(run.input, "reproduced", []), run.config.evaluation.reproduction.action)
    return TrainingJob(
        config=run.config,
        method=run.wildcards.method,
        seed=seed,
        until=until,
        inputs={name: str(path) for name, path in run.input.items() if name not in ("reproduced", "config")},
        outputs=dict(run.output.items()),
        provenance=run.provenance,
        threads=run.threads,
    )
