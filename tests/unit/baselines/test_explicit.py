"""The baselines with regions against plain loops, torch's own transformer and POT; what padding must not change."""

import math
from dataclasses import replace

import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tolerance import close, transformer
from unit.baselines.conftest import DIMENSION
from unit.baselines.naive import numbers
from vialign.config.experiment import load_config
from vialign.features import BackboneFacts
from vialign.features.regions import Regions
from vialign.methods.baselines import uniter, vinvl, vinvl_pairs
from vialign.methods.baselines.explicit import box_moments, box_numbers

SCORES = close(torch.float32, transformer(width=32, layers=2))
"""Two ways through the towers and the parts of these tests to a similarity."""

CONFIG = load_config({"baselines": {"uniter_width": 8}})
NONE = 3
"""The image without regions in `data`."""


def shaken(method):
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.trainable().values():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream))
    return method.eval()


@pytest.fixture(scope="module", params=["vinvl", "vinvl-pairs", "uniter"])
def method(request, backbone):
    module = {"vinvl": vinvl, "vinvl-pairs": vinvl_pairs, "uniter": uniter}[request.param]
    return shaken(module.build(CONFIG, BackboneFacts.of(backbone), 0))


@pytest.fixture(scope="module")
def cross(backbone):
    return shaken(uniter.build(CONFIG, BackboneFacts.of(backbone), 0))


@torch.no_grad()
def scores(method, data):
    return method.scores(*sides(method, data))


@torch.no_grad()
def sides(method, data):
    return method.images(data, torch.arange(len(data.image_ids))), method.texts(data, torch.arange(len(data.texts)))


def cosine(one, other):
    return float(one @ other / one.norm() / other.norm())


def test_the_numbers_of_a_box_by_hand():
    found = box_numbers(torch.tensor([[[0.25, 0.5, 0.75, 0.625]]]))
    assert found.tolist() == [[[0.25, 0.5, 0.75, 0.625, 0.5, 0.125]]]


def standard(vector):
    return (vector - vector.mean()) / (vector.var(correction=0) + 1e-5).sqrt()


def region_vector(method, data, image, n):
    left, top, right, bottom = numbers(data.regions.boxes[image, n]).tolist()
    box = torch.tensor([left, top, right, bottom, right - left, bottom - top], dtype=torch.float64)
    seen = torch.cat([standard(numbers(data.regions.features[image, n])), box])
    added = numbers(method.region) @ seen + numbers(method.region_offset)
    return numbers(method.tag) @ numbers(data.regions.tags[image, n]) + added


def looped_vinvl(method, data, image, text):
    """One pair, one region and one word at a time, in float64."""
    pooled = float(numbers(data.image_pooled[image]) @ numbers(data.text_pooled[text]))
    there = [n for n in range(3) if data.regions.present[image, n]]
    if not there:
        return pooled
    regions, words, counts = [region_vector(method, data, image, n) for n in there], [], []
    for n in range(data.mask.shape[1]):
        if data.mask[text, n]:
            state = numbers(data.states[text, n])
            words.append(words_by(state, method.word, method.word_offset))
            counts.append(math.exp(float(numbers(method.count) @ standard(state))))
    of_words = sum(c * max(cosine(w, r) for r in regions) for c, w in zip(counts, words, strict=True)) / sum(counts)
    of_regions = sum(max(cosine(w, r) for w in words) for r in regions) / len(regions)
    share, among = (1 / (1 + math.exp(-float(p.detach()))) for p in (method.local_share, method.regions_share))
    return (1 - share) * pooled + share * ((1 - among) * of_words + among * of_regions)


def test_vinvl_equals_plain_loops(backbone, data):
    method = shaken(vinvl.build(CONFIG, BackboneFacts.of(backbone), 0))
    found = scores(method, data)
    for image in range(len(data.image_ids)):
        for text in (0, 4, 8, 20):
            assert float(found[image, text]) == pytest.approx(looped_vinvl(method, data, image, text), abs=SCORES)


def words_by(state, word, offset):
    inner, lexical = state[:DIMENSION], state[DIMENSION:]
    return numbers(word) @ torch.cat([inner / inner.norm(), standard(lexical)]) + numbers(offset)


