"""The gate: its features by hand, its fit against an independent optimiser, and units taken as wholes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tolerance import close
from vialign.disentangle.gate import GateEvidence, fit_gate, gate_evidence, gate_features, gate_shares, unfitted_gate
from vialign.disentangle.quality import count_units
from vialign.disentangle.structure import TokenDistributions, decode, joint_segments, mix, segment_means, smoothed
from vialign.disentangle.types import TokenStructure

N, E, A, R = range(4)


def planted_evidence(seed, count=4000, shuffle=False):
    """Tokens on which the main path is right as often as its log-odds say, the parser four times in five."""
    rng = np.random.default_rng(seed)
    odds, mean = rng.normal(1, 2, count), rng.normal(1, 1, count)
    right = rng.random(count) < 1 / (1 + np.exp(-odds - mean))
    if shuffle:
        right = rng.permutation(right)
    features = torch.from_numpy(np.column_stack([odds, mean])).float()
    likelihood = [np.where(hit, 0.9, 0.05) for hit in (right, rng.random(count) < 0.8)]
    return GateEvidence(features, *(torch.from_numpy(values).float() for values in likelihood))


def mixture(weights, evidence):
    gate = torch.sigmoid(evidence.features.double() @ weights[:-1] + weights[-1])
    return (gate * evidence.main + (1 - gate) * evidence.fallback).log().mean()


def test_features_are_log_odds_of_the_token_and_of_the_caption():
    kind = torch.tensor([[[0.8, 0.1, 0.1, 0.0], [0.2, 0.5, 0.2, 0.1], [0.0, 0.0, 0.0, 1.0]]])
    mask = torch.tensor([[True, True, False]])
    found = gate_features(kind, mask)[0]
    assert found[:2, 0].tolist() == pytest.approx([np.log(4), 0.0], abs=close(torch.float32, 4))
    assert found[:, 1].tolist() == pytest.approx([np.log(4) / 2] * 3, abs=close(torch.float32, 6))


def test_an_unfitted_gate_weighs_both_paths_alike_at_its_confidence():
    weights = unfitted_gate(0.8)
    kind = torch.tensor([[[0.8, 0.2, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]]])
    share = torch.sigmoid(gate_features(kind, torch.ones(1, 3).bool()) @ weights[:-1] + weights[-1])[0]
    assert share[0].item() == pytest.approx(0.5, abs=close(torch.float32, 16)) and share[1] > 0.5 > share[2]


def test_the_fit_is_as_likely_as_gradient_descent_makes_it():
    evidence = planted_evidence(0)
    fitted = fit_gate(evidence).double()
    weights = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimiser = torch.optim.Adam([weights], lr=0.05)
    for _ in range(800):
        optimiser.zero_grad()
        (-mixture(weights, evidence)).backward()
        optimiser.step()
    assert mixture(fitted, evidence).item() == pytest.approx(mixture(weights, evidence).item(), abs=2e-3)
    assert bool((fitted[:2] > 0.2).all())


def test_a_confidence_that_says_nothing_gets_no_weight():
    fitted = fit_gate(planted_evidence(0, shuffle=True))
    assert bool((fitted[:2].abs() < 0.1).all()) and bool((fit_gate(planted_evidence(0))[:2] > 0.2).all())


def test_more_confidence_never_lowers_the_trust():
    """Where confidence misleads, its weight is zero, not negative."""
    evidence = planted_evidence(1)
    misleading = GateEvidence(-evidence.features, evidence.main, evidence.fallback)
    assert fit_gate(misleading)[:2].tolist() == [0.0, 0.0]


def test_no_token_is_refused():
    empty = GateEvidence(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match="needs tokens"):
        fit_gate(empty)


def readings(seed, batch=3, length=8):
    """A random main path, a random parse, and a ragged mask; each path begins units where they begin."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.randint(1, length + 1, (batch, 1), generator=draw)

    def structure():
        kind = torch.randint(0, 4, (batch, length), generator=draw) * mask
        begin = torch.rand(batch, length, generator=draw) < 0.4
        nowhere = torch.full_like(kind, -1)
        return decode(smoothed(TokenStructure(kind, begin, nowhere, nowhere), 0.0), mask)

    return structure(), structure(), mask, draw


