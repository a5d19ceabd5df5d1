"""A small finished run on drawn images, made once for all tests of `vialign explain`."""

import tempfile
from functools import cache
from pathlib import Path

import torch

from captioned import QUICK, quick_parser, tiny_model
from vialign.analysis.explain import open_run
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.config.methods import CurriculumConfig, GroundingConfig, TrainingConfig
from vialign.disentangle import save_text, save_visual
from vialign.features import contract_provenance
from vialign.files.artifacts import write_table
from vialign.language.pipeline import save_pipeline
from vialign.methods.build import build_method
from vialign.methods.checkpoint import Checkpoint, save_checkpoint
from vialign.methods.objective import Objective
from vialign.signal.calibration import SignalCalibration
from vialign.tables.language import QUALITY
from vialign.tables.signal import SIGNAL_CALIBRATION
from vialign.toolkit import draw_example, fit_signal, read_captions

_KEPT = tempfile.TemporaryDirectory()
FOLDER = Path(_KEPT.name)
CAPTION = "a red circle above a blue square"
SEEDS = (0, 1)


@cache
def finished_run():
    """The run, its toolkit signal (another way to the same numbers), and an image of it."""
    torch.manual_seed(0)
    draw_example(FOLDER / "shapes", images=40)
    definition = tiny_model(FOLDER, "explain-tiny")
    settings = BackboneConfig(architecture=definition.stem, definition=str(definition), checkpoint=None)
    config = QUICK.model_copy(
        update={
            "results": str(FOLDER / "results"),
            "backbone": settings,
            "training": TrainingConfig(methods=("frozen", "vialign"), seeds=SEEDS),
            "curriculum": CurriculumConfig(rank=2, grounding=GroundingConfig(share=0.4)),
        }
    )
    backbone = load_backbone(settings, config.seed)
    parser = quick_parser()
    captions = read_captions(FOLDER / "shapes/images", FOLDER / "shapes/captions.csv")
    signal = fit_signal(backbone, captions, parser, config=config, fit_images=20)
    results = FOLDER / "results"
    save_visual(signal.encoder.visual, results / "disentangle/visual.safetensors", {})
    save_text(signal.encoder.text, results / "disentangle/text.safetensors", {})
    save_pipeline(parser, results / "language/pipeline", {})
    write_table(signal.calibration, SIGNAL_CALIBRATION, results / "signal/calibration.parquet", {})
    made = {**contract_provenance(backbone.contract), "readout": signal.encoder.readout}
    write_table(QUALITY.empty(), QUALITY, results / "features/readout.parquet", made)
    calibration = SignalCalibration.from_table(signal.calibration)
    for name, seeds in (("frozen", SEEDS[:1]), ("vialign", SEEDS)):
        for seed in seeds:
            train_at_random(build_method(name, config, backbone, calibration, seed), seed, results)
    return open_run(config), signal, FOLDER / "shapes/images/00000.png"


def train_at_random(method: Objective, seed: int, results: Path) -> None:
    """The last checkpoint of a training whose weights were moved at random."""
    random = torch.Generator().manual_seed(seed)
    state = {key: value + 0.2 * torch.randn(value.shape, generator=random) for key, value in method.state().items()}
    checkpoint = Checkpoint(1, state, state, 0.5, 1, {})
    save_checkpoint(checkpoint, results / f"train/{method.name}/{seed}/final.safetensors", {})