def looped_pairs(method, data, image, text):
    """One pair of a caption and an image, one pair of regions and one word at a time, in float64."""
    single = looped_vinvl(method, data, image, text)
    there = [n for n in range(3) if data.regions.present[image, n]][: method.paired_regions]
    if len(there) < 2:
        return single
    vectors = {n: region_vector(method, data, image, n) for n in there}
    pairs = []
    for one in there:
        for other in set(there) - {one}:
            seen = []
            for left, top, right, bottom in (numbers(data.regions.boxes[image, n]).tolist() for n in (one, other)):
                wide, high = right - left, bottom - top
                spread = [side / math.sqrt(12) for side in (wide, high)]
                seen.append(((left + right) / 2, (top + bottom) / 2, *spread, wide * high))
            (x, y, sx, sy, area), (x2, y2, sx2, sy2, area2) = seen
            across, down = 4 * (x - x2), 4 * (y - y2)
            ratio, close = math.log((area + 0.01) / (area2 + 0.01)), math.exp(-0.5 * (across**2 + down**2))
            placed = [across, down, abs(across), abs(down), ratio, 4 * (sx - sx2), 4 * (sy - sy2), close]
            unit = [vectors[n] / vectors[n].norm() for n in (one, other)]
            whole = numbers(method.first) @ unit[0] + numbers(method.second) @ unit[1]
            whole = whole + numbers(method.geometry) @ torch.tensor(placed, dtype=torch.float64)
            pairs.append(whole + numbers(method.pair_offset))
    said = [numbers(data.states[text, n]) for n in range(data.mask.shape[1]) if data.mask[text, n]]
    counts = [math.exp(float(numbers(method.pair_count) @ standard(state))) for state in said]
    words = [words_by(state, method.pair_word, method.pair_word_offset) for state in said]
    best = sum(c * max(cosine(w, pair) for pair in pairs) for c, w in zip(counts, words, strict=True)) / sum(counts)
    share = 1 / (1 + math.exp(-float(method.pair_share.detach())))
    return (1 - share) * single + share * best


@pytest.mark.parametrize("limit", [10, 2])
def test_pairs_of_regions_equal_plain_loops(backbone, data, limit):
    config = load_config({"baselines": {"paired_regions": limit}})
    method = shaken(vinvl_pairs.build(config, BackboneFacts.of(backbone), 0))
    found = scores(method, data)
    for image in range(len(data.image_ids)):
        for text in (0, 4, 8, 20):
            assert float(found[image, text]) == pytest.approx(looped_pairs(method, data, image, text), abs=SCORES)


def test_the_moments_of_a_box_are_those_of_points_spread_evenly_over_it():
    box = torch.tensor([0.25, 0.5, 0.75, 0.625], dtype=torch.float64)
    points = [torch.linspace(low, high, 4001, dtype=torch.float64) for low, high in ((0.25, 0.75), (0.5, 0.625))]
    expected = [*(float(p.mean()) for p in points), *(float(p.std(correction=0)) for p in points), 0.5 * 0.125]
    assert box_moments(box).tolist() == pytest.approx(expected, abs=1e-3)


PAIRED = 160
"""Images of `related`."""


def related(seed):
    """Images of two small boxes, one above the other, anywhere; a caption says so in one word, another the converse.

    Where a single box lies says next to nothing, and both captions name the same two things.
    """
    stream, known = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(9)
    things = F.normalize(torch.randn(4, DIMENSION, generator=known), dim=-1)
    turns = torch.linalg.qr(torch.randn(2, DIMENSION, DIMENSION, generator=known))[0]
    tags = torch.stack([things[torch.randperm(4, generator=stream)[:2]] for _ in range(PAIRED)])
    middle = 0.1 + 0.8 * torch.rand(PAIRED, 1, 2, generator=stream)
    lies = middle + torch.tensor([[0.0, -0.06], [0.0, 0.06]])
    order = torch.rand(PAIRED, 2, 1, generator=stream).argsort(dim=1)
    parts = [torch.cat([lies - 0.02, lies + 0.02], dim=-1), tags]
    boxes, named = (part.gather(1, order.expand(-1, -1, part.shape[-1])) for part in parts)
    regions = Regions(torch.zeros(PAIRED, 2, DIMENSION), boxes, named, torch.ones(PAIRED, 2, dtype=torch.bool))
    said = [tags[:, one] @ turns[0] + tags[:, 1 - one] @ turns[1] for one in (0, 1)]
    own = torch.randn(2 * PAIRED, DIMENSION, generator=stream)
    return regions, torch.cat([torch.cat(said), own], dim=-1)[:, None]


