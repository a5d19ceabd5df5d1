"""Gradients after the fact: what each term of the loss, and each sample, asked for along a checkpoint trail.

Three questions of docs/method.md#33-monitoring-and-analysis-afterwards. Do the terms pull the same way (cosines between
their gradients)? Do samples with a low C pull against the rest (cosine of a sample's gradient with the mean gradient of
the others)? And how simple was the way that the weights took (its two leading principal directions)? Everything is
measured on the same few batches of the training split at every checkpoint, in evaluation mode, so that only the weights
differ.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from vialign.config.evaluation import GradientConfig
from vialign.evaluation.statistics import seed_weights
from vialign.methods.checkpoint import Trail
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.curriculum.regularise import ConsistencyRegulariser
from vialign.methods.objective import Batch, SplitData, hardest_losses, select
from vialign.progress import track
from vialign.random import derive_seed, generator
from vialign.signal.validation.resampling import image_weights, interval, resampled_mean
from vialign.tables.training import GRADIENT_SAMPLES, GRADIENT_TERMS, OPTIMISATION_PATH
from vialign.training.batches import BatchOrder

_ROWS = 16
"""Samples whose gradients are computed at once: more need more memory and are not faster."""


@dataclass(frozen=True, eq=False)
class TrailedRun:
    """One training of a method: the method as it is built, its seed, and the weights it went through."""

    method: CurriculumMethod
    seed: int
    trail: Trail


def loss_terms(method: CurriculumMethod, data: SplitData, batch: Batch) -> dict[str, Tensor]:
    """The terms that sum to the loss, weighted as they enter it; the regulariser as its two parts.

    Without a weight or a module its term is left out.
    """
    whole = method.loss(data, batch)
    terms = {"contrastive": whole["contrastive"], "negative": method.negative_weight * whole["negative"]}
    if method.regularise is not None:
        prototypes = method.adapted_prototypes(data.prototypes.index(batch.images))
        phrases = method.adapted_phrases(data.phrases.index(batch.texts))
        signal = method.consistency(data, batch.texts)
        sides = (prototypes.features, prototypes.mass, phrases.features, phrases.weight)
        with _without_transport(method.regularise):
            terms["consistency"] = method.regularise(signal, *sides)
        # MSE(C, 1) of a C that is 1 is nothing, so what is left is the transport.
        terms["transport"] = method.regularise(torch.ones_like(signal), *sides)
    return {name: term for name, term in terms.items() if term.requires_grad}


def gradient(method: CurriculumMethod, value: Float[Tensor, ""]) -> Float[Tensor, "parameter"]:
    """The gradient of `value` in all trainable parameters, as one vector; 0 where it does not reach one."""
    parameters = list(method.trainable().values())
    parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def term_cosines(method: CurriculumMethod, data: SplitData, batch: Batch) -> dict[tuple[str, str], float]:
    """Cosine between the gradients of each two terms on one batch; pairs with a gradient of zero are left out."""
    gradients = {name: gradient(method, term) for name, term in loss_terms(method, data, batch).items()}
    units = {name: value / value.norm() for name, value in gradients.items() if bool(value.norm() > 0)}
    return {(one, other): float(units[one] @ units[other]) for one, other in combinations(units, 2)}


def sample_losses(method: CurriculumMethod, data: SplitData, batch: Batch) -> Float[Tensor, "sample"]:
    """Each pair's own part of the task loss, whose mean over the batch is contrastive plus weighted negative term.

    Sample weights and the regulariser are left out: they depend on C by design, and would answer the question with
    what they were built for. The contrastive part of a pair is its row and its column of the batch.
    """
    images, texts = method.images(data, batch.images), method.texts(data, batch.texts)
    logits = method.logit_scale * method.scores(images, texts)
    target = torch.arange(len(logits), device=logits.device)
    losses = (
        F.cross_entropy(logits, target, reduction="none") + F.cross_entropy(logits.T, target, reduction="none")
    ) / 2
    weight, hardest = method.negative_weight, method.hardest_share
    if weight * hardest > 0:
        losses = losses + weight * hardest * hardest_losses(logits)
    present = batch.negatives >= 0
    if weight * (1 - hardest) == 0 or not bool(present.any()):
        return losses
    wrong = method.pair_scores(select(images, present), method.texts(data, batch.negatives[present]))
    margin = F.softplus(method.logit_scale * wrong - logits.diagonal()[present])
    scale = weight * (1 - hardest) * len(losses) / int(present.sum())
    return losses.index_add(0, present.nonzero().squeeze(1), scale * margin)


def sample_gradients(
    method: CurriculumMethod, losses: Float[Tensor, "sample"], rows: int = _ROWS
) -> Iterator[Float[Tensor, "row parameter"]]:
    """The gradient of each sample's loss, a block of samples at a time: one vectorised backward pass a block."""
    parameters = list(method.trainable().values())
    for chosen in torch.eye(len(losses), dtype=losses.dtype, device=losses.device).split(rows):
        parts = torch.autograd.grad(
            losses, parameters, chosen, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        yield torch.cat(
            [
                parameter.new_zeros(len(chosen), parameter.numel()) if part is None else part.reshape(len(chosen), -1)
                for part, parameter in zip(parts, parameters, strict=True)
            ],
            dim=1,
        )


def alignment(
    gradients: Float[Tensor, "sample parameter"], total: Float[Tensor, "parameter"]
) -> Float[Tensor, "sample"]:
    """Cosine of each sample's gradient with the sum of all others; `total` is the sum of all.

    The sample itself is taken out of the sum: a gradient always agrees with itself, the more the larger it is. nan
    where a sample has no gradient.
    """
    own = gradients.double()
    total = total.double()
    square, along = own.square().sum(dim=1), own @ total
    others = (total.square().sum() - 2 * along + square).clamp_min(0)
    return (along - square) / (square * others).sqrt()


def sample_alignment(
    method: CurriculumMethod, data: SplitData, batches: Sequence[Batch]
) -> tuple[Float[np.ndarray, "sample"], Float[np.ndarray, "sample"]]:
    """C of every sample of the batches, and the alignment of its gradient with all others'.

    Two passes, since the total must be known first: memory is that of a few gradients, however many samples there are.
    """
    total: Tensor | float = 0.0
    for batch in batches:
        total = total + gradient(method, sample_losses(method, data, batch).sum()).double()
    assert isinstance(total, Tensor)
    aligned, signal = [], []
    for batch in batches:
        losses = sample_losses(method, data, batch)
        aligned += [alignment(part, total) for part in sample_gradients(method, losses)]
        with torch.no_grad():
            signal.append(method.consistency(data, batch.texts))
    return torch.cat(signal).double().numpy(), torch.cat(aligned).numpy()


def principal_path(
    weights: Float[np.ndarray, "point parameter"],
) -> tuple[Float[np.ndarray, "point 2"], Float[np.ndarray, "2"]]:
    """Coordinates of the path's points on its two leading principal directions, and their shares of its variance.

    Principal component analysis of the centred points (Li et al. 2018, arXiv:1712.09913, section 7); each axis points
    from the start to the end. Even a long random walk in many dimensions has shares of 6/π² = 61 % and 15 %, and draws
    an arc (Antognini and Sohl-Dickstein 2018, arXiv:1806.08805). A path that never moves has shares of 0.
    """
    centred = weights - weights.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    coordinates = np.zeros((len(weights), 2))
    shares = np.zeros(2)
    count = min(2, len(singular))
    coordinates[:, :count] = left[:, :count] * singular[:count]
    if (variance := np.square(singular).sum()) > 0:
        shares[:count] = np.square(singular[:count]) / variance
    return coordinates * np.where(coordinates[-1] < coordinates[0], -1.0, 1.0), shares


def analyse_gradients(
    runs: Sequence[TrailedRun], data: SplitData, config: GradientConfig, *, level: float, replicates: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """GRADIENT_TERMS, GRADIENT_SAMPLES and OPTIMISATION_PATH of trainings of the same data.

    `level` is that of all intervals and `replicates` the resamples of the bootstrap. Each method is left with the last
    weights of its trail.
    """
    order = BatchOrder(data, config.batch, derive_seed(seed, "gradient batches"))
    batches = [order.draw(number) for number in range(1, min(config.batches, order.steps_per_epoch) + 1)]
    terms: list[dict[str, object]] = []
    aligned: dict[tuple[str, int], list[tuple[int, np.ndarray, np.ndarray]]] = {}
    paths = [path_rows(run) for run in runs]
    points = {id(run): _spread(list(run.trail), config.points) for run in runs}
    visits = [(run, step) for run in runs for step in points[id(run)]]
    for run, step in track(visits, "gradients along the trail"):
        run.method.load_state(run.trail[step])
        run.method.eval()
        terms += _term_rows(run, step, [term_cosines(run.method, data, batch) for batch in batches], level)
        if step in _spread(points[id(run)], config.moments):
            found = sample_alignment(run.method, data, batches)
            aligned.setdefault((run.method.name, step), []).append((run.seed, *found))
    images = torch.cat([batch.images for batch in batches]).numpy()
    samples = [
        sample_rows(method, step, seeds, images, config.bins, level=level, replicates=replicates, seed=seed)
        for (method, step), seeds in aligned.items()
    ]
    return (
        GRADIENT_TERMS.check(pd.DataFrame(terms, columns=list(GRADIENT_TERMS.columns))),
        GRADIENT_SAMPLES.check(pd.concat([GRADIENT_SAMPLES.empty(), *samples], ignore_index=True)),
        OPTIMISATION_PATH.check(pd.concat([OPTIMISATION_PATH.empty(), *paths], ignore_index=True)),
    )


def path_rows(run: TrailedRun) -> pd.DataFrame:
    """OPTIMISATION_PATH rows of one training, over all checkpoints of its trail and all trainable weights."""
    names = list(run.method.trainable())
    weights = [torch.cat([state[name].flatten() for name in names]).double().numpy() for state in run.trail.values()]
    coordinates, shares = principal_path(np.stack(weights))
    return pd.DataFrame(
        {
            "method": run.method.name,
            "seed": run.seed,
            "step": list(run.trail),
            "first": coordinates[:, 0],
            "second": coordinates[:, 1],
            "first_share": shares[0],
            "second_share": shares[1],
        }
    )


def sample_rows(
    method: str,
    step: int,
    seeds: Sequence[tuple[int, np.ndarray, np.ndarray]],
    images: np.ndarray,
    bins: int,
    *,
    level: float,
    replicates: int,
    seed: int,
) -> pd.DataFrame:
    """GRADIENT_SAMPLES rows of one checkpoint: mean alignment of each group of samples by C.

    `seeds` has C and alignment of the same samples in each training; a group is the same share of them by rank of C in
    each. Intervals: bootstrap over images, then seeds. Samples without a gradient are left out.
    """
    _, image = np.unique(images, return_inverse=True)
    weights = image_weights(int(image.max()) + 1, replicates, generator(seed, "gradient samples", method, step))
    of_seed = seed_weights([number for number, _, _ in seeds], replicates, seed)
    parts: list[list[np.ndarray]] = []
    for _, signal, cosine in seeds:
        ranked = np.argsort(signal, kind="stable")
        parts.append(np.array_split(ranked[np.isfinite(cosine[ranked])], bins))
    rows = []
    for number in range(bins):
        groups = [part[number] for part in parts]
        if not all(len(group) for group in groups):
            continue
        drawn = np.stack(
            [
                resampled_mean(cosine[group], image[group], weights)
                for (_, _, cosine), group in zip(seeds, groups, strict=True)
            ],
            axis=1,
        )
        value = float(np.mean([cosine[group].mean() for (_, _, cosine), group in zip(seeds, groups, strict=True)]))
        low, high = interval((of_seed * drawn).sum(axis=1), level)
        rows.append(
            {
                "method": method,
                "step": step,
                "bin": number,
                "consistency": np.mean([c[group].mean() for (_, c, _), group in zip(seeds, groups, strict=True)]),
                "cosine": value,
                "low": max(-1.0, min(low, value)),
                "high": min(1.0, max(high, value)),
                "samples": sum(len(group) for group in groups),
            }
        )
    return pd.DataFrame(rows, columns=list(GRADIENT_SAMPLES.columns))


def mean_interval(values: Sequence[float], level: float) -> tuple[float, float, float]:
    """Mean of independent cosines with Student's t interval, cut to [-1, 1]; one value alone has all of that."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, -1.0, 1.0
    half = float(stats.t.ppf(1 - level / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, max(-1.0, mean - half), min(1.0, mean + half)


def _term_rows(
    run: TrailedRun, step: int, cosines: Sequence[dict[tuple[str, str], float]], level: float
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for pair in dict.fromkeys(pair for found in cosines for pair in found):
        values = [found[pair] for found in cosines if pair in found]
        mean, low, high = mean_interval(values, level)
        key = {"method": run.method.name, "seed": run.seed, "step": step, "first": pair[0], "second": pair[1]}
        rows.append({**key, "cosine": mean, "low": low, "high": high, "batches": len(values)})
    return rows


def _spread(steps: Sequence[int], count: int) -> list[int]:
    """At most `count` of the steps, evenly spread, with the first and the last; with one, the last."""
    places = np.linspace(len(steps) - 1, 0, min(count, len(steps))).round().astype(int)
    return [steps[place] for place in places[::-1]]


@contextmanager
def _without_transport(regulariser: ConsistencyRegulariser) -> Iterator[None]:
    """The regulariser without its second part, for as long as the block runs."""
    weight, regulariser.transport_weight = regulariser.transport_weight, 0.0
    try:
        yield
    finally:
        regulariser.transport_weight = weight
