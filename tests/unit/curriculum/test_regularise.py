import numpy as np
import ot
import pytest
import torch

from planted import random_world
from vialign.methods.curriculum.regularise import ConsistencyRegulariser


def regulariser(**changes):
    settings = {"consistency_weight": 0.3, "transport_weight": 0.7, "epsilon": 0.2, "iterations": 300} | changes
    return ConsistencyRegulariser(12, 4, 0, **settings).double()


def test_it_equals_the_formula_with_an_independent_transport():
    prototypes, phrases, _, _ = random_world(0, images=5, texts=5)
    signal = torch.tensor([0.9, 0.4, 0.7, 1.0, 0.2], dtype=torch.float64)
    found = regulariser()(signal, prototypes.features, prototypes.mass, phrases.features, phrases.weight)
    cost = 1 - torch.einsum("bkd,bmd->bkm", prototypes.features, phrases.features).numpy()
    transport = []
    for b in range(5):
        rows, columns = prototypes.mass[b].numpy() > 0, phrases.weight[b].numpy() > 0
        part = cost[b][rows][:, columns]
        plan = ot.sinkhorn(
            prototypes.mass[b].numpy()[rows], phrases.weight[b].numpy()[columns], part, 0.2, stopThr=1e-12
        )
        transport.append((plan * part).sum())
    expected = 0.3 * (np.mean((1 - signal.numpy()) ** 2) + 0.7 * np.mean(transport))
    assert float(found) == pytest.approx(expected, abs=1e-8)


def test_adapters_start_as_identity_and_descending_lowers_the_loss():
    prototypes, phrases, _, _ = random_world(1, images=5, texts=5)
    module = regulariser(consistency_weight=1.0, iterations=30)
    torch.testing.assert_close(module.prototypes(prototypes.features), prototypes.features)
    torch.testing.assert_close(module.phrases(phrases.features), phrases.features)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        p, u = module.prototypes(prototypes.features), module.phrases(phrases.features)
        s_local = (phrases.weight * torch.einsum("bkd,bmd->bmk", p, u).amax(-1)).sum(-1)
        loss = module(1 - (0.9 - s_local).abs(), p, prototypes.mass, u, phrases.weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad.abs().max() > 0 for parameter in module.parameters())
