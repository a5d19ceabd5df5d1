"""What the text alone solves of every benchmark."""

from vialign.evaluation.blind import blind_benchmarks
from vialign.files.artifacts import read_table, write_table
from vialign.signal.blind import fit_blind
from vialign.stage import Run
from vialign.tables.data import CHOICES, QUESTIONS
from vialign.tables.evaluation import BLIND
from vialign.tables.language import TEXTS


def solve_blindly(run: Run) -> None:
    """What the text alone solves of every benchmark."""
    table = blind_benchmarks(
        fit_blind(read_table(run.input.train_texts, TEXTS), run.config.seed),
        {split: read_table(run.input[f"{split}_texts"], TEXTS) for split in run.config.test_splits},
        read_table(run.input.choices, CHOICES),
        read_table(run.input.questions, QUESTIONS),
        run.config.evaluation,
        run.config.seed,
    )
    write_table(table, BLIND, run.output[0], run.provenance)
