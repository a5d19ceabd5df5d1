"""The signals of a run's diagnosed pairs."""

from vialign.device import device_of, within_memory
from vialign.files.artifacts import read_table, write_table
from vialign.signal.calibration import read_calibration
from vialign.signal.inputs import read_split_features
from vialign.signal.pairs import build_pairs, score_pairs
from vialign.stage import Run
from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.language import TEXTS
from vialign.tables.signal import SIGNAL_SCORES


@within_memory("data.sizes")
def score_diagnosed(run: Run) -> None:
    """Every signal of every diagnosed pair: aligned, drawn at random, and with each kind of negative."""
    files, settings, seed = run.input, run.config.signal, run.config.seed
    features = read_split_features(files.image_features, files.text_features, files.encoded, device_of(run.config))
    kinds = ["random", *NEGATIVE_KINDS]
    pairs = build_pairs(read_table(files.texts, TEXTS), features.image_ids, kinds, settings.pairs, seed)
    scores = score_pairs(pairs, features, read_calibration(files.calibration), settings, seed)
    write_table(scores, SIGNAL_SCORES, run.output[0], run.provenance)
