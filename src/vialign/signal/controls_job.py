"""The controls of a run's signal gate: its pairs scored with a local part that must not work."""

from dataclasses import replace

import pandas as pd

from vialign.device import device_of, within_memory
from vialign.disentangle import encode_images, load_visual
from vialign.disentangle.prototype_quality import random_atoms
from vialign.features import read_images
from vialign.files.artifacts import read_table, write_table
from vialign.signal.inputs import read_split_features
from vialign.signal.pairs import PAIR_COLUMNS, SHUFFLED, build_pairs, score_control
from vialign.stage import Run
from vialign.tables.language import TEXTS
from vialign.tables.signal import CONTROLS, SIGNAL_CONTROLS, SIGNAL_SCORES


@within_memory("data.sizes")
def score_controls(run: Run) -> None:
    """The diagnosed pairs with shuffled prototypes, and with prototypes of an unfitted dictionary.

    Each control is calibrated on the calibration split anew, as the signal is. The unfitted dictionary is drawn by seed
    and goes over the patches here: nothing of it is stored.
    """
    files, config, seed = run.input, run.config.signal, run.config.seed
    device = device_of(run.config)
    pairs = read_table(files.scores, SIGNAL_SCORES)[PAIR_COLUMNS]
    splits = {
        "diagnosis": read_split_features(files.image_features, files.text_features, files.encoded, device),
        "calibration": read_split_features(
            files.calibration_image_features, files.calibration_text_features, files.calibration_encoded, device
        ),
    }
    images = {"diagnosis": files.image_features, "calibration": files.calibration_image_features}
    unfitted = random_atoms(load_visual(files.visual), seed).to(device)
    drawn = build_pairs(
        read_table(files.calibration_texts, TEXTS), splits["calibration"].image_ids, ["random"], config.pairs, seed
    )
    parts = []
    for control in CONTROLS:
        features = splits
        if control != SHUFFLED:
            features = {
                split: replace(found, prototypes=encode_images(unfitted, read_images(images[split])).to(device))
                for split, found in splits.items()
            }
        args = pairs, features["diagnosis"], drawn, features["calibration"]
        parts.append(score_control(control, *args, config, seed))
    write_table(pd.concat(parts, ignore_index=True), SIGNAL_CONTROLS, run.output[0], run.provenance)
