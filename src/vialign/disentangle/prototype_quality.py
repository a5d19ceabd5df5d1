"""How good prototypes are, on held-out images, beside a ceiling, a floor and what the tower itself attends to."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vialign.disentangle import losses
from vialign.disentangle.boxes import BoxTargets, box_targets
from vialign.disentangle.measured import Measured
from vialign.disentangle.moved import MOVES
from vialign.disentangle.visual import VisualDisentangler, VisualParts, chosen_maps
from vialign.disentangle.visual_fitting import PatchSource, kmeans, take_patches
from vialign.random import generator, seed_torch

HALF = 0.5
"""A patch belongs to a prototype when its activation is at least this share of the map's maximum."""
CLASSES = 100
"""Classes with rows of their own, those with most objects; data sets of free words have thousands."""


def threshold(maps: Float[Tensor, "batch part patch"]) -> Bool[Tensor, "batch part patch"]:
    """The patches of every map, by half of its maximum; none for an empty map."""
    peak = maps.amax(dim=-1, keepdim=True)
    return (maps >= HALF * peak) & (peak > 0)


def box_iou(
    masks: Bool[Tensor, "batch part patch"], coverage: Float[Tensor, "batch target patch"]
) -> Float[Tensor, "batch target part"]:
    """Intersection over union of sets of whole patches with boxes that cover patches in part.

    Areas are counted in patches; a box is what the crop leaves of it. 0 where both are empty.
    """
    sets = masks.to(coverage.dtype)
    shared = torch.einsum("bpn,btn->btp", sets, coverage)
    union = sets.sum(dim=2)[:, None, :] + coverage.sum(dim=2)[:, :, None] - shared
    return shared / union.clamp_min(losses.EPSILON)


def ceiling_iou(coverage: Float[Tensor, "batch target patch"]) -> Float[Tensor, "batch target"]:
    """The best IoU that any set of patches can have with each box, exactly.

    Among sets of one size the best holds the patches that the box covers most, so only N sets need be tried.
    """
    ordered = coverage.sort(dim=-1, descending=True).values
    shared = ordered.cumsum(dim=-1)
    size = torch.arange(1, coverage.shape[-1] + 1, device=coverage.device)
    union = size + coverage.sum(dim=-1, keepdim=True) - shared
    return (shared / union).amax(dim=-1)


def visual_quality(
    visual: VisualDisentangler,
    patches: PatchSource,
    images: pd.DataFrame,
    boxes: pd.DataFrame,
    domain: str,
    seed: int,
    reference_patches: Tensor | None = None,
    label_embeddings: dict[str, Tensor] | None = None,
    moved: Mapping[str, PatchSource] | None = None,
    attention: Float[Tensor, "image head patch"] | None = None,
    limit: int = 2000,
    resize_mode: str = "shortest",
) -> Measured:
    """Quality of prototypes on at most `limit` held-out images; `.frame()` gives rows of `QUALITY`.

    For every object the IoU of its box with the best prototype's thresholded map, mean and by class (`CLASSES`); beside
    it the same of `random atoms`, of `k-means` clusters (fitted on `reference_patches` of training images, else on the
    measured patches themselves, which only favours k-means), of the pooled token's `attention` (the tower's own maps,
    one a head) and the `ceiling`; `maps` says among how many maps of an image the best was taken. Without boxes these
    rows are left out.

    With `label_embeddings`: how often an object's prototype is nearest to its own label, and how often the prototype
    nearest to the label has its peak in the box. Stability is the IoU of a prototype's map with the same atom's map in
    the image after one of `MOVES` (`moved` holds its patches), brought back. `dead atoms` are those that become a
    prototype of no measured image. Intervals are 95 % bootstrap intervals over images; a count of atoms or labels has
    none.
    """
    rng = generator(seed, "visual_quality")
    rows = np.sort(rng.choice(len(images), min(limit, len(images)), replace=False))
    total, images = len(images), images.iloc[rows]
    taken = take_patches(patches, rows, total)
    parts, maps = _maps(visual, taken)
    measured = Measured(domain, seed)
    objects = box_targets(boxes, images, visual.grid, labels=boxes["name"], merge=False, resize_mode=resize_mode)
    if objects.labels:
        reference = taken if reference_patches is None else reference_patches
        readings = {
            "dictionary": maps,
            "random atoms": _maps(random_atoms(visual, seed), taken)[1],
            "k-means": _cluster_maps(visual, reference, taken, seed),
        }
        if attention is not None:
            readings["attention"] = take_patches(attention, rows, total)
        _add_iou_rows(measured, readings, objects)
    if objects.labels and label_embeddings:
        named = box_targets(boxes, images, visual.grid, merge=False, resize_mode=resize_mode)
        _add_label_rows(measured, visual, parts, maps, named, label_embeddings)
    for move, source in (moved or {}).items():
        correspondence = MOVES[move].correspondence(visual.grid)
        iou, mass = _stability(visual, parts, take_patches(source, rows, total), correspondence)
        measured.add("dictionary", f"stability {move} iou", iou, mass)
    active = chosen_maps(parts).sum(dim=1) >= HALF
    used = torch.zeros(visual.foreground, dtype=torch.bool)
    used[parts.atoms[active]] = True
    measured.add("dictionary", "prototypes used", active.sum(dim=1, keepdim=True).float(), torch.ones(len(active), 1))
    measured.value("dictionary", "dead atoms", float((~used).sum()), len(images))
    return measured


