"""The pointing game on phrases that people wrote, as in Flickr30k Entities: a further check of the local units.

A phrase points at the patch whose embedding is the most similar to its own, and through the prototypes at the peak of
the map of the most similar prototype. It hits when that patch lies in one of the phrase's boxes (Zhang et al. 2018,
arXiv:1608.00507; for phrases Plummer et al. 2017, arXiv:1505.04870). Nothing is chosen by what is found here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vialign.disentangle.visual import VisualDisentangler
from vialign.features.readout import cluster_interval, measure_readouts, pointing_targets
from vialign.features.store import ImageFeatures
from vialign.progress import track_starts
from vialign.random import generator
from vialign.tables.language import QUALITY

if TYPE_CHECKING:
    from vialign.backbone import Backbone

RESAMPLES = 2000


def phrase_grounding(
    backbone: "Backbone",
    visual: VisualDisentangler,
    features: ImageFeatures,
    images: pd.DataFrame,
    objects: pd.DataFrame,
    folders: Mapping[str, Path],
    *,
    batch: int,
    domain: str,
    seed: int,
) -> pd.DataFrame:
    """QUALITY of every readout, of `prototypes` and of chance, in pointing accuracy, with intervals over images.

    `objects` are OBJECTS whose names are the phrases; `features` are those of the same `images`. None where no phrase
    has a box in what the tower sees.
    """
    readouts = readout_grounding(backbone, images, objects, folders, batch=batch, domain=domain, seed=seed)
    if readouts.empty:
        return QUALITY.empty()
    targets = pointing_targets(images, _told(objects), backbone.grid, backbone.resize_mode)
    names = sorted(set(targets["phrase"]))
    phrases = dict(zip(names, _embedded(backbone, names, batch), strict=True))
    hits = prototype_hits(visual, features, targets, phrases, batch)
    _, image = np.unique(targets["image_id"], return_inverse=True)
    count = int(image.max()) + 1
    draws = generator(seed, "phrase grounding").integers(0, count, (RESAMPLES, count))
    value, low, high = cluster_interval(hits.astype(float), image, draws)
    own = {"subject": "prototypes", "domain": domain, "measure": "pointing accuracy", "value": value}
    row = pd.DataFrame([{**own, "low": low, "high": high, "count": len(targets)}])
    return QUALITY.check(pd.concat([row, readouts], ignore_index=True))


def readout_grounding(
    backbone: "Backbone",
    images: pd.DataFrame,
    objects: pd.DataFrame,
    folders: Mapping[str, Path],
    *,
    batch: int,
    domain: str,
    seed: int,
) -> pd.DataFrame:
    """The rows of `phrase_grounding` that need no dictionary: those of every readout and of chance."""
    return measure_readouts(
        backbone,
        images,
        _told(objects),
        folders,
        backbone.readouts,
        limit=len(images),
        batch=batch,
        domain=domain,
        seed=seed,
    )


def prototype_hits(
    visual: VisualDisentangler,
    features: ImageFeatures,
    targets: pd.DataFrame,
    phrases: Mapping[str, Float[Tensor, "dim"]],
    batch: int,
) -> Bool[np.ndarray, "target"]:
    """Whether each of the targets (`pointing_targets`) is hit by the peak of the prototype most similar to its phrase.

    The mean of all phrases is taken from each, as that of all patches is from the prototypes'.
    """
    stacked = torch.stack(list(phrases.values())).float()
    place = {name: number for number, name in enumerate(phrases)}
    units = F.normalize(stacked - stacked.mean(dim=0), dim=-1)[[place[name] for name in targets["phrase"]]]
    inside = torch.from_numpy(np.stack(targets["inside"].tolist()))
    row = {name: number for number, name in enumerate(features.ids)}
    rows = np.array([row[name] for name in targets["image_id"]])
    hits = np.zeros(len(targets), bool)
    for start in track_starts(len(features.ids), batch, "phrases pointed at by prototypes"):
        here = np.flatnonzero((rows >= start) & (rows < start + batch))
        with torch.no_grad():
            prototypes = visual(features.patches(start, min(start + batch, len(features.ids))))
        assert prototypes.maps is not None
        local = torch.from_numpy(rows[here] - start)
        best = (prototypes.features[local] @ units[here][..., None]).squeeze(-1).argmax(dim=-1)
        peak = prototypes.maps[local, best].argmax(dim=-1)
        hits[here] = inside[here].gather(1, peak[:, None]).squeeze(1).numpy()
    return hits


def _told(objects: pd.DataFrame) -> pd.DataFrame:
    """The objects with their names as what is pointed at."""
    return objects.assign(phrase=objects["name"])


def _embedded(backbone: "Backbone", phrases: list[str], batch: int) -> Float[Tensor, "phrase dim"]:
    parts = []
    for start in range(0, len(phrases), batch):
        with torch.inference_mode():
            ids = backbone.tokenize(phrases[start : start + batch]).ids.to(backbone.device)
            parts.append(backbone.encode_text(ids).float().cpu())
    return torch.cat(parts)
