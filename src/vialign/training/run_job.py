"""The trainings of a run as jobs of the workflow."""

from typing import Any, Literal

from vialign.evaluation.reproduced import require_reproduced
from vialign.stage import Run
from vialign.training.job import TrainingJob, average_job, run_job, search_job


def train_run(run: Run) -> None:
    """Train a method up to the early check, or from there to the end, once for each of the rule's seeds."""
    for number, seed in enumerate(run.params.seeds):
        run_job(_job(run, seed, run.params.until, number))


def search_run(run: Run) -> None:
    """Search the learning rate of a method."""
    search_job(_job(run, run.config.seed, "early"))


def average_run(run: Run) -> None:
    """Average the weights of a finished training with the frozen ones."""
    average_job(_job(run, int(run.wildcards.seed), "final"))


def _job(run: Run, seed: int, until: Literal["early", "final"], number: int = 0) -> TrainingJob:
    """The training that a rule asks for; of files that there is one of for each seed, those of this `number`.

    Raises UserError where the backbone misses its known numbers.
    """
    require_reproduced(getattr(run.input, "reproduced", []), run.config.evaluation.reproduction.action)

    def own(files: Any) -> dict[str, str]:
        return {name: str(path if isinstance(path, str) else path[number]) for name, path in files.items()}

    inputs = {name: path for name, path in run.input.items() if name not in ("reproduced", "config", "own_backbone")}
    return TrainingJob(
        config=run.config,
        method=run.wildcards.method,
        seed=seed,
        until=until,
        inputs=own(inputs),
        outputs=own(dict(run.output.items())),
        provenance={**run.provenance, "wildcard_seed": str(seed)},
        threads=run.threads,
    )
