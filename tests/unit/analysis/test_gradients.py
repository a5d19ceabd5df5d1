"""Gradients by terms and by samples against autograd one at a time; the path against scikit-learn; planted controls."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA

from planted import CALIBRATION, Vocabulary, planted_world
from tolerance import close
from vialign.analysis.gradients import (
    TrailedRun,
    alignment,
    analyse_gradients,
    gradient,
    loss_terms,
    mean_interval,
    principal_path,
    sample_alignment,
    sample_gradients,
    sample_losses,
    sample_rows,
    term_cosines,
)
from vialign.catalogue import MODULES, SUBSETS
from vialign.config.evaluation import GradientConfig
from vialign.config.methods import CurriculumConfig
from vialign.config.signal import SignalConfig
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.tables.training import GRADIENT_SAMPLES, GRADIENT_TERMS, OPTIMISATION_PATH
from vialign.training.batches import BatchOrder

REGULARISED = ("contrastive", "negative", "consistency", "transport")


SUMS = close(torch.float32, 64 * 16)
"""Two ways to a loss or its gradient, relative to its size: sums over sixteen dimensions and over the batch."""


@pytest.fixture(scope="module")
def world():
    split = planted_world(Vocabulary(16), 40, 1)
    split.negatives[split.captions[::5]] = -1
    return split


@pytest.fixture(scope="module")
def batch(world):
    return BatchOrder(world, 12, 3).draw(1)


def moved(modules, seed=0, **curriculum):
    """A method away from its start, where every module already does something."""
    settings = CurriculumConfig(**curriculum)
    method = CurriculumMethod(modules, 16, 20.0, CALIBRATION, settings, SignalConfig(), 0.7, seed)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=noise)
    return method.eval()


@pytest.mark.parametrize("name", SUBSETS)
def test_terms_and_their_gradients_sum_to_those_of_the_loss(world, batch, name):
    method = moved(SUBSETS[name])
    terms = loss_terms(method, world, batch)
    assert tuple(terms) == (REGULARISED if "regularise" in name or name == "vialign" else REGULARISED[:2])
    loss = method.loss(world, batch)["loss"]
    assert float(sum(terms.values()).detach()) == pytest.approx(float(loss.detach()), rel=SUMS)
    total = sum(gradient(method, term) for term in terms.values())
    expected = gradient(method, loss)
    torch.testing.assert_close(total, expected, rtol=0, atol=SUMS * float(expected.abs().max()))
    assert all(float(gradient(method, term).norm()) > 0 for term in terms.values())


def test_the_regulariser_is_split_into_its_two_parts_and_left_as_it_was(world, batch):
    method = moved(("regularise",), consistency=0.3, transport=0.2)
    terms = loss_terms(method, world, batch)
    expected = 0.3 * (1 - method.consistency(world, batch.texts)).square().mean()
    assert float(terms["consistency"].detach()) == pytest.approx(float(expected.detach()), rel=SUMS)
    wanted = gradient(method, expected)
    torch.testing.assert_close(
        gradient(method, terms["consistency"]), wanted, rtol=0, atol=SUMS * float(wanted.abs().max())
    )
    assert method.regularise.transport_weight == 0.2
    without = moved(("regularise",), consistency=0.3, transport=0.0)
    assert not any("transport" in pair for pair in term_cosines(without, world, batch))


def test_cosines_of_terms_by_hand(world, batch):
    method = moved(MODULES)
    terms = loss_terms(method, world, batch)
    names = list(terms)
    found = term_cosines(method, world, batch)
    assert list(found) == [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    for (a, b), cosine in found.items():
        vectors = []
        for name in (a, b):
            method.zero_grad()
            loss_terms(method, world, batch)[name].backward()
            parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in method.trainable().values()]
            vectors.append(torch.cat([part.flatten() for part in parts]))
        assert cosine == pytest.approx(float(torch.cosine_similarity(*vectors, dim=0)), abs=SUMS)


@pytest.mark.parametrize(("modules", "hardest"), [((), 0.0), (("correct",), 0.0), ((), 0.4)])
def test_sample_losses_have_the_loss_as_their_mean(world, batch, modules, hardest):
    method = moved(modules)
    method.hardest_share = hardest
    assert bool((batch.negatives < 0).any()) and bool((batch.negatives >= 0).any())
    mean = sample_losses(method, world, batch).mean()
    loss = method.loss(world, batch)["loss"]
    assert float(mean.detach()) == pytest.approx(float(loss.detach()), rel=SUMS)
    none = replace(batch, negatives=torch.full_like(batch.negatives, -1))
    alone = method.loss(world, none)
    assert bool(alone["negative"] > 0) == (hardest > 0)
    assert float(sample_losses(method, world, none).mean().detach()) == pytest.approx(
        float(alone["loss"].detach()), rel=SUMS
    )


@pytest.mark.parametrize("modules", [(), MODULES])
def test_gradients_of_samples_equal_one_backward_pass_each(world, batch, modules):
    method = moved(modules)
    losses = sample_losses(method, world, batch)
    parameters = list(method.trainable().values())
    rows = torch.cat(list(sample_gradients(method, losses, rows=5)))
    assert rows.shape == (12, sum(parameter.numel() for parameter in parameters))
    for place in range(12):
        expected = gradient(method, losses[place])
        torch.testing.assert_close(rows[place], expected, rtol=0, atol=SUMS * float(expected.abs().max()))
    assert float((rows[0] - rows[1]).norm()) > 1e-3


def test_alignment_is_the_cosine_with_all_others():
    rows = torch.tensor(np.random.default_rng(0).normal(size=(9, 30)))
    found = alignment(rows, rows.sum(dim=0))
    for place in range(9):
        others = torch.cat([rows[:place], rows[place + 1 :]]).sum(dim=0)
        assert float(found[place]) == pytest.approx(float(torch.cosine_similarity(rows[place], others, dim=0)))
    against = torch.stack([torch.ones(4), torch.ones(4), -torch.ones(4) / 2, torch.zeros(4)])
    values = alignment(against, against.sum(dim=0))
    assert values[:3].tolist() == pytest.approx([1, 1, -1]) and torch.isnan(values[3])


def test_alignment_over_batches_equals_all_gradients_at_once(world):
    method = moved(MODULES)
    order = BatchOrder(world, 8, 0)
    batches = [order.draw(number) for number in (1, 2, 3)]
    signal, aligned = sample_alignment(method, world, batches)
    losses = torch.cat([sample_losses(method, world, part) for part in batches])
    rows = torch.stack([gradient(method, loss) for loss in losses]).double()
    torch.testing.assert_close(torch.tensor(aligned), alignment(rows, rows.sum(dim=0)), rtol=0, atol=SUMS)
    expected = torch.cat([method.consistency(world, part.texts) for part in batches]).detach()
    assert signal == pytest.approx(expected.double().numpy(), abs=SUMS)


def test_the_path_equals_scikit_learn_and_runs_from_start_to_end():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(12, 300)).cumsum(axis=0)
    coordinates, shares = principal_path(weights)
    reference = PCA(n_components=2).fit(weights)
    assert shares == pytest.approx(reference.explained_variance_ratio_)
    assert np.abs(coordinates) == pytest.approx(np.abs(reference.transform(weights)))
    assert (coordinates[-1] >= coordinates[0]).all()


def test_shares_of_a_line_of_rest_and_of_a_random_walk():
    line = np.linspace(0, 1, 7)[:, None] * np.arange(1.0, 6.0)
    coordinates, shares = principal_path(line)
    assert shares == pytest.approx([1, 0], abs=1e-12)
    assert coordinates[-1, 0] - coordinates[0, 0] == pytest.approx(np.linalg.norm(np.arange(1, 6)))
    assert principal_path(np.ones((4, 3)))[1].tolist() == [0, 0]
    assert principal_path(np.array([[0.0], [2.0]]))[0][:, 0].tolist() == pytest.approx([-1, 1])
    walk = np.random.default_rng(2).normal(size=(150, 6000)).cumsum(axis=0)
    assert principal_path(walk)[1] == pytest.approx([6 / np.pi**2, 1.5 / np.pi**2], abs=0.01)


def test_a_mean_cosine_has_students_interval():
    values = np.random.default_rng(0).uniform(-0.4, 0.4, size=6)
    low, high = stats.t.interval(0.95, 5, loc=values.mean(), scale=stats.sem(values))
    assert mean_interval(list(values), 0.05) == pytest.approx((values.mean(), low, high))
    assert mean_interval([0.9, -0.9], 0.05)[1:] == (-1, 1)
    assert mean_interval([0.3], 0.05) == (0.3, -1.0, 1.0)


def planted_seeds(relation, samples=200, seeds=(0, 1)):
    rng = np.random.default_rng(3)
    made = []
    for seed in seeds:
        signal = rng.uniform(size=samples)
        made.append((seed, signal, relation * (signal - 0.5) + 0.1 * rng.normal(size=samples)))
    return made


def rows_of(seeds, images, bins=4):
    return sample_rows("vialign", 10, seeds, images, bins, level=0.05, replicates=400, seed=0)


def test_groups_hold_the_same_share_of_samples_and_show_what_is_planted():
    seeds = planted_seeds(0.6)
    rows = GRADIENT_SAMPLES.check(rows_of(seeds, np.arange(200)))
    assert rows["samples"].tolist() == [100] * 4
    for number in range(4):
        parts = []
        for _, signal, cosine in seeds:
            chosen = (stats.rankdata(signal) - 1) // 50 == number
            parts.append((signal[chosen].mean(), cosine[chosen].mean()))
        assert tuple(rows.loc[number, ["consistency", "cosine"]]) == pytest.approx(tuple(np.mean(parts, axis=0)))
    assert rows["high"][0] < 0 < rows["low"][3] and rows["cosine"].is_monotonic_increasing
    flat = rows_of(planted_seeds(0.0), np.arange(200))
    assert ((flat["low"] < 0) & (flat["high"] > 0)).sum() >= 3


def test_samples_of_one_image_count_as_one():
    seeds = planted_seeds(0.0, seeds=(0,))
    (seed, signal, cosine), images = seeds[0], np.arange(200) // 20
    shared = [(seed, signal, cosine + np.random.default_rng(0).normal(size=10)[images])]
    wide, narrow = rows_of(shared, images, bins=1), rows_of(shared, np.arange(200), bins=1)
    assert (wide["high"] - wide["low"])[0] > 2 * (narrow["high"] - narrow["low"])[0]


def test_samples_without_a_gradient_are_left_out():
    seed, signal, cosine = planted_seeds(0.6, seeds=(0,))[0]
    cosine[np.argsort(signal)[:50]] = np.nan
    rows = rows_of([(seed, signal, cosine)], np.arange(200), bins=3)
    assert rows["samples"].sum() == 150 and rows["consistency"].min() > 0.2


def test_the_tables_of_two_trainings_are_as_declared_and_repeat(world):
    config = GradientConfig(points=3, batches=3, batch=8, moments=2, bins=3)

    def run(modules, seed):
        method = moved(modules, seed)
        trail = {step: moved(modules, seed + step).state() for step in (0, 2, 4, 6, 8)}
        return TrailedRun(method, seed, trail)

    def tables():
        runs = [run(modules, seed) for modules in (MODULES, ("correct",)) for seed in (0, 1)]
        return analyse_gradients(runs, world, config, level=0.05, replicates=50, seed=0)

    found = tables()
    for table, frame, again in zip((GRADIENT_TERMS, GRADIENT_SAMPLES, OPTIMISATION_PATH), found, tables(), strict=True):
        pd.testing.assert_frame_equal(table.check(frame), again)
    terms, samples, path = found
    assert terms.groupby(["method", "seed"])["step"].unique().map(list).tolist() == [[0, 4, 8]] * 4
    assert (terms[terms["method"] == "vialign"].groupby(["seed", "step"]).size() == 6).all()
    assert (terms[terms["method"] == "vialign-correct"].groupby(["seed", "step"]).size() == 1).all()
    assert terms["batches"].eq(3).all() and (terms["low"] < terms["high"]).all()
    assert samples.groupby("method")["step"].unique().map(list).tolist() == [[0, 8]] * 2
    assert samples.groupby(["method", "step"])["samples"].sum().eq(2 * 24).all()
    assert path.groupby(["method", "seed"])["step"].apply(list).tolist() == [[0, 2, 4, 6, 8]] * 4
