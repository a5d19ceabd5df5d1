"""Worlds of known mutual information: closed forms against integration, enumeration and samples."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import dblquad
from scipy.stats import entropy, multivariate_normal
from sklearn.metrics import mutual_info_score

from vialign.analysis.worlds import (
    GaussianParts,
    Scenes,
    channel_information,
    gaussian_correlation,
    gaussian_information,
    gaussian_log_ratio,
    symmetric_channel,
)
from vialign.disentangle.types import RELATION


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("correlation", [0.0, 0.3, -0.8])
def test_gaussian_information_is_the_integral(correlation):
    joint = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]])
    alone = multivariate_normal(0, 1)

    def integrand(y, x):
        return joint.pdf([x, y]) * (joint.logpdf([x, y]) - alone.logpdf(x) - alone.logpdf(y))

    integral, _ = dblquad(integrand, -6, 6, -6, 6, epsabs=1e-4)
    assert gaussian_information(correlation, 1) == pytest.approx(integral, abs=2e-4)
    assert gaussian_information(correlation, 5) == pytest.approx(5 * integral, abs=1e-3)


@given(st.floats(0, 30), st.integers(1, 100))
def test_correlation_gives_the_information_back(information, dimensions):
    correlation = gaussian_correlation(information, dimensions)
    if correlation < 1 - 1e-9:
        assert gaussian_information(correlation, dimensions) == pytest.approx(information, rel=1e-6, abs=1e-9)
    assert gaussian_information(1.0, dimensions) == math.inf


@given(st.integers(2, 12), st.floats(0, 1))
def test_channel_information_is_entropy_lost_and_that_of_the_joint_counts(symbols, error):
    channel = symmetric_channel(symbols, error)
    assert np.allclose(channel.sum(axis=1), 1)
    lost = entropy(channel[0])
    assert channel_information(channel) == pytest.approx(math.log(symbols) - lost, abs=1e-9)
    counted = mutual_info_score(None, None, contingency=channel * 1e9)
    assert channel_information(channel) == pytest.approx(counted, abs=1e-6)


def test_a_guess_tells_nothing_and_no_error_tells_all():
    assert channel_information(symmetric_channel(4, 0.75)) == pytest.approx(0, abs=1e-12)
    assert channel_information(symmetric_channel(4, 0.0)) == pytest.approx(math.log(4))


def test_information_of_a_scene_is_that_of_all_scenes_and_captions_enumerated():
    world = Scenes(objects=3, object_error=0.1)
    joint = np.zeros((36, 36))
    contents = list(itertools.product(range(3), range(3), range(4)))
    for row, shown in enumerate(contents):
        for column, told in enumerate(contents):
            chance = 1 / 36
            for sent, received, (size, error) in zip(shown, told, world.channels(0.3), strict=True):
                chance *= 1 - error if sent == received else error / (size - 1)
            joint[row, column] = chance
    assert joint.sum() == pytest.approx(1)
    outer = joint.sum(1)[:, None] * joint.sum(0)
    assert world.mutual_information(0.3) == pytest.approx(float((joint * np.log(joint / outer)).sum()))


def test_information_rises_along_every_grid_and_twins_have_the_same():
    for world, twin in ((GaussianParts(), GaussianParts(noise=0.5)), (Scenes(), Scenes(reads_relations=False))):
        information = [world.mutual_information(value) for value in world.grid]
        assert all(after > before for before, after in itertools.pairwise(information))
        assert information == [twin.mutual_information(value) for value in twin.grid]
    assert [GaussianParts().mutual_information(value) for value in GaussianParts().grid] == pytest.approx(
        list(GaussianParts().information)
    )


@given(st.floats(-0.95, 0.95), st.integers(0, 100))
def test_log_ratio_of_gaussians_is_that_of_their_densities(correlation, seed):
    image, text = rng(seed).normal(size=(2, 3, 2))
    found = gaussian_log_ratio(torch.from_numpy(image), torch.from_numpy(text), correlation)
    joint, alone = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]), multivariate_normal(0, 1)
    for i, j in itertools.product(range(3), range(3)):
        expected = sum(
            joint.logpdf([x, y]) - alone.logpdf(x) - alone.logpdf(y) for x, y in zip(image[i], text[j], strict=True)
        )
        assert float(found[i, j]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("world", "parameter"), [(GaussianParts(), 0.3), (Scenes(), 0.3)])
def test_the_log_ratio_averages_to_the_information_over_pairs_and_its_exponential_to_one(world, parameter):
    sample = world.draw(parameter, 1500, rng())
    aligned = sample.log_ratio.diagonal()
    error = float(aligned.std()) / math.sqrt(len(aligned))
    assert float(aligned.mean()) == pytest.approx(world.mutual_information(parameter), abs=4 * error)
    others = sample.log_ratio[~torch.eye(1500, dtype=torch.bool)].exp()
    assert float(others.mean()) == pytest.approx(1, abs=0.15)


def test_what_scenes_tell_has_the_information_that_they_claim():
    """From samples: the nearest kind of each prototype and phrase, and the relation from the geometry."""
    sample = Scenes(objects=3, noise=0.05, jitter=0.0).draw(0.3, 3000, rng())
    subject = sample.prototypes.features[:, 0].argmax(dim=-1)
    told_subject = sample.phrases.features[:, 0].argmax(dim=-1)
    offset = sample.prototypes.moments[:, 0, :2] - sample.prototypes.moments[:, 1, :2]
    asked = sample.phrases.direction[:, 2, :2]
    names = [2 * (pair.abs()[:, 0] > pair.abs()[:, 1]).int() + (pair.sum(dim=1) > 0).int() for pair in (offset, asked)]
    of_subject = mutual_info_score(subject.numpy(), told_subject.numpy())
    of_relation = mutual_info_score(*(name.numpy() for name in names))
    assert of_subject == pytest.approx(channel_information(symmetric_channel(3, 0.02)), abs=0.05)
    assert of_relation == pytest.approx(channel_information(symmetric_channel(4, 0.3)), abs=0.05)


def test_exchanged_roles_ask_for_the_reverse_of_the_same_words():
    sample = Scenes().draw(0.0, 50, rng())
    own, exchanged = sample.phrases, sample.exchanged
    assert torch.equal(own.features, exchanged.features)
    assert torch.allclose(own.direction[:, 2, :2], -exchanged.direction[:, 2, :2])
    assert (own.kind[:, 2] == RELATION).all() and (own.subject[:, 2] == 0).all() and (own.object[:, 2] == 1).all()
    blind = Scenes(reads_relations=False).draw(0.0, 50, rng())
    assert blind.phrases.direction is None and torch.equal(blind.phrases.features, blind.exchanged.features)


@pytest.mark.parametrize("world", [GaussianParts(), GaussianParts(noise=0.5), Scenes(), Scenes(reads_relations=False)])
def test_features_have_unit_length_and_twins_are_drawn_alike(world):
    sample = world.draw(world.grid[1], 20, rng())
    for vectors in (sample.image, sample.text, sample.prototypes.features):
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1], dtype=torch.float64))
    assert torch.allclose(sample.phrases.weight.sum(dim=1), torch.ones(20, dtype=torch.float64))
    twin = type(world)().draw(world.grid[1], 20, rng())
    assert torch.equal(sample.log_ratio, twin.log_ratio)


def test_noise_makes_some_images_resemble_any_caption_in_both_similarities_alike_where_it_is_common():
    def resemblance(**settings):
        sample = GaussianParts(**settings).draw(0.0, 100, rng())
        local = torch.einsum("tmd,ikd->itmk", sample.phrases.features, sample.prototypes.features).amax(-1).mean(-1)
        return torch.stack([sample.image @ sample.text.T, local]).mean(dim=2)

    quiet, common, apart = resemblance(), resemblance(noise=0.5), resemblance(noise=0.5, common=False)
    assert (common.std(dim=1) > 4 * quiet.std(dim=1)).all()
    assert torch.corrcoef(common)[0, 1] > 0.9
    assert abs(torch.corrcoef(apart)[0, 1]) < 0.3
