"""The factorised correction against a loop over all pairs, as docs/method.md#43-correction does."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planted import random_world
from vialign.disentangle.geometry import relative_geometry
from vialign.methods.curriculum.correct import SUPPORT_STEP, FeatureCorrection, local_matches, local_scores
from vialign.signal.score import RelationQueries, local_similarity

RANK, QUERY_RANK = 6, 3


def perturbed(dimension: int, seed: int = 0, grad: bool = True) -> FeatureCorrection:
    """A correction away from its zero start, in float64."""
    module = FeatureCorrection(dimension, RANK, QUERY_RANK, temperature=0.2, seed=seed).double()
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.requires_grad_(grad)
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream, dtype=torch.float64))
    return module


def asked(phrases) -> torch.Tensor:
    """What the relations ask of geometry; the same for a unit wherever it stands in the batch's padding."""
    rng = torch.Generator().manual_seed(7)
    texts, units = phrases.weight.shape
    drawn = torch.randn(texts, 16, 8, generator=rng, dtype=torch.float64)[:, :units]
    related = (phrases.subject >= 0) & (phrases.object >= 0)
    return torch.nn.functional.normalize(drawn, dim=-1) * related[..., None]


def support_of(image, text) -> torch.Tensor:
    """A level of support for every pair; the same for a pair whatever the padding."""
    return torch.sin(3 * image @ text.T)


def factorised(module, prototypes, phrases, image, text, signal):
    """All pairs, as one group."""
    side = module.text_side(
        phrases.features, phrases.weight, phrases.kind, phrases.subject, phrases.object, asked(phrases)
    )
    texts = grouped(module, side, phrases, text)
    matches = local_matches(prototypes.features[None], texts["phrases"])
    read = module.image_side(prototypes.features)[None]
    z = module.fusion(matches, prototypes.features[None], prototypes.mass[None], prototypes.moments[None], read, texts)
    support = support_of(image, text)[None]
    return module.corrected(z, image[None], texts, (image @ text.T)[None], signal[None], support)[0]


def grouped(module, side, phrases, text) -> dict[str, torch.Tensor]:
    """What `text_side` gives, with what the method adds to it, as one group."""
    whole = {"pooled": text, "owner": torch.zeros(len(text), 1), "phrases": phrases.features}
    whole |= {"weight": phrases.weight, "direction": asked(phrases)} | side
    return module.gathered({name: tensor[None] for name, tensor in whole.items()})


def naive(module, prototypes, phrases, image, text, signal, i, t):
    """One pair: attention of every unit, the bilinear form unit by unit, the corrected embedding, its cosine."""
    features, moments, present = prototypes.features[i], prototypes.moments[i], prototypes.mass[i] > 0
    attended = []
    for unit in phrases.features[t]:
        query = unit + (unit @ module.query_down) @ module.query_up
        logits = (features[present] @ query) / module.log_temperature.exp()
        share = torch.softmax(logits, dim=0)
        attended.append((share @ features[present], share @ moments[present]))
    z = torch.zeros(RANK, dtype=torch.float64)
    for m, unit in enumerate(phrases.features[t]):
        subject = int(phrases.subject[t, m]) if phrases.subject[t, m] >= 0 else m
        object_ = int(phrases.object[t, m]) if phrases.object[t, m] >= 0 else m
        h = unit @ module.generate + asked(phrases)[t, m] @ module.directed + module.kinds[phrases.kind[t, m]]
        (subject_feature, subject_place), (object_feature, object_place) = attended[subject], attended[object_]
        seen = module.roles[0] * (module.read.T @ subject_feature) + module.roles[1] * (module.read.T @ object_feature)
        seen = seen + module.geometry.T @ relative_geometry(subject_place, object_place)
        z = z + phrases.weight[t, m] * h * seen
    gamma = torch.sigmoid(module.gate[0] + module.gate[1].exp() * (1 - signal[i, t]))
    moved = module.write @ (z / RANK**0.5) + SUPPORT_STEP * module.support * support_of(image, text)[i, t] * text[t]
    corrected = image[i] + gamma * moved
    return corrected @ text[t] / corrected.norm()


@settings(max_examples=12)
@given(st.integers(0, 10_000))
def test_factorised_scores_equal_the_loop(seed):
    prototypes, phrases, image, text = random_world(seed, images=3, texts=4)
    module = perturbed(image.shape[1], seed, grad=False)
    signal = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = factorised(module, prototypes, phrases, image, text, signal)
    for i in range(3):
        for t in range(4):
            expected = naive(module, prototypes, phrases, image, text, signal, i, t)
            assert float((found[i, t] - expected).abs()) < 1e-10


