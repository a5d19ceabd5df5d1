"""Trust in the answers of a run's frozen backbone, from the files of the stages before."""

from collections.abc import Mapping

from vialign.config.experiment import Config
from vialign.features import BackboneFacts, read_images
from vialign.files.artifacts import read_table, write_table
from vialign.signal.calibration import read_calibration
from vialign.signal.inputs import read_split_features
from vialign.signal.trust.answers import Answers, gallery_answers
from vialign.signal.trust.tables import Settings, trust_tables
from vialign.stage import Run
from vialign.tables.language import TEXTS
from vialign.tables.signal import TRUST, TRUST_CURVES


def measure_trust(run: Run) -> None:
    """What tells that a top answer is wrong: combinations fitted on the rule's split `fit`, read on it and on those of
    `read`.
    """
    config, fit, files = run.config, run.params.fit, dict(run.input.items())
    answers = {split: split_answers(files, split, config) for split in dict.fromkeys((fit, *run.params.read))}
    settings = Settings(config.signal.bootstrap, config.evaluation.level, config.signal.folds, config.seed)
    table, curves = trust_tables(answers, fit, settings)
    write_table(table, TRUST, run.output.table, run.provenance)
    write_table(curves, TRUST_CURVES, run.output.curves, run.provenance)


def split_answers(files: Mapping[str, str], split: str, config: Config) -> dict[str, Answers]:
    """Answers of one split, by direction of retrieval.

    `files` names `calibration` and, of the split, `<split>_texts`, `<split>_image_features`, `<split>_text_features`
    and `<split>_encoded`. Raises UserError where one of them cannot be read.
    """
    images = files[f"{split}_image_features"]
    features = read_split_features(images, files[f"{split}_text_features"], files[f"{split}_encoded"])
    scale = BackboneFacts.from_provenance(read_images(images).provenance, images).logit_scale
    texts = read_table(files[f"{split}_texts"], TEXTS)
    return gallery_answers(features, texts, read_calibration(files["calibration"]), config.signal, scale)
