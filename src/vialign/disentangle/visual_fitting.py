"""Fitting the visual dictionary: reconstruction, sparsity, stability, and purity where boxes exist."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vialign.config.disentangle import VisualConfig, fixed
from vialign.contrastive import contrastive_loss
from vialign.device import CPU, to_device
from vialign.disentangle import losses
from vialign.disentangle.boxes import BoxTargets, box_targets
from vialign.disentangle.moved import FITTED_MOVES, MOVES
from vialign.disentangle.sizing import sized_visual
from vialign.disentangle.types import Prototypes
from vialign.disentangle.visual import VisualDisentangler, VisualParts, chosen_maps
from vialign.progress import track
from vialign.random import generator, seed_torch

if TYPE_CHECKING:
    from vialign.features import ImageFeatures

PatchSource = Union[Tensor, "ImageFeatures"]
"""Patches of all images of a split, (image, patch, dim): in memory, or the store they are read from."""

_CLUSTERED = 1000
"""Images whose patches are clustered to start the dictionary."""
_SCALE = 1 / 0.07


_WEIGHT_OF = {
    "reconstruction": "reconstruction",
    "sparsity": "sparsity",
    "usage": "usage",
    "purity": "purity",
    "extent": "purity",
    "alignment": "alignment",
    "caption": "alignment",
    **{f"stability_{move}": "stability" for move in FITTED_MOVES},
}
"""Every term of the loss and the config's weight for it."""


def fit_visual(
    patches: PatchSource,
    boxes: pd.DataFrame,
    images: pd.DataFrame,
    label_embeddings: dict[str, Tensor] | None,
    config: VisualConfig,
    grid: tuple[int, int],
    seed: int,
    moved: Mapping[str, PatchSource] | None = None,
    captions: Float[Tensor, "image caption dim"] | None = None,
    resize_mode: str = "shortest",
    device: torch.device = CPU,
) -> tuple[VisualDisentangler, pd.DataFrame]:
    """Fit the dictionary on a split; what is not given drops its loss term, and the log shows it as missing.

    `images` (IMAGES) are the rows of `patches`; `boxes` (OBJECTS) may be empty: real photographs then fit without
    purity and label alignment. `label_embeddings` maps every label of `object_labels(boxes)` to its unit text
    embedding. `moved` holds the patches of the same rows after each of `FITTED_MOVES` (stability). `captions` are unit
    text embeddings of the images' captions, for a local contrastive loss that needs no boxes. `resize_mode` is the
    backbone's. Where the config says `auto` the sizes follow from the boxes and the images (`sized_visual`).
    The steps are taken on `device`; the dictionary starts and ends on the CPU.

    The log has one row a step: `step`, `loss` and every unweighted term, missing where it did not apply. Raises
    ValueError when sizes disagree or a label has no embedding.
    """
    rng = generator(seed, "fit_visual")
    rows = _sample(rng, len(images), config.images)
    targets = box_targets(boxes, images.iloc[rows], grid, resize_mode=resize_mode)
    data = _Data(
        take_patches(patches, rows, len(images)),
        targets,
        _centred_labels(targets.labels, label_embeddings),
        {
            f"stability_{move}": (take_patches(source, rows, len(images)), MOVES[move].correspondence(grid))
            for move, source in (moved or {}).items()
        },
        _centred_captions(captions, rows, len(images)),
    )
    if data.patches.shape[1] != grid[0] * grid[1]:
        raise ValueError(f"{data.patches.shape[1]} patches do not fill a grid of {grid[0]} by {grid[1]}")
    config = sized_visual(config, targets, grid[0] * grid[1])
    seed_torch(seed, "fit_visual")
    visual = VisualDisentangler.from_config(config, data.patches.shape[-1], grid)
    _initialise(visual, data, seed)
    visual, data = visual.to(device), data.to(device)
    scale = nn.Parameter(torch.tensor(math.log(_SCALE), device=device))
    optimiser = torch.optim.Adam([*visual.parameters(), scale], lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, fixed(config.steps))
    log = []
    for step in track(range(fixed(config.steps)), "fit visual dictionary"):
        batch = torch.from_numpy(_sample(rng, len(rows), config.batch))
        terms = _terms(visual, data, batch, scale.exp().clamp_max(100.0), rng)
        weighted = [getattr(config, _WEIGHT_OF[name]) * value for name, value in terms.items()]
        loss = torch.stack(weighted).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        log.append({"step": step, "loss": loss.item()} | {name: value.item() for name, value in terms.items()})
    return visual.to(CPU).eval().requires_grad_(False), pd.DataFrame(log).reindex(columns=["step", "loss", *_WEIGHT_OF])


