"""Agreement of the signals with people's ratings."""

import pandas as pd

from vialign.evaluation.agreement import rating_agreement
from vialign.files.artifacts import read_table, write_table
from vialign.methods.inputs import read_split
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.data import RATINGS
from vialign.tables.evaluation import AGREEMENT
from vialign.tables.language import TEXTS, UNITS


def compare_with_people(run: Run) -> None:
    """Agreement of the signals with people's ratings."""
    config = run.config

    def references(pairs: pd.DataFrame) -> pd.DataFrame:
        from functools import partial

        from vialign.backbone import load_backbone
        from vialign.features import read_images, read_texts
        from vialign.signal.references import encode_words, score_references

        return score_references(
            pairs,
            read_images(run.input.image_features),
            read_texts(run.input.text_features),
            read_table(run.input.texts, TEXTS),
            read_table(run.input.units, UNITS),
            partial(encode_words, load_backbone(config.backbone, config.seed)),
        )

    table = rating_agreement(
        read_split(run.input.texts, run.input.image_features, run.input.text_features, run.input.encoded),
        read_table(run.input.ratings, RATINGS),
        read_calibration(run.input.calibration),
        config.signal,
        config.evaluation.level,
        config.seed,
        references,
    )
    write_table(table, AGREEMENT, run.output[0], run.provenance)
