"""The texts of one split of a run, parsed."""

from vialign.files.artifacts import read_table, write_table
from vialign.language.pipeline import load_pipeline
from vialign.language.texts import build_texts
from vialign.stage import Run
from vialign.tables.data import CAPTIONS, CHOICES, IMAGES, QUESTIONS
from vialign.tables.language import TEXTS, UNITS


def parse_split(run: Run) -> None:
    """Captions, made negatives and items of one split as texts, and the phrase units of each."""
    split = run.wildcards.split
    texts, units, whole = build_texts(
        read_table(run.input.captions, CAPTIONS),
        read_table(run.input.images, IMAGES),
        read_table(run.input.choices, CHOICES),
        read_table(run.input.questions, QUESTIONS),
        load_pipeline(run.input.pipeline),
        split=split,
        kinds=run.config.language.negatives,
        seed=run.config.seed,
        every_kind=split.startswith("diagnosis"),
    )
    print(f"{len(texts)} texts, {len(units)} units; {whole} texts had no phrase and stand as one unit")
    write_table(texts, TEXTS, run.output.texts, run.provenance)
    write_table(units, UNITS, run.output.units, run.provenance)