@dataclass(frozen=True)
class _Data:
    """The sampled rows of everything that was given, in memory."""

    patches: Float[Tensor, "image patch dim"]
    targets: BoxTargets
    embeddings: Float[Tensor, "label dim"] | None
    moved: dict[str, tuple[Tensor, Tensor]]
    """By loss term: patches of the moved images, and where each patch has gone."""
    captions: Float[Tensor, "image caption dim"] | None

    def to(self, device: torch.device) -> "_Data":
        """The same on a device."""

        def put(tensor: Any) -> Any:
            return None if tensor is None else to_device(tensor, device)

        moved = {name: (put(patches), put(places)) for name, (patches, places) in self.moved.items()}
        return _Data(put(self.patches), self.targets.to(device), put(self.embeddings), moved, put(self.captions))


def _centred_labels(labels: list[str], embeddings: dict[str, Tensor] | None) -> Tensor | None:
    """Unit label embeddings without their mean, which CLIP's texts share as its patches share theirs."""
    if embeddings is None or len(labels) < 2:
        return None
    missing = [label for label in labels if label not in embeddings]
    if missing:
        raise ValueError(f"label {missing[0]!r} has no embedding ({len(missing)} labels miss theirs)")
    stacked = torch.stack([embeddings[label].float() for label in labels])
    return F.normalize(stacked - stacked.mean(dim=0), dim=-1)


def _centred_captions(captions: Tensor | None, rows: np.ndarray, total: int) -> Tensor | None:
    if captions is None:
        return None
    if len(captions) != total:
        raise ValueError(f"captions of {len(captions)} images, expected {total}")
    captions = captions[torch.from_numpy(rows)].float()
    return F.normalize(captions - captions.mean(dim=(0, 1)), dim=-1)


def _terms(
    visual: VisualDisentangler, data: _Data, batch: Tensor, scale: Tensor, rng: np.random.Generator
) -> dict[str, Tensor]:
    """The unweighted terms of the loss that the data allows."""
    parts = visual.parts(data.patches[batch])
    prototypes = visual.prototypes_of(parts)
    used, pools = _reconstruction_parts(visual, parts)
    terms = {
        "reconstruction": losses.reconstruction_loss(parts.patches, used, pools),
        "sparsity": losses.sparsity_loss(parts.assignment),
        "usage": losses.usage_loss(parts.assignment),
    }
    coverage, label = data.targets.coverage[batch], data.targets.label[batch]
    if bool((label >= 0).any()):
        foreground = parts.assignment[..., : visual.foreground]
        terms["purity"] = losses.purity_loss(foreground, coverage)
        terms["extent"] = losses.extent_loss(foreground, coverage)
        if data.embeddings is not None:
            features = matched_features(parts, prototypes, coverage)[label >= 0]
            terms["alignment"] = losses.alignment_loss(features, label[label >= 0], data.embeddings, scale)
    if data.captions is not None:
        choice = torch.from_numpy(rng.integers(data.captions.shape[1], size=len(batch)))
        scores = losses.caption_scores(prototypes.features, data.captions[batch, choice])
        terms["caption"] = contrastive_loss(scale * scores)
    for name, (moved, correspondence) in data.moved.items():
        terms[name] = losses.stability_loss(parts.assignment, visual.parts(moved[batch]).assignment, correspondence)
    return terms


