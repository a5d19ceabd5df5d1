"""Frozen features of ViT-B/32 (random weights), against the loop of open_clip's own readme."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from open_clip import image_transform
from PIL import Image
from torch.nn import functional

from benchmarks.speed.comparison import Comparison, Rival
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.data.scenes.captions import scene_captions, tree_text
from vialign.data.scenes.sampling import sample_scenes
from vialign.features import extract_images, extract_texts, read_images, read_texts

VIT_B_32 = BackboneConfig(architecture="ViT-B-32", checkpoint=None)
"""With random weights."""
TOLERANCE = 1e-5
"""Of numbers of an embedding of unit length, after twelve layers in single precision."""


def captions_of(count: int) -> list[str]:
    """Captions of drawn scenes."""
    rng = np.random.default_rng(0)
    return [tree_text(scene_captions(rng, scene)[0]) for scene, _ in sample_scenes(rng, count)]


def write_pictures(folder: Path, count: int) -> list[Path]:
    """JPEG files of a photograph's size: noise that is smooth as photographs are."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:04d}.jpg" for number in range(count)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        fine = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.int16)
        Image.fromarray((fine + rng.integers(-12, 13, fine.shape)).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


class Files(torch.utils.data.Dataset):
    """Pictures through open_clip's own transform."""

    def __init__(self, paths: list[Path], transform: object) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.paths[row]) as picture:
            return self.transform(picture)  # type: ignore[operator]


def images(folder: Path, count: int = 16, batch: int = 8, towers: BackboneConfig = VIT_B_32) -> Comparison:
    """Pooled embeddings of JPEG files, ours with the tokens of every patch stored beside them."""
    backbone = load_backbone(towers)
    paths = write_pictures(folder, count)
    table = pd.DataFrame({"image_id": [path.stem for path in paths], "path": [path.name for path in paths]})
    table = table.assign(source="drawn", crop=[[] for _ in paths])
    model, size = backbone.model, backbone.image_size

    def ours() -> torch.Tensor:
        with tempfile.TemporaryDirectory(dir=folder) as store:
            extract_images(
                backbone,
                table,
                {"drawn": folder},
                store,
                "value",
                batch=batch,
                shard=count,
                pixels="decode",
                provenance={},
            )
            return read_images(store).pooled.clone()

    def loop(workers: int) -> torch.Tensor:
        files = Files(paths, image_transform(size, is_train=False))
        loader = torch.utils.data.DataLoader(files, batch_size=batch, num_workers=workers)
        with torch.inference_mode():
            return torch.cat([model.encode_image(pixels, normalize=True) for pixels in loader])

    def rival(workers: int, goal: float | None) -> Rival:
        return Rival(lambda: loop(workers), lambda: float((loop(workers) - ours()).abs().max()), TOLERANCE, goal)

    rivals = {"open_clip's loop": rival(0, 1.0), "open_clip's loop, one worker process": rival(1, None)}
    return Comparison(f"image features, {count} JPEG files, tokens stored", ours, rivals, rounds=8)


def texts(folder: Path, count: int = 64, batch: int = 32, towers: BackboneConfig = VIT_B_32) -> Comparison:
    """Pooled embeddings of captions, ours with the state of every token stored beside them."""
    backbone = load_backbone(towers)
    captions = captions_of(count)
    table = pd.DataFrame({"text_id": [str(row) for row in range(count)], "text": captions})
    words = backbone.tokenize(captions).mask.sum(dim=1).float().mean() + 2

    def ours() -> torch.Tensor:
        with tempfile.TemporaryDirectory(dir=folder) as store:
            extract_texts(backbone, table, store, batch=batch, shard=count, provenance={})
            return read_texts(store).pooled.clone()

    def loop() -> torch.Tensor:
        with torch.inference_mode():
            starts = range(0, count, batch)
            ids = (backbone.tokenizer(captions[start : start + batch]) for start in starts)
            return torch.cat([functional.normalize(backbone.model.encode_text(part), dim=-1) for part in ids])

    rival = Rival(loop, lambda: float((loop() - ours()).abs().max()), TOLERANCE, goal=4.5)
    what = f"text features, {count} captions of {words:.0f} tokens on average, states stored"
    return Comparison(what, ours, {"open_clip's loop": rival}, rounds=8)
