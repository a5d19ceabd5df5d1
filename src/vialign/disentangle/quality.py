"""How good prototypes and phrase units are, on held-out data, beside a ceiling and a floor."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vialign.disentangle import losses
from vialign.disentangle.boxes import BoxTargets, box_targets
from vialign.disentangle.structure import align_units, group_tokens
from vialign.disentangle.text import Path, TextDisentangler
from vialign.disentangle.types import ATTRIBUTE, NONE, RELATION, TokenStructure
from vialign.disentangle.visual import VisualDisentangler, VisualParts, chosen_maps
from vialign.disentangle.visual_fitting import SHIFT, PatchSource, kmeans, take_patches
from vialign.progress import track
from vialign.random import generator, seed_torch
from vialign.tables import QUALITY, UNIT_KINDS

if TYPE_CHECKING:
    from vialign.features import TextFeatures

HALF = 0.5
"""A patch belongs to a prototype when its activation is at least this share of the map's maximum."""
_RESAMPLES = 1000


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
    flipped: PatchSource | None = None,
    shifted: PatchSource | None = None,
    limit: int = 2000,
    resize_mode: str = "shortest",
) -> pd.DataFrame:
    """Quality of prototypes on at most `limit` held-out images; rows as `vialign.tables.QUALITY`.

    For every object the IoU of its box with the best prototype's thresholded map, mean and per class; beside it the
    same of `random atoms`, of `k-means` clusters (fitted on `reference_patches` of training images, else on the
    measured patches themselves, which only favours k-means) and the `ceiling`. Without boxes these rows are left out.
    With `label_embeddings`: how often an object's prototype is nearest to its own label, and how often the prototype
    nearest to the label has its peak in the box. Stability is the IoU of a prototype's map with the same atom's map in
    the moved image, brought back. Intervals are 95 % bootstrap intervals over images.
    """
    rng = generator(seed, "visual_quality")
    rows = np.sort(rng.choice(len(images), min(limit, len(images)), replace=False))
    total, images = len(images), images.iloc[rows]
    taken = take_patches(patches, rows, total)
    parts, maps = _maps(visual, taken)
    measured = _Rows(domain, rng)
    objects = box_targets(boxes, images, visual.grid, labels=boxes["name"], merge=False, resize_mode=resize_mode)
    if objects.labels:
        reference = taken if reference_patches is None else reference_patches
        readings = {
            "dictionary": maps,
            "random atoms": _maps(_random_atoms(visual, seed), taken)[1],
            "k-means": _cluster_maps(visual, reference, taken, seed),
        }
        present = objects.label >= 0
        best = {name: box_iou(threshold(found), objects.coverage).amax(-1) for name, found in readings.items()}
        best["ceiling"] = ceiling_iou(objects.coverage)
        for name, value in best.items():
            measured.add(name, "iou mean", value, present)
            for number, label in enumerate(objects.labels):
                measured.add(name, f"iou {label}", value, objects.label == number)
    if objects.labels and label_embeddings:
        named = box_targets(boxes, images, visual.grid, merge=False, resize_mode=resize_mode)
        _add_label_rows(measured, visual, parts, maps, named, label_embeddings)
    for name, source, correspondence in (
        ("stability flip", flipped, losses.flip_correspondence(visual.grid)),
        ("stability shift", shifted, losses.shift_correspondence(visual.grid, *SHIFT)),
    ):
        if source is not None:
            iou, mass = _stability(visual, parts, take_patches(source, rows, total), correspondence)
            measured.add("dictionary", f"{name} iou", iou, mass)
    active = chosen_maps(parts).sum(dim=1) >= HALF
    used = torch.zeros(visual.foreground, dtype=torch.bool)
    used[parts.atoms[active]] = True
    measured.add("dictionary", "prototypes used", active.sum(dim=1, keepdim=True).float(), torch.ones(len(active), 1))
    measured.value("dictionary", "dead atoms", float((~used).sum()), len(images))
    return measured.frame()


def _maps(visual: VisualDisentangler, patches: Tensor) -> tuple[VisualParts, Tensor]:
    with torch.no_grad():
        parts = visual.parts(patches)
    return parts, chosen_maps(parts).transpose(1, 2)


def _random_atoms(visual: VisualDisentangler, seed: int) -> VisualDisentangler:
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
    measured: "_Rows",
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