@pytest.mark.parametrize(("module", "told"), [(vinvl_pairs, True), (vinvl, False)])
def test_pairs_tell_a_relation_from_its_converse_and_single_regions_do_not(module, told):
    method = module.build(CONFIG, BackboneFacts(DIMENSION, (2, 2), 16, 2 * DIMENSION, 20.0, 1000), 0).train()
    pooled = F.normalize(torch.ones(2 * PAIRED, DIMENSION), dim=-1)

    def margin(regions, states):
        images = method.image_side(regions, pooled[:PAIRED])
        texts = method.text_side(states, torch.ones(2 * PAIRED, 1, dtype=torch.bool), pooled)
        right, wrong = ({name: part[start:][:PAIRED] for name, part in texts.items()} for start in (0, PAIRED))
        return method.pair_scores(images, right) - method.pair_scores(images, wrong)

    train, test = related(1), related(2)
    optimiser = torch.optim.AdamW(method.trainable().values(), lr=1e-2)
    for _ in range(120):
        optimiser.zero_grad()
        F.softplus(-20 * margin(*train)).mean().backward()
        optimiser.step()
    with torch.no_grad():
        right = float((margin(*test) > 0).float().mean())
    assert right > 0.9 if told else right < 0.75


def padded(data, rubbish=7.0):
    """The same split with two more regions and three more words of padding, full of rubbish."""
    found = data.regions
    wide = lambda part, value: F.pad(part, (0, 0, 0, 2), value=value)  # noqa: E731
    regions = Regions(
        wide(found.features, rubbish), wide(found.boxes, 0.5), wide(found.tags, rubbish), F.pad(found.present, (0, 2))
    )
    states, mask = F.pad(data.states, (0, 0, 0, 3), value=rubbish), F.pad(data.mask, (0, 3))
    return replace(data, regions=regions, states=states, mask=mask)


def test_padding_changes_no_score_and_the_order_of_regions_neither(method, data):
    whole = scores(method, data)
    torch.testing.assert_close(scores(method, padded(data)), whole, atol=SCORES, rtol=0)
    order = torch.tensor([2, 0, 1])
    parts = (getattr(data.regions, name)[:, order] for name in ("features", "boxes", "tags", "present"))
    torch.testing.assert_close(scores(method, replace(data, regions=Regions(*parts))), whole, atol=SCORES, rtol=0)
    unmasked = replace(data.regions, present=torch.ones_like(data.regions.present))
    changed = (scores(method, replace(data, regions=unmasked)) - whole).abs().amax(dim=1)
    assert bool((changed[~data.regions.present.all(dim=1)] > 1e-3).all()), "what is present counts"


def test_an_image_without_regions_breaks_nothing(method, data, batch):
    data = replace(data, regions=replace(data.regions, present=data.regions.present & (torch.arange(6) != 1)[:, None]))
    assert not data.regions.present[NONE].any() and not data.regions.present[1].any() and 1 in batch.images
    method.train()
    method.loss(data, batch)["loss"].backward()
    assert all(bool(p.grad.isfinite().all()) for p in method.trainable().values())
    method.zero_grad()
    method.eval()
    if method.name != "uniter":
        expected = data.image_pooled[NONE] @ data.text_pooled.T
        torch.testing.assert_close(scores(method, data)[NONE], expected, atol=SCORES, rtol=0)


def test_small_blocks_give_the_same_scores(method, data, monkeypatch):
    whole = scores(method, data)
    for module in (vinvl, uniter):
        monkeypatch.setattr(module, "_BLOCK", 1)
    monkeypatch.setattr(uniter, "_IMAGES", 1)
    torch.testing.assert_close(scores(method, data), whole, atol=SCORES, rtol=0)


