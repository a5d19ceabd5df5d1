"""The stress test of a run's signal."""

from collections.abc import Iterator
from pathlib import Path

from vialign.backbone import load_backbone
from vialign.data.folders import image_folders
from vialign.device import device_of, within_memory
from vialign.disentangle import load_text, load_visual
from vialign.features.pixels import PixelFiles
from vialign.files.artifacts import read_provenance, read_table, write_table
from vialign.files.shards import Shard
from vialign.language.pipeline import load_pipeline
from vialign.signal.calibration import read_calibration
from vialign.signal.inputs import read_split_features
from vialign.signal.validation.decay import Stressed
from vialign.signal.validation.stress import (
    TextSide,
    disturbances,
    image_side,
    other_domain,
    stress_sample,
    stress_test,
)
from vialign.signal.validation.stress_shards import own_disturbances, stressed_table
from vialign.stage import Run
from vialign.tables.data import IMAGES
from vialign.tables.language import TEXTS
from vialign.tables.signal import SIGNAL_SCORES, STRESS, STRESS_SUMMARY, STRESSED


@within_memory("signal.stress_images")
def stress_signal(run: Run) -> None:
    """The stress test of a run's signal, or the scores under the disturbances of the job's shard of it."""
    config, seed, files = run.config.signal, run.config.seed, run.input
    device, calibration = device_of(run.config), read_calibration(files.calibration)
    backbone = load_backbone(run.config.backbone, seed).to(device)
    features = read_split_features(files.image_features, files.text_features, files.encoded, device)
    table = read_table(files.images, IMAGES).set_index("image_id").loc[list(features.image_ids)].reset_index()
    pixels = PixelFiles(table, image_folders(run.config.data, Path(files.images).parent), backbone)
    images = image_side(backbone, load_visual(files.visual).to(device), read_provenance(files.readout)["readout"])
    pairs = read_table(files.scores, SIGNAL_SCORES)[["image_id", "text_id", "kind"]]

    def elsewhere() -> Iterator[Stressed]:
        domain = read_split_features(
            files.domain_image_features, files.domain_text_features, files.domain_encoded, device
        )
        yield other_domain(read_table(files.domain_texts, TEXTS), domain, calibration, config, seed)

    test = (
        stress_sample(pixels, pairs, features, images, config, seed),
        read_table(files.texts, TEXTS),
        images,
        TextSide(backbone, load_pipeline(files.pipeline), load_text(files.text).to(device)),
        elsewhere if hasattr(files, "domain_texts") else None,
        calibration,
        config,
        seed,
    )
    shard = Shard.of_job(run.wildcards)
    if shard.of > 1:
        made = disturbances(*test)
        own = ((number, made[number]()) for number in own_disturbances(shard, len(made)))
        write_table(stressed_table(own), STRESSED, run.output[0], run.provenance)
        return
    curves, summary = stress_test(*test)
    write_table(curves, STRESS, run.output.curves, run.provenance)
    write_table(summary, STRESS_SUMMARY, run.output.summary, run.provenance)
