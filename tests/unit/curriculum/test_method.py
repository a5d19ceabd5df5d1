import pytest
import torch
from torch import nn

from planted import CALIBRATION, Vocabulary, planted_world
from tolerance import close
from vialign.catalogue import MODULES, SUBSETS, method_name
from vialign.config.methods import CurriculumConfig, TrainingConfig
from vialign.config.signal import SignalConfig
from vialign.contrastive import contrastive_loss
from vialign.methods.curriculum.correct import local_matches
from vialign.methods.curriculum.head import ContrastiveHead
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.curriculum.padding import without_absent, without_padding
from vialign.methods.objective import Batch, Objective, select
from vialign.signal.score import local_similarity, match_entropy, relation_queries
from vialign.training.loop import train

DIMENSION = 32
SCORES = close(torch.float32, 16 * DIMENSION)
"""Two ways to a similarity: head, adapters, matches and corrections, each a few sums over the dimensions."""
RECIPE = TrainingConfig(batch=32, steps=50, early_steps=50, checks=1)


def build(modules, dimension=DIMENSION, seed=0, **curriculum):
    settings = CurriculumConfig(**curriculum)
    return CurriculumMethod(modules, dimension, 30.0, CALIBRATION, settings, SignalConfig(), 1.0, seed)


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(DIMENSION)


@pytest.fixture(scope="module")
def data(vocabulary):
    return planted_world(vocabulary, 200, 1)


@pytest.fixture(scope="module")
def validation(vocabulary):
    return planted_world(vocabulary, 100, 2)


def run(modules, data, validation, to_step=RECIPE.steps, **curriculum):
    method = build(modules, **curriculum)
    return method, train(method, data, validation, RECIPE, peak_rate=3e-3, seed=0, to_step=to_step)


def test_names_are_those_of_the_contract():
    assert set(SUBSETS) == {
        "vialign",
        "vialign-none",
        "vialign-reweight",
        "vialign-regularise",
        "vialign-correct",
        "vialign-reweight-regularise",
        "vialign-reweight-correct",
        "vialign-regularise-correct",
    }
    assert all(build(modules).name == name == method_name(reversed(modules)) for name, modules in SUBSETS.items())


@pytest.mark.parametrize("name", SUBSETS)
def test_every_subset_starts_at_the_frozen_scores(name, data):
    method = build(SUBSETS[name])
    images, texts = torch.arange(30), torch.arange(40)
    side = method.images(data, images), method.texts(data, texts)
    frozen = data.image_pooled[images] @ data.text_pooled[texts].T
    torch.testing.assert_close(method.scores(*side), frozen, atol=SCORES, rtol=0)
    torch.testing.assert_close(method.pair_scores(side[0], select(side[1], images)), frozen.diagonal()[:30])


@pytest.mark.parametrize("name", SUBSETS)
def test_all_pairs_aligned_pairs_and_blocks_agree_after_training(name, data, validation, monkeypatch):
    method, _ = run(SUBSETS[name], data, validation, to_step=3)
    images, texts = method.images(data, torch.arange(20)), method.texts(data, torch.arange(20))
    scores = method.scores(images, texts)
    torch.testing.assert_close(method.pair_scores(images, texts), scores.diagonal(), atol=SCORES, rtol=0)
    monkeypatch.setattr("vialign.methods.curriculum.method._BLOCK", 20 * 4 * 32 * 7)
    torch.testing.assert_close(method.scores(images, texts), scores, atol=SCORES, rtol=0)


class PlainHead(Objective):
    """The contrastive head alone, written without the method."""

    name = "plain"

    def __init__(self):
        super().__init__()
        self.logit_scale, self.negative_weight = 30.0, 1.0
        self.head = ContrastiveHead(DIMENSION, CurriculumConfig().head_rank, 0)

    def images(self, data, index):
        return {"pooled": self.head.image(data.image_pooled[index])}

    def texts(self, data, index):
        return {"pooled": self.head.text(data.text_pooled[index])}

    def scores(self, images, texts):
        return images["pooled"] @ texts["pooled"].T

    def pair_scores(self, images, texts):
        return (images["pooled"] * texts["pooled"]).sum(dim=-1)