def text_quality(
    text: TextDisentangler,
    features: "TextFeatures",
    gold: pd.DataFrame,
    units: pd.DataFrame,
    domain: str,
    seed: int,
    batch: int = 256,
) -> pd.DataFrame:
    """Span precision, recall and F1 of the main path, the parser's fallback and their mix against gold units.

    `gold` and `units` (UNITS) are the gold and the parser's reading. A unit is right when its kind and all its tokens
    are; attributes count as units of their own, so an entity is compared without them. `arguments` is the share of gold
    attributes and relations whose span is right and whose arguments are headed by the right tokens. Texts without a
    gold unit are left out. Rows as QUALITY; intervals are 95 % bootstrap intervals over texts.
    """
    rng = generator(seed, "text_quality")
    paths: tuple[Path, ...] = ("main", "fallback", "mixed")
    counts: dict[str, list[Tensor]] = {path: [] for path in paths}
    for start in track(range(0, len(features.ids), batch), "text quality"):
        stop = min(start + batch, len(features.ids))
        states, mask, offsets = features.block(start, stop)
        truth = align_units(gold, features.ids[start:stop], offsets, mask)
        known = (truth.kind != NONE).any(dim=1)
        parsed = align_units(units, features.ids[start:stop], offsets, mask)
        with torch.no_grad():
            main = text.read(states, mask).distributions
            for path in paths:
                counts[path].append(count_units(truth, text.decide(main, mask, parsed, path))[known])
    measured = _Rows(domain, rng)
    for path in paths:
        _add_span_rows(measured, f"span path {path}", torch.cat(counts[path]).numpy())
    return measured.frame()


def count_units(truth: TokenStructure, found: TokenStructure) -> Float[Tensor, "text kind 4"]:
    """For every text and kind: units that agree, units found, units in truth, and agreeing arguments."""
    spans = [_spans(structure) for structure in (truth, found)]
    (true_first, true_members), (found_first, found_members) = spans
    right = true_first & found_first & (truth.kind == found.kind) & (true_members == found_members).all(dim=-1)
    argued = right & (truth.subject == found.subject) & (truth.object == found.object)
    kinds = range(1, len(UNIT_KINDS) + 1)
    columns = [
        torch.stack([(flags & (structure.kind == kind)).sum(dim=1) for kind in kinds], dim=1)
        for flags, structure in ((right, truth), (found_first, found), (true_first, truth), (argued, truth))
    ]
    return torch.stack(columns, dim=-1).double()


def _spans(structure: TokenStructure) -> tuple[Bool[Tensor, "text token"], Bool[Tensor, "text token token"]]:
    owner = group_tokens(structure.kind, structure.begin)
    place = torch.arange(owner.shape[1])
    return owner == place, owner[:, None, :] == place[:, None]


def _add_span_rows(measured: "_Rows", subject: str, counts: np.ndarray) -> None:
    """Precision, recall and F1 by kind and over all kinds, and argument accuracy."""
    groups = {name: counts[:, [number]].sum(axis=1) for number, name in enumerate(UNIT_KINDS)}
    groups["all"] = counts.sum(axis=1)
    for name, group in groups.items():
        right, found, true = group[:, 0], group[:, 1], group[:, 2]
        measured.ratio(subject, f"precision {name}", right, found)
        measured.ratio(subject, f"recall {name}", right, true)
        measured.ratio(subject, f"f1 {name}", 2 * right, found + true)
    related = counts[:, [ATTRIBUTE - 1, RELATION - 1]].sum(axis=1)
    measured.ratio(subject, "arguments", related[:, 3], related[:, 2])


class _Rows:
    """Collects rows of QUALITY; an item is an image or a text, and intervals resample items."""

    def __init__(self, domain: str, rng: np.random.Generator) -> None:
        self.domain, self.rng = domain, rng
        self.rows: list[dict[str, object]] = []

    def add(self, subject: str, measure: str, values: Tensor, weights: Tensor) -> None:
        """Weighted mean over all values of all items; both tensors are (item, value)."""
        weights = weights.double()
        self.ratio(subject, measure, (values * weights).sum(dim=1).numpy(), weights.sum(dim=1).numpy())

    def ratio(self, subject: str, measure: str, above: np.ndarray, below: np.ndarray) -> None:
        """Sum of `above` over sum of `below`, both one value an item; left out where nothing lies below."""
        counted = below > 0
        if not counted.any():
            return
        items = len(above)
        low_high = np.empty(_RESAMPLES)
        for resample in range(_RESAMPLES):
            chosen = self.rng.integers(items, size=items)
            total = below[chosen].sum()
            low_high[resample] = above[chosen].sum() / total if total > 0 else np.nan
        low, high = np.nanquantile(low_high, [0.025, 0.975])
        value = float(above.sum() / below.sum())
        self.rows.append(self._row(subject, measure, value, int(counted.sum())) | {"low": low, "high": high})

    def value(self, subject: str, measure: str, value: float, count: int) -> None:
        """A number without an interval."""
        self.rows.append(self._row(subject, measure, value, count))

    def _row(self, subject: str, measure: str, value: float, count: int) -> dict[str, object]:
        row = {"subject": subject, "domain": self.domain, "measure": measure, "value": value}
        return row | {"low": np.nan, "high": np.nan, "count": count}

    def frame(self) -> pd.DataFrame:
        """All rows, checked."""
        return QUALITY.check(pd.DataFrame(self.rows, columns=list(QUALITY.columns)))