def _reconstruction_parts(visual: VisualDisentangler, parts: VisualParts) -> tuple[Tensor, Tensor]:
    """Assignment to the chosen atoms and to the background, and the pool of patches that each stands for."""
    used = torch.cat([chosen_maps(parts), parts.assignment[..., visual.foreground :]], dim=-1)
    weights = used / used.sum(dim=1, keepdim=True).clamp_min(1e-12)
    return used, weights.transpose(1, 2) @ parts.patches


def matched_features(
    parts: VisualParts, prototypes: Prototypes, coverage: Float[Tensor, "batch target patch"]
) -> Float[Tensor, "batch target dim"]:
    """For every target the feature of the prototype whose activation overlaps it most."""
    best = losses.target_overlap(chosen_maps(parts), coverage).argmax(dim=-1)
    index = best[..., None].expand(-1, -1, prototypes.features.shape[-1])
    return prototypes.features.gather(1, index)


def _initialise(visual: VisualDisentangler, data: _Data, seed: int) -> None:
    """Mean of the patches, and k-means centres as atoms; the centres least in boxes become background.

    Without boxes the background is what most patches look like: the largest clusters.
    """
    visual.mean.copy_(data.patches.mean(dim=(0, 1)))
    some = slice(None, None, len(data.patches) // _CLUSTERED + 1)
    covered = data.targets.coverage[some].sum(dim=1).clamp(max=1).reshape(-1)
    unit = F.normalize(data.patches[some] - visual.mean, dim=-1).reshape(-1, visual.dimension)
    centres, member = kmeans(unit, visual.foreground + visual.background, seed)
    size = torch.bincount(member, minlength=len(centres)).float()
    inside = torch.bincount(member, covered, minlength=len(centres)) / size.clamp_min(1)
    order = torch.argsort(inside if bool(covered.any()) else -size, descending=True, stable=True)
    with torch.no_grad():
        visual.dictionary.copy_(F.normalize(centres[order], dim=-1))


def kmeans(
    points: Float[Tensor, "point dim"], clusters: int, seed: int, limit: int = 20000
) -> tuple[Float[Tensor, "cluster dim"], Int[Tensor, "point"]]:
    """Centres of scikit-learn's mini-batch k-means on at most `limit` points, and the centre of every point.

    With fewer points than clusters, points are drawn again.
    """
    from sklearn.cluster import MiniBatchKMeans

    rng = generator(seed, "kmeans")
    sample = rng.choice(len(points), max(clusters, min(limit, len(points))), replace=len(points) < clusters)
    model = MiniBatchKMeans(clusters, random_state=int(rng.integers(2**31)), n_init=1, batch_size=2048)
    model.fit(points[torch.from_numpy(sample)].numpy())
    member = torch.from_numpy(model.predict(points.numpy())).long()
    return torch.from_numpy(model.cluster_centers_).float(), member


def take_patches(source: PatchSource, rows: np.ndarray, total: int) -> Float[Tensor, "row patch dim"]:
    """The patches of some images (increasing row numbers) in memory, as float32.

    Raises ValueError when the source does not hold `total` images.
    """
    length = len(source) if isinstance(source, Tensor) else len(source.ids)
    if length != total:
        raise ValueError(f"patches of {length} images, expected {total}")
    if isinstance(source, Tensor):
        return source[torch.from_numpy(rows)].float()
    return source.rows("patches")[torch.from_numpy(rows)].float()


def _sample(rng: np.random.Generator, total: int, count: int) -> np.ndarray:
    """At most `count` distinct numbers below `total`, increasing."""
    return np.sort(rng.choice(total, min(count, total), replace=False))
