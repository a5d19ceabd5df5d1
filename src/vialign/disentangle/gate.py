"""The gate between the two readings of a caption: how sure the main path must be to be believed.

A mixture of experts (Jacobs, Jordan, Nowlan & Hinton 1991) whose gate sees nothing but the main path's confidence, in
log-odds: that of the token, and its mean over the caption. A gate that also saw where both paths disagree would fit its
own domain better and fail outside: there the same disagreement is the main path's fault. Tokens of one segment share
their mean log-odds of the gate, so that a unit is taken from one path as a whole.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vialign.disentangle.structure import TokenDistributions, joint_segments, segment_means, smoothed
from vialign.disentangle.types import NONE, TokenStructure

FEATURES = 2
_SLOPE = 2.0
"""Of a gate that was never fitted: the odds of the main path grow with the square of its own."""
_RIDGE = 1e-3
_FLOOR = 1e-4


def gate_features(
    kind: Float[Tensor, "batch token 4"], mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, "batch token 2"]:
    """Log-odds of each token's most probable kind, and their mean over the real tokens of its caption."""
    odds = torch.logit(kind.amax(dim=-1), eps=_FLOOR)
    mean = (odds * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp_min(1)
    return torch.stack([odds, mean.expand_as(odds)], dim=-1)


def gate_shares(
    weights: Float[Tensor, "3"], main: TokenDistributions, parsed: TokenStructure, mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, "batch token"]:
    """Share of the main path in every token's reading, the same over each segment; `weights` as of `fit_gate`."""
    odds = gate_features(main.kind, mask) @ weights[:-1] + weights[-1]
    return segment_means(odds, joint_segments(main, parsed, mask), mask).sigmoid()


def unfitted_gate(confidence: float) -> Float[Tensor, "3"]:
    """A gate that gives both paths the same weight where the main path gives a token's kind this probability."""
    odds = min(max(confidence, _FLOOR), 1 - _FLOOR)
    return torch.tensor([_SLOPE, 0.0, -_SLOPE * math.log(odds / (1 - odds))])


@dataclass(frozen=True)
class GateEvidence:
    """What is known of tokens on which the gate is fitted."""

    features: Float[Tensor, "token 2"]
    main: Float[Tensor, "token"]
    """Probability that the main path gives to the truth: to the kind, and inside a unit also to where it begins."""
    fallback: Float[Tensor, "token"]
    """The same of the parser's reading."""


def gate_evidence(
    main: TokenDistributions,
    parsed: TokenStructure,
    smoothing: float,
    truth: TokenStructure,
    mask: Bool[Tensor, "batch token"],
) -> GateEvidence:
    """The real tokens of a batch of captions whose truth has a unit; `smoothing` is that of the parser's reading."""
    known = mask & (truth.kind != NONE).any(dim=1, keepdim=True)
    found = [_probability_of(path, truth)[known] for path in (main, smoothed(parsed, smoothing))]
    return GateEvidence(gate_features(main.kind, mask)[known], *found)


def _probability_of(path: TokenDistributions, truth: TokenStructure) -> Float[Tensor, "batch token"]:
    kind = path.kind.gather(2, truth.kind[..., None]).squeeze(-1)
    begin = torch.where(truth.begin, path.begin, 1 - path.begin)
    return kind * torch.where(truth.kind == NONE, 1.0, begin)


def fit_gate(evidence: GateEvidence) -> Float[Tensor, "3"]:
    """Weights of both features and a constant, most likely under the mixture of the two paths.

    Maximises the mean log of `g * main + (1 - g) * fallback`, `g` the logistic function of the weighted features, less
    a small ridge on the weights of the standardised features. Weights are not negative: more confidence never lowers
    the trust. Raises ValueError without a token.
    """
    from scipy.optimize import minimize

    features, main, fallback = (
        values.double().numpy() for values in (evidence.features, evidence.main, evidence.fallback)
    )
    if not len(main):
        raise ValueError("the gate needs tokens to be fitted on")
    centre, spread = features.mean(axis=0), features.std(axis=0) + _FLOOR
    design = np.column_stack([(features - centre) / spread, np.ones(len(main))])

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        gate = 1 / (1 + np.exp(-design @ weights))
        likelihood = gate * main + (1 - gate) * fallback + 1e-12
        slope = (main - fallback) / likelihood * gate * (1 - gate)
        value = -np.log(likelihood).mean() + _RIDGE * (weights**2).sum()
        return float(value), -design.T @ slope / len(main) + 2 * _RIDGE * weights

    bounds = [(0, None)] * FEATURES + [(None, None)]
    weights = minimize(objective, np.zeros(FEATURES + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
    slopes = weights[:-1] / spread
    return torch.from_numpy(np.append(slopes, weights[-1] - slopes @ centre)).float()