def reference_layer(layer, width):
    """The same weights in torch's own transformer layer."""
    known = nn.TransformerEncoderLayer(
        width, uniter.HEADS, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    projections = torch.cat([layer.query.weight, layer.key_value.weight])
    offsets = torch.cat([layer.query.bias, layer.key_value.bias])
    with torch.no_grad():
        known.self_attn.in_proj_weight.copy_(projections)
        known.self_attn.in_proj_bias.copy_(offsets)
    for own, other in (
        (layer.out, known.self_attn.out_proj),
        (layer.wide, known.linear1),
        (layer.narrow, known.linear2),
        (layer.norm, known.norm1),
        (layer.norm_between, known.norm2),
    ):
        other.load_state_dict(own.state_dict())
    return known.double().eval()


def test_the_cross_encoder_is_torchs_transformer_over_first_token_regions_and_words(cross, data):
    images, texts = sides(cross, data)
    pairs = [(0, 0), (2, 7), (NONE, 20)]
    for image, text in pairs:
        there, said = images["marked"][image], texts["said"][text]
        tokens = [cross.first[None], images["regions"][image][there], texts["words"][text][said]]
        states = torch.cat(tokens).detach().double()[None]
        for layer in cross.layers:
            states = reference_layer(layer, 8)(states).detach()
        scaled = F.layer_norm(states[0, 0], (8,), numbers(cross.norm.weight), numbers(cross.norm.bias))
        match = (numbers(cross.match.weight)[0] @ scaled + numbers(cross.match.bias)[0]).item()
        pooled = float(numbers(data.image_pooled[image]) @ numbers(data.text_pooled[text]))
        expected = math.tanh(math.atanh(pooled) + match)
        assert float(scores(cross, data)[image, text]) == pytest.approx(expected, abs=SCORES)


@torch.no_grad()
def test_word_region_alignment_is_the_optimal_transport_of_the_last_states(cross, data, monkeypatch):
    monkeypatch.setattr(uniter, "ITERATIONS", 60)
    images, texts = sides(cross, data)
    texts = {name: part[: len(data.image_ids)] for name, part in texts.items()}
    found = cross.transport(images, texts)
    states = cross.together(images, texts, every=True)[:, 1:].double()
    for row, value in enumerate(found.tolist()):
        there, said = images["marked"][row], texts["said"][row]
        regions = F.normalize(states[row, : len(there)][there], dim=-1).numpy()
        words = F.normalize(states[row, len(there) :][said], dim=-1).numpy()
        if row == NONE:
            assert value == 0
            continue
        cost = 1 - regions @ words.T
        masses = [np.full(size, 1 / size) for size in cost.shape]
        plan = ot.bregman.sinkhorn_log(*masses, cost, uniter.EPSILON, numItermax=60, stopThr=-1, warn=False)
        assert value == pytest.approx(float((plan * cost).sum()), abs=SCORES)
        assert value >= ot.emd2(*masses, cost) - 1e-4
    wrong = cross.transport(images, {name: part.roll(1, dims=0) for name, part in texts.items()})
    expected = (found - wrong).mean() / 2
    torch.testing.assert_close(cross.alignment(images, texts), expected)


def test_the_alignment_is_the_regularisation_with_its_weight(cross, data, batch):
    with torch.no_grad():
        terms = cross.loss(data, batch)
        alignment = cross.alignment(cross.images(data, batch.images), cross.texts(data, batch.texts))
    assert float(terms["regularisation"]) == pytest.approx(cross.transport_weight * float(alignment), abs=SCORES)
    assert cross.transport_weight > 0 and float(alignment) != 0


@given(st.floats(-0.99, 0.99), st.floats(-6, 6), st.floats(0.001, 2))
def test_a_match_adds_to_the_cosine_and_stays_a_similarity(cosine, match, more):
    one = lambda value: torch.tensor([value], dtype=torch.float64)  # noqa: E731
    assert float(uniter.added(one(cosine), one(0.0))) == pytest.approx(cosine, abs=close(torch.float64, 64))
    low, high = float(uniter.added(one(cosine), one(match))), float(uniter.added(one(cosine), one(match + more)))
    assert -1 <= low < high <= 1 or high == pytest.approx(1, abs=close(torch.float64, 64))


def test_a_cross_encoder_can_learn_which_box_a_caption_means(backbone, data):
    """A control that the regions reach the score: captions differ in nothing but which box of an image they fit."""
    stream = torch.Generator().manual_seed(2)
    method = uniter.build(CONFIG, BackboneFacts.of(backbone), 0).train()
    boxes = torch.tensor([[0.0, 0.0, 0.3, 0.3], [0.6, 0.6, 1.0, 1.0]])[torch.arange(6) % 2][:, None].expand(-1, 3, -1)
    pooled = F.normalize(torch.ones(6, DIMENSION), dim=-1)
    world = replace(data, regions=replace(data.regions, boxes=boxes.contiguous()), image_pooled=pooled)
    images, texts = torch.randperm(6, generator=stream), data.captions[:6]
    optimiser = torch.optim.AdamW(method.trainable().values(), lr=1e-2)
    fits = torch.arange(6)[:, None] % 2 == torch.arange(6)[None] % 2
    for _ in range(60):
        found = method.scores(method.images(world, images), method.texts(world, texts))[images.argsort()]
        loss = F.binary_cross_entropy_with_logits(10 * found, fits.to(found))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    marked = world.regions.present.any(dim=1)
    assert bool(((found > 0) == fits)[marked].float().mean() > 0.9)