@given(st.integers(0, 2**31))
def test_every_mixed_unit_is_a_unit_of_one_path(seed):
    first, second, mask, draw = readings(seed)
    main = smoothed(first, 0.1)
    segment = joint_segments(main, second, mask)
    chosen = (torch.rand(mask.shape, generator=draw) < 0.5).float().gather(1, segment)
    mixed = decode(mix(main, smoothed(second, 0.1), chosen), mask)
    known = torch.stack([count_units(path, mixed)[..., 0] for path in (first, second)])
    found = count_units(mixed, mixed)[..., 0]
    assert bool((known.sum(dim=0) >= found).all())


def test_a_gate_that_changes_inside_a_unit_breaks_it():
    """The control of the test above: the parser's `a red ball` becomes two entities that nobody read."""
    nowhere = torch.full((1, 3), -1)
    one = TokenStructure(torch.tensor([[E, E, E]]), torch.tensor([[True, False, False]]), nowhere, nowhere)
    two = TokenStructure(torch.tensor([[N, N, N]]), torch.zeros(1, 3).bool(), nowhere, nowhere)
    mask = torch.ones(1, 3).bool()
    mixed = decode(mix(smoothed(two, 0.1), smoothed(one, 0.1), torch.tensor([[0.0, 1.0, 0.0]])), mask)
    assert mixed.kind.tolist() == [[E, N, E]]
    assert joint_segments(smoothed(two, 0.1), one, mask).tolist() == [[0, 0, 0]]


def test_segments_by_hand():
    """`a red ball on a box`: the parser joins `red ball` with its article, the main path joins `ball on`."""
    nowhere = torch.full((1, 6), -1)
    parsed = TokenStructure(
        torch.tensor([[E, A, E, R, E, E]]), torch.tensor([[True, True, False, True, True, False]]), nowhere, nowhere
    )
    main = TokenStructure(
        torch.tensor([[E, N, R, R, N, E]]), torch.tensor([[True, False, True, False, False, True]]), nowhere, nowhere
    )
    segment = joint_segments(smoothed(main, 0.1), parsed, torch.ones(1, 6).bool())
    assert segment.tolist() == [[0, 0, 0, 0, 1, 1]]
    alone = joint_segments(smoothed(parsed, 0.1), parsed, torch.ones(1, 6).bool())
    assert alone.tolist() == [[0, 0, 0, 1, 2, 2]]


@given(st.integers(0, 2**31))
def test_segment_means_equal_the_loop(seed):
    first, second, mask, draw = readings(seed)
    segment = joint_segments(smoothed(first, 0.1), second, mask)
    values = torch.randn(mask.shape, generator=draw)
    found = segment_means(values, segment, mask)
    for row in range(len(mask)):
        for token in range(mask.shape[1]):
            inside = (segment[row] == segment[row, token]) & mask[row]
            expected = float(values[row][inside].mean()) if bool(inside.any()) else 0.0
            assert found[row, token].item() == pytest.approx(expected, abs=close(torch.float32, 8, scale=4))


def test_padding_never_changes_a_share():
    first, second, mask, _ = readings(5)
    main = smoothed(first, 0.3)
    weights = torch.tensor([0.7, 0.4, -1.0])
    before = gate_shares(weights, main, second, mask)
    longer = TokenDistributions(
        F.pad(main.kind, (0, 0, 0, 2), value=0.25),
        F.pad(main.begin, (0, 2)),
        F.pad(main.subject, (0, 0, 0, 2)),
        F.pad(main.object, (0, 0, 0, 2)),
    )
    parsed = TokenStructure(*(F.pad(getattr(second, name), (0, 2)) for name in ("kind", "begin", "subject", "object")))
    after = gate_shares(weights, longer, parsed, F.pad(mask, (0, 2)))
    torch.testing.assert_close(after[:, :8][mask], before[mask])


def test_evidence_is_the_probability_of_the_truth():
    nowhere = torch.full((2, 2), -1)
    truth = TokenStructure(
        torch.tensor([[E, N], [N, N]]), torch.tensor([[True, False], [False, False]]), nowhere, nowhere
    )
    kind = torch.tensor([[[0.1, 0.7, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1]]]).expand(2, 2, 4)
    pointer = torch.zeros(2, 2, 3)
    main = TokenDistributions(kind, torch.full((2, 2), 0.8), pointer, pointer)
    evidence = gate_evidence(main, truth, 0.2, truth, torch.ones(2, 2).bool())
    assert evidence.main.tolist() == pytest.approx([0.7 * 0.8, 0.6])  # the second text has no unit to judge by
    assert evidence.fallback.tolist() == pytest.approx([0.85 * 0.9, 0.85])