def test_all_off_is_the_plain_head_bit_for_bit(data, validation):
    plain = PlainHead()
    expected = train(plain, data, validation, RECIPE, peak_rate=3e-3, seed=0, to_step=10)
    method, found = run((), data, validation, to_step=10)
    assert set(found.checkpoint.weights) == set(expected.checkpoint.weights)
    assert all(torch.equal(found.checkpoint.weights[k], v) for k, v in expected.checkpoint.weights.items())
    assert found.log["loss"].tolist() == expected.log["loss"].tolist()


@pytest.mark.parametrize("name", SUBSETS)
def test_a_module_that_is_off_owns_nothing_and_changes_no_start(name):
    method, full = build(SUBSETS[name]), dict(build(MODULES).named_parameters())
    own = dict(method.named_parameters())
    expected = {key for key in full if key.startswith(("head.", *(f"{module}." for module in SUBSETS[name])))}
    assert set(own) == expected
    assert all(torch.equal(own[key], full[key]) for key in own)
    assert set(method.state()) == set(own) | ({"reweight.level"} if "reweight" in SUBSETS[name] else set())


@pytest.mark.parametrize(("dimension", "limit"), [(128, 30_000), (512, 1_000_000)])
def test_extra_parameters_stay_small(dimension, limit):
    assert sum(parameter.numel() for parameter in build(MODULES, dimension).parameters()) < limit


def test_the_loss_terms_are_those_of_the_modules(data):
    method = build(MODULES)
    batch = Batch(torch.arange(8), data.captions[::2][:8], torch.full((8,), -1))
    terms = method.loss(data, batch)
    phrases, prototypes = data.phrases.index(batch.texts), data.prototypes.index(batch.images)
    s_global = (data.image_pooled[batch.images] * data.text_pooled[batch.texts]).sum(-1)
    local = (prototypes.features, phrases.features, phrases.weight, prototypes.mass, prototypes.moments)
    s_local = local_similarity(*local, relation_queries(phrases))
    signal = 1 - (CALIBRATION.s_global.torch(s_global) - CALIBRATION.s_local.torch(s_local)).abs()
    torch.testing.assert_close(method.consistency(data, batch.texts), signal)
    entropy = match_entropy(prototypes.features, phrases.features, phrases.weight, 0.05, prototypes.mass)
    raw = (1 - signal) + entropy
    weights = (raw / raw.mean()).clamp(0.25, 4)
    logits = 30 * data.image_pooled[batch.images] @ data.text_pooled[batch.texts].T
    expected = contrastive_loss(logits, weights / weights.mean())
    torch.testing.assert_close(
        terms["contrastive"], expected, atol=close(torch.float32, 8 * DIMENSION, scale=30), rtol=0
    )
    assert float(terms["regularisation"].detach()) > 0.1 * float((1 - signal).square().mean())
    assert float(build(("correct", "reweight")).loss(data, batch)["regularisation"]) == 0