def _add_iou_rows(measured: Measured, readings: Mapping[str, Tensor], objects: BoxTargets) -> None:
    """IoU of every object with the best map of each reading, and with the best map that there can be."""
    best = {name: box_iou(threshold(maps), objects.coverage).amax(-1) for name, maps in readings.items()}
    best["ceiling"] = ceiling_iou(objects.coverage)
    counts = torch.bincount(objects.label[objects.label >= 0])
    shown = sorted(counts.argsort(descending=True, stable=True)[:CLASSES].tolist())
    for name, value in best.items():
        measured.add(name, "iou mean", value, objects.label >= 0)
        for number in shown:
            measured.add(name, f"iou {objects.labels[number]}", value, objects.label == number)
    for name, maps in readings.items():
        measured.value(name, "maps", float(maps.shape[1]), len(maps))


def _maps(visual: VisualDisentangler, patches: Tensor) -> tuple[VisualParts, Tensor]:
    with torch.no_grad():
        parts = visual.parts(patches)
    return parts, chosen_maps(parts).transpose(1, 2)


def random_atoms(visual: VisualDisentangler, seed: int) -> VisualDisentangler:
    """An unfitted dictionary of the same size, drawn by seed, that knows the mean patch and nothing else."""
    seed_torch(seed, "random atoms")
    random = VisualDisentangler(**visual.numbers())  # type: ignore[arg-type]
    random.mean.copy_(visual.mean)
    return random


def _cluster_maps(visual: VisualDisentangler, reference: Tensor, patches: Tensor, seed: int) -> Tensor:
    """The clusters with the most patches of an image, as many as it has prototypes; maps are 0 or 1."""

    def unit(values: Tensor) -> Tensor:
        return F.normalize(values.float() - visual.mean, dim=-1).reshape(-1, visual.dimension)

    centres, _ = kmeans(unit(reference), visual.foreground + visual.background, seed)
    nearest = torch.cdist(unit(patches), centres).argmin(dim=-1).reshape(patches.shape[:2])
    member = F.one_hot(nearest, len(centres)).float().transpose(1, 2)
    largest = member.sum(dim=2).topk(visual.prototypes, dim=1).indices
    return member.gather(1, largest[..., None].expand(-1, -1, member.shape[2]))


def _stability(
    visual: VisualDisentangler, parts: VisualParts, moved: Tensor, correspondence: Tensor
) -> tuple[Float[Tensor, "image prototype"], Float[Tensor, "image prototype"]]:
    """IoU of each prototype's patches with the same atom's in the moved image, and the prototype's activation."""
    with torch.no_grad():
        there = visual.parts(moved)
    seen = correspondence >= 0
    index = parts.atoms[:, None, :].expand(-1, parts.assignment.shape[1], -1)
    back = there.assignment.gather(2, index)[:, correspondence[seen]].transpose(1, 2)
    here = chosen_maps(parts)[:, seen].transpose(1, 2)
    first, second = threshold(here), threshold(back)
    shared, union = (first & second).sum(dim=-1), (first | second).sum(dim=-1)
    return shared / union.clamp_min(1), here.sum(dim=-1)


def _add_label_rows(
    measured: Measured,
    visual: VisualDisentangler,
    parts: VisualParts,
    maps: Tensor,
    objects: BoxTargets,
    label_embeddings: dict[str, Tensor],
) -> None:
    """Do prototypes and label texts find each other?"""
    stacked = torch.stack([label_embeddings[label].float() for label in objects.labels])
    labels = F.normalize(stacked - stacked.mean(dim=0), dim=-1)
    with torch.no_grad():
        features = visual.prototypes_of(parts).features
    similar = features @ labels.T
    best = losses.target_overlap(maps.transpose(1, 2), objects.coverage).argmax(dim=-1)
    nearest = similar.argmax(dim=-1).gather(1, best)
    present = objects.label >= 0
    measured.add("dictionary", "label accuracy", (nearest == objects.label).float(), present)
    chosen = similar.transpose(1, 2).argmax(dim=-1).gather(1, objects.label.clamp_min(0))
    peak = maps.argmax(dim=-1).gather(1, chosen)
    inside = objects.coverage.gather(2, peak[..., None]).squeeze(-1) >= HALF
    measured.add("dictionary", "label pointing", inside.float(), present)
    measured.value("dictionary", "labels", float(len(objects.labels)), len(maps))