def test_padding_and_the_order_of_prototypes_never_change_a_score():
    prototypes, phrases, image, text = random_world(3)
    module = perturbed(image.shape[1])
    signal = torch.full((len(image), len(text)), 0.4, dtype=torch.float64)
    expected = factorised(module, prototypes, phrases, image, text, signal)
    changed = random_world(3)[0]
    absent = changed.mass == 0
    assert bool(absent.any())
    changed.features[absent], changed.moments[absent] = 1.0, 0.7
    order = torch.tensor([2, 0, 3, 1])
    shuffled = type(changed)(changed.features[:, order], changed.mass[:, order], None, changed.moments[:, order])
    torch.testing.assert_close(factorised(module, shuffled, phrases, image, text, signal), expected)
    padded = phrases._map(lambda tensor: torch.cat([tensor, torch.zeros_like(tensor[:, :1])], dim=1))
    padded.subject[:, -1] = padded.object[:, -1] = -1
    torch.testing.assert_close(factorised(module, prototypes, padded, image, text, signal), expected)


def test_s_local_is_that_of_the_signal():
    prototypes, phrases, _, _ = random_world(5)
    texts = len(phrases)
    queries = RelationQueries(asked(phrases), phrases.subject, phrases.object)
    assert bool(queries.direction.any())
    module = perturbed(phrases.features.shape[-1], grad=False)
    side = module.text_side(
        phrases.features, phrases.weight, phrases.kind, phrases.subject, phrases.object, queries.direction
    )
    group = grouped(module, side, phrases, phrases.features[:, 0])
    matches = local_matches(prototypes.features[None], group["phrases"])
    found = local_scores(matches, prototypes.mass[None], prototypes.moments[None], group)[0]
    for image in range(len(prototypes)):
        rows = torch.full((texts,), image)
        shown = prototypes.index(rows)
        one = local_similarity(shown.features, phrases.features, phrases.weight, shown.mass, shown.moments, queries)
        torch.testing.assert_close(found[image], one)


def test_it_starts_at_the_uncorrected_score_and_every_parameter_gets_a_gradient_after_one_step():
    prototypes, phrases, image, text = random_world(1)
    module = FeatureCorrection(image.shape[1], RANK, QUERY_RANK, 0.2, seed=0).double()
    signal = torch.full((len(image), len(text)), 0.4, dtype=torch.float64)
    start = factorised(module, prototypes, phrases, image, text, signal)
    assert torch.equal(start, image @ text.T)
    start.square().sum().backward()
    assert float(module.write.grad.abs().max()) > 0 and float(module.support.grad.abs()) > 0
    module = perturbed(image.shape[1])
    factorised(module, prototypes, phrases, image, text, signal).square().sum().backward()
    assert {name for name, p in module.named_parameters() if not p.grad.abs().max() > 0} == set()


def test_gradients_are_right():
    prototypes, phrases, image, text = random_world(2, images=2, texts=2, prototypes=3, units=3, dimension=4)
    module = perturbed(image.shape[1])
    signal = torch.full((2, 2), 0.4, dtype=torch.float64)
    values = {name: parameter.detach().clone().requires_grad_() for name, parameter in module.named_parameters()}

    def score(*tensors):
        saved = dict(module._parameters)
        module._parameters.update(dict(zip(values, tensors, strict=True)))
        try:
            return factorised(module, prototypes, phrases, image, text, signal).square().sum()
        finally:
            module._parameters.update(saved)

    assert torch.autograd.gradcheck(score, tuple(values.values()))


def test_the_gate_falls_with_consistency_whatever_its_parameters():
    for seed in range(5):
        strength = perturbed(8, seed).strength(torch.linspace(0, 1, 11, dtype=torch.float64))
        assert bool((strength.diff() < 0).all()) and bool(((strength > 0) & (strength < 1)).all())


def test_exchanging_subject_and_object_turns_the_offset_and_keeps_the_distance():
    places = torch.rand(2, 7, 5, generator=torch.Generator().manual_seed(0))
    forward, back = relative_geometry(places[0], places[1]), relative_geometry(places[1], places[0])
    for odd in (0, 1, 4, 5, 6):
        torch.testing.assert_close(forward[:, odd], -back[:, odd])
    for even in (2, 3, 7):
        torch.testing.assert_close(forward[:, even], back[:, even])
    same = relative_geometry(places[0], places[0])
    assert same[:, :7].abs().max() == 0 and bool((same[:, 7] == 1).all())


def test_a_gradient_reaches_prototypes_and_phrases():
    prototypes, phrases, image, text = random_world(4)
    prototypes.features.requires_grad_()
    phrases.features.requires_grad_()
    signal = torch.full((len(image), len(text)), 0.4, dtype=torch.float64)
    factorised(perturbed(image.shape[1]), prototypes, phrases, image, text, signal).sum().backward()
    assert prototypes.features.grad[prototypes.mass > 0].abs().amax(dim=-1).min() > 0
    assert prototypes.features.grad[prototypes.mass == 0].abs().sum() == 0
    assert phrases.features.grad[phrases.weight > 0].abs().amax(dim=-1).min() > 0
