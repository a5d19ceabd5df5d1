"""The headline of a run, measured again on images that nothing led to."""

from vialign.device import within_memory
from vialign.evaluation.confirmation import confirmation_table
from vialign.files.artifacts import write_table
from vialign.stage import Run
from vialign.tables.evaluation import COMPARISONS
from vialign.training.outcomes import checkpoint_outcomes


@within_memory("evaluation.gallery_batch")
def confirm(run: Run) -> None:
    """The finished method and its references on the split that is kept aside for this."""
    settings = run.config.evaluation
    outcomes = checkpoint_outcomes(
        run, run.input.checkpoints, "confirmation", weights="best", kinds=True, batch=settings.gallery_batch
    )
    table = confirmation_table(outcomes, run.params.method, settings.level)
    write_table(table, COMPARISONS, run.output[0], run.provenance)