def test_gradients_reach_every_module_after_the_first_step(data, validation):
    method, _ = run(MODULES, data, validation, to_step=3)
    batch = Batch(torch.arange(30), data.captions[::2][:30], data.negatives[data.captions[::2][:30], 0])
    method.zero_grad()
    method.loss(data, batch)["loss"].backward()
    silent = [name for name, p in method.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


def test_correction_learns_who_is_where_and_the_head_alone_cannot(data, validation):
    """The positive and the negative control of the module's claim: roles and relations of unseen images."""
    for modules in (("correct",), MODULES):
        _, result = run(modules, data, validation)
        assert result.monitor["negatives"].iloc[-1] > 0.9
        assert result.monitor["recall"].iloc[-1] > result.monitor["recall"].iloc[0] + 0.1
    _, result = run((), data, validation)
    assert abs(result.monitor["negatives"].iloc[-1] - 0.5) < 0.1


def test_nothing_is_learned_when_places_belong_to_other_images(vocabulary):
    shuffled = [planted_world(vocabulary, count, seed, geometry=False) for count, seed in ((200, 1), (100, 2))]
    _, result = run(("correct",), *shuffled)
    assert abs(result.monitor["negatives"].iloc[-1] - 0.5) < 0.1


def test_regularisation_raises_consistency(data, validation):
    means = []
    for modules in ((), ("regularise",)):
        _, result = run(modules, data, validation, consistency=3.0)
        means.append(result.monitor["consistency_mean"].iloc[-1])
    assert means[1] > means[0] + 0.03


def one_block(method, images, texts) -> torch.Tensor:
    """Scores of all pairs, nothing cut and nothing dealt into groups."""
    group = method.correct.gathered({name: t[None] for name, t in texts.items()})
    matches = local_matches(images["prototypes"][None], group["phrases"])
    return method._corrected({name: t[None] for name, t in images.items()}, group, matches)[0]


def test_units_that_no_caption_uses_cost_nothing_and_change_nothing(data):
    method = build(MODULES)
    with torch.no_grad():
        method.correct.write.normal_(std=0.1)
    images, texts = method.images(data, torch.arange(5)), method.texts(data, torch.arange(9))
    assert texts["weight"].shape[1] == 4
    cut, whole = without_padding(texts), {"pooled", "owner"}
    assert {name: t.shape[1] for name, t in cut.items() if name not in whole} == dict.fromkeys(set(cut) - whole, 3)
    everything = one_block(method, images, texts)
    torch.testing.assert_close(method.scores(images, texts), everything)


def test_a_gallery_dealt_into_groups_of_like_size_scores_as_one(data, monkeypatch):
    method = build(MODULES)
    with torch.no_grad():
        method.correct.write.normal_(std=0.1)
        method.correct.support.fill_(0.05)
    images, texts = method.images(data, torch.arange(30)), method.texts(data, torch.arange(50))
    images["mass"] = images["mass"].masked_fill(
        torch.arange(30)[:, None] % 5 < torch.arange(images["mass"].shape[1]), 0
    )
    texts["weight"] = texts["weight"].masked_fill((torch.arange(50) % 7 == 0)[:, None], 0)
    everything = one_block(method, images, texts)
    monkeypatch.setattr("vialign.methods.curriculum.padding._GROUPED", 10)
    torch.testing.assert_close(method.scores(images, texts), everything, atol=SCORES, rtol=0)
    few = select(images, images["mass"].gt(0).sum(dim=1) <= 2)
    assert without_absent(few)["prototypes"].shape[1] == 2


def test_an_untouched_correction_is_not_worked_out_and_one_that_is_worked_out_changes_nothing(data, monkeypatch):
    method = build(MODULES)
    images, texts = method.images(data, torch.arange(20)), method.texts(data, torch.arange(20))
    worked_out = method.scores(images, texts), method.pair_scores(images, texts)
    assert worked_out[0].requires_grad
    monkeypatch.setattr(CurriculumMethod, "_corrected", lambda *_: pytest.fail("is worked out"))
    with torch.no_grad():
        for found, scores in zip((method.scores, method.pair_scores), worked_out, strict=True):
            torch.testing.assert_close(found(images, texts), scores.detach(), atol=SCORES, rtol=0)
        method.correct.support.fill_(0.05)
        with pytest.raises(pytest.fail.Exception, match="is worked out"):
            method.scores(images, texts)


def test_an_image_moves_towards_a_caption_by_what_its_phrases_find(data):
    method = build(("correct",))
    images, texts = method.images(data, torch.arange(5)), method.texts(data, torch.arange(9))
    plain = images["pooled"] @ texts["pooled"].T
    torch.testing.assert_close(method.scores(images, texts), plain)
    with torch.no_grad():
        method.correct.support.fill_(0.05)
        moved = method.scores(images, texts) - plain
    for image in range(5):
        prototypes = data.prototypes.index(torch.full((9,), image))
        phrases = data.phrases.index(torch.arange(9))
        found = local_similarity(
            prototypes.features, phrases.features, phrases.weight, prototypes.mass, prototypes.moments,
            relation_queries(phrases),
        )  # fmt: skip
        clear = (plain[image].abs() < 0.9) & ((found - CALIBRATION.s_local.midpoint).abs() > 0.01)
        assert bool(clear.any())
        assert torch.equal(moved[image].sign()[clear], (found - CALIBRATION.s_local.midpoint).sign()[clear])


def test_the_gallery_never_holds_corrected_features_of_every_pair(data):
    """Both sides are one entry an item: nothing of size images x texts is kept before scoring."""
    method = build(MODULES)
    for side, count in ((method.images(data, torch.arange(5)), 5), (method.texts(data, torch.arange(9)), 9)):
        assert all(len(tensor) == count for tensor in side.values())
        assert all(
            isinstance(tensor, torch.Tensor) and not isinstance(tensor, nn.Parameter) for tensor in side.values()
        )
