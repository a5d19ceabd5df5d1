"""Trust in the answers of a run's frozen backbone, from the files of the stages before."""

from collections.abc import Mapping, Sequence

import pandas as pd

from vialign.config.experiment import Config
from vialign.features import BackboneFacts, read_images
from vialign.files.artifacts import read_table
from vialign.signal.calibration import read_calibration
from vialign.signal.inputs import read_split_features
from vialign.signal.trust.answers import Answers, gallery_answers
from vialign.signal.trust.tables import Settings, trust_tables
from vialign.tables.language import TEXTS


def trust_of_run(
    files: Mapping[str, str], fit: str, splits: Sequence[str], config: Config
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of `TRUST` and `TRUST_CURVES`: combinations fitted on the split `fit`, read on it and on `splits`.

    `files` names `calibration` and, of each split, `<split>_texts`, `<split>_image_features`, `<split>_text_features`
    and `<split>_encoded`. Raises UserError where one of them cannot be read.
    """
    read = {split: split_answers(files, split, config) for split in dict.fromkeys((fit, *splits))}
    settings = Settings(config.signal.bootstrap, config.evaluation.level, config.signal.folds, config.seed)
    return trust_tables(read, fit, settings)


def split_answers(files: Mapping[str, str], split: str, config: Config) -> dict[str, Answers]:
    """Answers of one split, by direction of retrieval; `files` as in `trust_of_run`."""
    images = files[f"{split}_image_features"]
    features = read_split_features(images, files[f"{split}_text_features"], files[f"{split}_encoded"])
    scale = BackboneFacts.from_provenance(read_images(images).provenance, images).logit_scale
    texts = read_table(files[f"{split}_texts"], TEXTS)
    return gallery_answers(features, texts, read_calibration(files["calibration"]), config.signal, scale)
