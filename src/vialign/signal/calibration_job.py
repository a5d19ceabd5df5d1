"""The calibration of a run's signal."""

from vialign.device import device_of, within_memory
from vialign.files.artifacts import read_table, write_table
from vialign.signal.inputs import read_split_features
from vialign.signal.pairs import build_pairs, calibrate_signal
from vialign.stage import Run
from vialign.tables.language import TEXTS
from vialign.tables.signal import SIGNAL_CALIBRATION


@within_memory("data.sizes")
def fit_maps(run: Run) -> None:
    """The monotone maps of both similarities, fitted on captions at their own and at other images."""
    files, settings, seed = run.input, run.config.signal, run.config.seed
    features = read_split_features(files.image_features, files.text_features, files.encoded, device_of(run.config))
    pairs = build_pairs(read_table(files.texts, TEXTS), features.image_ids, ["random"], settings.pairs, seed)
    table = calibrate_signal(pairs, features, settings, seed)
    write_table(table, SIGNAL_CALIBRATION, run.output[0], run.provenance)
