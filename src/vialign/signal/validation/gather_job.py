"""The stress test of a run's signal, from the scores that the jobs of its shards made."""

from vialign.files.artifacts import read_table, write_table
from vialign.signal.validation.decay import stress_points, stress_summary, stress_table
from vialign.signal.validation.stress_shards import stressed_of
from vialign.stage import Run
from vialign.tables.signal import STRESS, STRESS_SUMMARY, STRESSED


def gather_stress(run: Run) -> None:
    """Discrimination under every disturbance, with the intervals that need all of them."""
    stressed = stressed_of([read_table(path, STRESSED) for path in run.input.scores])
    points = stress_points(stressed, run.config.signal, run.config.seed, len(stressed))
    write_table(stress_table(points), STRESS, run.output.curves, run.provenance)
    write_table(stress_summary(points), STRESS_SUMMARY, run.output.summary, run.provenance)
