"""Losses of both disentanglers, as pure functions of tensors.

An *assignment* gives every patch a distribution over atoms; the last atoms may be background, which no prototype is
made of. *Coverage* is the share of each patch that a labelled target covers (`vialign.disentangle.boxes`).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

EPSILON = 1e-8


def reconstruction_loss(
    patches: Float[Tensor, "batch patch dim"],
    assignment: Float[Tensor, "batch patch part"],
    pools: Float[Tensor, "batch part dim"],
) -> Float[Tensor, ""]:
    """Share of the patches' squared length that the parts they are assigned to leave unexplained; at least 0."""
    residual = patches - assignment @ pools
    return residual.square().sum() / patches.square().sum().clamp_min(EPSILON)


def sparsity_loss(assignment: Float[Tensor, "batch patch atom"]) -> Float[Tensor, ""]:
    """Mean entropy of a patch's assignment over log(atoms): 0 when every patch has one atom, 1 when uniform."""
    entropy = torch.special.entr(assignment).sum(dim=-1).mean()
    return entropy / math.log(assignment.shape[-1])


def usage_loss(assignment: Float[Tensor, "batch patch atom"]) -> Float[Tensor, ""]:
    """One minus the entropy of the batch's mean assignment over log(atoms): 0 when all atoms are used alike.

    Keeps sparsity from leaving atoms dead.
    """
    usage = assignment.mean(dim=(0, 1))
    return 1 - torch.special.entr(usage).sum() / math.log(assignment.shape[-1])


def purity_loss(
    assignment: Float[Tensor, "batch patch atom"], coverage: Float[Tensor, "batch target patch"]
) -> Float[Tensor, ""]:
    """Share of the foreground activation that lies outside its atom's best target in the image, in [0, 1].

    `assignment` holds foreground atoms only. Images without a target do not count; 0 when no image has one.
    """
    labelled = (coverage.sum(dim=(1, 2)) > 0).to(assignment.dtype)
    if coverage.shape[1] == 0:
        return assignment.sum() * 0
    inside = torch.einsum("bna,btn->bat", assignment, coverage).amax(dim=-1).sum(dim=-1)
    total = assignment.sum(dim=(1, 2))
    return 1 - (labelled * inside).sum() / (labelled * total).sum().clamp_min(EPSILON) - (labelled.sum() == 0).float()


def target_overlap(
    assignment: Float[Tensor, "batch patch atom"], coverage: Float[Tensor, "batch target patch"]
) -> Float[Tensor, "batch target atom"]:
    """Soft Jaccard overlap of every target with every atom's activation, in [0, 1]; 0 for empty targets.

    With both in {0, 1} it is the intersection over the union (the Tanimoto coefficient).
    """
    shared = torch.einsum("bna,btn->bta", assignment, coverage)
    squares = assignment.square().sum(dim=1)[:, None, :] + coverage.square().sum(dim=2)[:, :, None]
    return shared / (squares - shared).clamp_min(EPSILON)


def extent_loss(
    assignment: Float[Tensor, "batch patch atom"], coverage: Float[Tensor, "batch target patch"]
) -> Float[Tensor, ""]:
    """One minus the overlap of each target with the atom that covers it best, mean over targets.

    The counterpart of `purity_loss`, which alone could be met by calling everything background.
    """
    present = coverage.sum(dim=2) > 0
    if not bool(present.any()):
        return assignment.sum() * 0
    best = target_overlap(assignment, coverage).amax(dim=-1)
    return 1 - best[present].mean()


def alignment_loss(
    features: Float[Tensor, "object dim"],
    label: Int[Tensor, "object"],
    embeddings: Float[Tensor, "label dim"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Cross-entropy of each object's prototype over the text embeddings of the batch's distinct labels.

    `features` and `embeddings` are unit vectors; `label` indexes `embeddings`. 0 when there are fewer than two labels
    to tell apart.
    """
    distinct, target = torch.unique(label, return_inverse=True)
    if len(distinct) < 2:
        return features.sum() * 0
    return F.cross_entropy(scale * features @ embeddings[distinct].T, target)


def stability_loss(
    assignment: Float[Tensor, "batch patch atom"],
    moved: Float[Tensor, "batch patch atom"],
    correspondence: Int[Tensor, "patch"],
) -> Float[Tensor, ""]:
    """Half the squared distance between a patch's assignment and that of the same place in the moved image, in [0, 1].

    `correspondence` names for every patch its place in the moved image, -1 where it has left the view.
    """
    seen = correspondence >= 0
    difference = assignment[:, seen] - moved[:, correspondence[seen]]
    return difference.square().sum(dim=-1).mean() / 2


def local_scores(
    features: Float[Tensor, "image prototype dim"],
    phrases: Float[Tensor, "text unit dim"],
    weight: Float[Tensor, "text unit"],
) -> Float[Tensor, "image text"]:
    """S_local of all pairs: the weighted mean best match of a caption's phrases among an image's prototypes."""
    images, prototypes, dimension = features.shape
    texts, units, _ = phrases.shape
    matches = phrases.reshape(-1, dimension) @ features.reshape(-1, dimension).T
    best = matches.reshape(texts, units, images, prototypes).amax(dim=-1)
    return torch.einsum("tm,tmi->it", weight, best)


def caption_scores(
    features: Float[Tensor, "image prototype dim"], captions: Float[Tensor, "text dim"], sharpness: float = 10.0
) -> Float[Tensor, "image text"]:
    """Match of whole captions with the prototypes they attend to, of all pairs; needs no phrases."""
    matches = torch.einsum("ikd,td->itk", features, captions)
    return (torch.softmax(sharpness * matches, dim=-1) * matches).sum(dim=-1)
