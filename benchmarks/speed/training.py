"""An epoch of the full method on stored features, against LoRA by peft in open_clip's own training loop."""

import tempfile
from pathlib import Path

import pandas as pd
import peft
import torch

from benchmarks.speed.comparison import Comparison, Rival
from benchmarks.speed.features import VIT_B_32, captions_of, write_pictures
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.config.experiment import load_config
from vialign.contrastive import contrastive_loss
from vialign.disentangle import encode_images, encode_texts
from vialign.features import extract_images, extract_texts, read_images, read_texts
from vialign.features.pixels import PixelFiles
from vialign.methods.build import build_method
from vialign.methods.objective import SplitData
from vialign.signal.calibration import LogisticCalibration, SignalCalibration
from vialign.training.efficiency import fresh_units
from vialign.training.loop import train

CALIBRATION = SignalCalibration(LogisticCalibration(10.0, 0.0), LogisticCalibration(10.0, 0.0))
TOLERANCE = 1e-3
"""Of a contrastive loss whose logits are up to a hundred times a cosine."""


def epoch(folder: Path, pairs: int = 16, batch: int = 8, towers: BackboneConfig = VIT_B_32) -> Comparison:
    """One pass over the same pairs of images and captions, without rule-made negatives.

    Both begin at the frozen backbone, so the first loss of both is the same.
    """
    config = load_config({"training": {"batch": batch, "steps": pairs // batch, "early_steps": 1}})
    backbone = load_backbone(towers)
    captions = captions_of(pairs)
    texts = pd.DataFrame({"text_id": [f"t{row}" for row in range(pairs)], "text": captions, "kind": "caption"})
    texts["image_id"] = [f"{row:04d}" for row in range(pairs)]
    table = pd.DataFrame({"image_id": texts["image_id"], "path": [f"{name}.jpg" for name in texts["image_id"]]})
    table = table.assign(source="drawn", crop=[[] for _ in range(pairs)])
    write_pictures(folder, pairs)
    units = fresh_units(backbone, config, "auto")
    sizes = {"batch": batch, "shard": pairs, "provenance": {}}
    with tempfile.TemporaryDirectory(dir=folder) as store:
        place = Path(store)
        extract_images(backbone, table, {"drawn": folder}, place / "i", units["readout"], pixels="decode", **sizes)
        extract_texts(backbone, texts, place / "t", **sizes)
        stored_images, stored_texts = read_images(place / "i"), read_texts(place / "t")
        data = SplitData(
            image_ids=texts["image_id"].tolist(),
            texts=texts,
            image_of_text=torch.arange(pairs),
            captions=torch.arange(pairs),
            negatives=torch.empty(pairs, 0, dtype=torch.long),
            image_pooled=stored_images.pooled.clone(),
            text_pooled=stored_texts.pooled.clone(),
            prototypes=encode_images(units["visual"], stored_images),
            phrases=encode_texts(units["text"], stored_texts, None, path="main"),
        )
    ids = backbone.tokenizer(captions)
    pixels = backbone.normalise(PixelFiles(table, {"drawn": folder}, backbone)[torch.arange(pairs)])

    def ours() -> object:
        method = build_method("vialign", config, backbone, CALIBRATION, seed=0)
        steps = config.training.steps
        return train(method, data, data, config.training, peak_rate=1e-3, seed=0, to_step=steps, looks=())

    def lora() -> torch.nn.Module:
        model = load_backbone(towers).model
        settings = peft.LoraConfig(r=config.training.lora_rank, lora_alpha=8, target_modules=["attn"])
        return peft.get_peft_model(model, settings).train()

    adapted = lora()

    def loss(model: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
        image = model.base_model.model.encode_image(pixels[rows], normalize=True)
        text = model.base_model.model.encode_text(ids[rows], normalize=True)
        return contrastive_loss(backbone.logit_scale * image @ text.T)

    def theirs() -> None:
        trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=1e-4)
        for rows in torch.arange(pairs).split(batch):
            optimiser.zero_grad()
            loss(adapted, rows).backward()
            optimiser.step()

    def difference() -> float:
        """Of the first loss, before a step."""
        first, method = torch.arange(batch), build_method("vialign", config, backbone, CALIBRATION, seed=0)
        with torch.no_grad():
            scores = method.scores(method.images(data, first), method.texts(data, first))
            return float((contrastive_loss(backbone.logit_scale * scores) - loss(lora(), first)).abs())

    rival = Rival(theirs, difference, TOLERANCE, goal=20.0)
    what = f"an epoch of the full method, {pairs} pairs in batches of {batch}, on stored features"
    return Comparison(what, ours, {"peft's LoRA from pixels in memory": rival}, rounds=6)
