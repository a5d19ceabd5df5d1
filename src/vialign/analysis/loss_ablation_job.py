"""Both disentanglers with one term of their loss left out."""

from pathlib import Path

from vialign.analysis.loss_ablation import TextInputs, ablate_losses
from vialign.backbone import load_backbone
from vialign.data.folders import image_folders
from vialign.disentangle.stage import read_visual
from vialign.features import read_images, read_texts
from vialign.files.artifacts import read_table, write_table
from vialign.language.gold import gold_units
from vialign.stage import Run
from vialign.tables.data import CAPTIONS, IMAGES, OBJECTS
from vialign.tables.language import LOSS_ABLATION, TEXTS, UNITS


def measure_losses(run: Run) -> None:
    """Both disentanglers with one term of their loss left out."""
    splits = ("train", "selection")
    images = {split: read_images(run.input[f"{split}_images"]) for split in splits}
    features = {split: read_texts(run.input[f"{split}_features"]) for split in splits}
    texts = {split: read_table(run.input[f"{split}_texts"], TEXTS) for split in splits}
    units = {split: read_table(run.input[f"{split}_units"], UNITS) for split in splits}
    visual_inputs = read_visual(
        load_backbone(run.config.backbone, run.config.seed),
        read_table(run.input.images, IMAGES),
        read_table(run.input.objects, OBJECTS),
        image_folders(run.config.data, Path(run.input.images).parent),
        {"train": read_images(run.input.fitted), "selection": read_images(run.input.measured)},
        features["train"],
        run.config.visual,
        run.config.seed,
    )
    gold = gold_units(read_table(run.input.captions, CAPTIONS), texts["selection"])
    text_inputs = TextInputs(images, texts, features, units, gold)
    table = ablate_losses(
        visual_inputs, text_inputs, run.config.visual, run.config.text, domain=run.config.name, seed=run.config.seed
    )
    write_table(table, LOSS_ABLATION, run.output[0], run.provenance)
