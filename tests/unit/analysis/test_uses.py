"""C at work in training: noise is what it says, rules weigh and choose as they say, captions join in their order."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from planted import CALIBRATION, Vocabulary, planted_world
from tolerance import close
from vialign.analysis.uses.findings import labels_table, noise_table, order_table
from vialign.analysis.uses.names import (
    ALL_AT_ONCE,
    AT_RANDOM,
    CHOICES,
    CLEAN,
    CLEAN_CAPTIONS,
    DOUBT,
    ORDERS,
    PLAIN,
    RULES,
    SMALL_LOSS,
    WEIGHTS,
    Noise,
    conditions,
)
from vialign.analysis.uses.noise import Weighed, kept_largest, noisy, rule_of, signal_of
from vialign.analysis.uses.order import START, Joining, batches_of, competence
from vialign.analysis.uses.running import averaged, noise_outcomes, order_outcomes
from vialign.config.methods import CurriculumConfig, TrainingConfig
from vialign.config.signal import SignalConfig
from vialign.contrastive import contrastive_loss, pair_losses
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.objective import Batch
from vialign.training.batches import BatchOrder

DIMENSION = 32
RECIPE = TrainingConfig(batch=32, steps=30, early_steps=30, checks=1)


def build(seed, modules=("reweight",)):
    return CurriculumMethod(modules, DIMENSION, 30.0, CALIBRATION, CurriculumConfig(), SignalConfig(), 1.0, seed)


@pytest.fixture(scope="module")
def data():
    vocabulary = Vocabulary(DIMENSION)
    return {"train": planted_world(vocabulary, 120, 1), "confirmation": planted_world(vocabulary, 100, 2)}


def test_random_noise_gives_that_share_of_captions_the_image_of_another(data):
    train = data["train"]
    found = noisy(train, Noise("random", 0.4), 3)
    moved = (found.image_of_text != train.image_of_text).nonzero()[:, 0]
    assert len(moved) == round(0.4 * len(train.captions)) and set(moved.tolist()) <= set(train.captions.tolist())
    own, given = train.image_of_text[moved], found.image_of_text[moved]
    assert own.sort().values.equal(given.sort().values)
    assert torch.equal(found.captions, train.captions) and torch.equal(found.negatives, train.negatives)
    assert noisy(train, Noise("random", 0.4), 3).image_of_text.equal(found.image_of_text)
    assert not noisy(train, Noise("random", 0.4), 4).image_of_text.equal(found.image_of_text)


def test_hard_noise_puts_a_negative_in_the_place_of_its_caption_and_the_caption_among_its_negatives(data):
    train = data["train"]
    found = noisy(train, Noise("hard", 0.25), 0)
    changed = (found.captions != train.captions).nonzero()[:, 0]
    assert len(changed) == round(0.25 * len(train.captions))
    for place in changed.tolist():
        caption, wrong = int(train.captions[place]), int(found.captions[place])
        assert wrong in train.negatives[caption].tolist()
        assert caption in found.negatives[wrong].tolist() and wrong not in found.negatives[wrong].tolist()
        assert found.image_of_text[wrong] == train.image_of_text[caption]
    without = replace(train, negatives=torch.full_like(train.negatives, -1))
    assert noisy(without, Noise("hard", 0.25), 0).captions.equal(train.captions)


def test_no_noise_changes_nothing(data):
    found = noisy(data["train"], Noise("random", 0.0), 0)
    assert found.image_of_text.equal(data["train"].image_of_text)
    assert [noise.name for noise in conditions((0.2,))] == [CLEAN, "random 20 %", "hard 20 %"]


def test_the_smallest_are_left_out_and_the_weights_have_mean_one():
    values = torch.tensor([0.3, 0.9, 0.1, 0.5])
    assert kept_largest(values, 0.5).tolist() == [0.0, 2.0, 0.0, 2.0]
    assert kept_largest(values, 0.0).tolist() == [1.0] * 4 and kept_largest(values, 0.9).tolist() == [0, 4, 0, 0]


def test_rules_weigh_by_their_signal_and_doubt_turns_it_round(data):
    train, method = data["train"], build(0)
    batch = Batch(train.image_of_text[train.captions[:20]], train.captions[:20], torch.full((20,), -1))
    losses = torch.linspace(0, 1, 20)
    with torch.no_grad():
        expected = method.consistency(train, batch.texts)
    assert torch.allclose(signal_of("C", method, train)[batch.texts], expected)
    found = {name: rule_of(name, method, train, 0.5)(batch, losses) for name in RULES}
    assert found[PLAIN] is None
    for name in WEIGHTS.values():
        assert float(found[name].mean()) == pytest.approx(1.0, abs=close(torch.float32, 20))
    by_c = expected.argsort()
    trusted, doubted = found["C as weight"][by_c], found[f"{DOUBT} as weight"][by_c]
    assert bool((trusted.diff() >= -1e-6).all() and (doubted.diff() <= 1e-6).all() and trusted[-1] > trusted[0])
    assert set((found["most of C"] > 0).nonzero()[:, 0].tolist()) == set(expected.topk(10).indices.tolist())
    assert (found[SMALL_LOSS] > 0).tolist() == [True] * 10 + [False] * 10


def test_a_weighed_loss_is_the_sum_of_weighed_terms_and_reaches_the_method(data):
    train, inner = data["train"], build(0)
    batch = BatchOrder(train, 16, 0).draw(1)
    weights = torch.linspace(0.5, 1.5, 16)
    method = Weighed(inner, lambda batch, losses: weights)
    terms = method.loss(train, batch)
    images, texts, wrong = inner.sides(train, batch)
    logits = 30.0 * inner.scores(images, texts)
    by_hand = (
        sum(float((weight * loss).detach()) for weight, loss in zip(weights, pair_losses(logits), strict=True)) / 16
    )
    assert float(terms["contrastive"].detach()) == pytest.approx(by_hand, rel=close(torch.float32, 256))
    present = batch.negatives >= 0
    negative = 30.0 * inner.pair_scores({k: v[present] for k, v in images.items()}, wrong)
    each = torch.nn.functional.softplus(negative - logits.diagonal()[present])
    assert float(terms["negative"]) == pytest.approx(
        float((weights[present] * each).mean()), rel=close(torch.float32, 256)
    )
    terms["loss"].backward()
    assert all(parameter.grad is not None for parameter in method.trainable().values())
    plain = Weighed(inner, lambda batch, losses: None).loss(train, batch)
    assert float(plain["loss"]) == pytest.approx(float(contrastive_loss(logits) + plain["negative"]), rel=1e-6)


def test_pair_losses_have_a_gradient_and_their_mean_is_the_loss():
    logits = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(pair_losses, (logits,))
    assert float(pair_losses(logits).mean()) == pytest.approx(float(contrastive_loss(logits)))


def test_captions_join_in_their_order_and_all_of_them_in_the_end(data):
    train, method = data["train"], build(0)
    values = signal_of("C", method, train)
    batches = batches_of("high C first", method, train, 16, 40, 0)
    assert isinstance(batches, Joining)
    first = batches.draw(1)
    allowed = set(batches.captions[: max(16, round(START * len(train.captions)))].tolist())
    joined = batches.captions.tolist()
    assert values[batches.captions].diff().le(0).all()
    assert set(first.texts.tolist()) <= set(joined[: len(allowed) + 5 * 16])
    last = {text for step in range(21, 41) for text in batches.draw(step).texts.tolist()}
    assert last & set(joined[-20:])
    for step in (1, 7, 40):
        batch = batches.draw(step)
        assert len(set(batch.images.tolist())) == 16 and batch.images.equal(train.image_of_text[batch.texts])
        kept = batch.negatives >= 0
        assert all(
            int(n) in train.negatives[t].tolist() for t, n in zip(batch.texts[kept], batch.negatives[kept], strict=True)
        )
        assert batches.draw(step).texts.equal(batch.texts)
    low = batches_of("low C first", method, train, 16, 40, 0)
    assert values[low.captions].diff().ge(0).all()
    assert isinstance(batches_of(ALL_AT_ONCE, method, train, 16, 40, 0), BatchOrder)


def test_competence_grows_from_the_start_to_all_at_half_of_the_training():
    shares = [competence(step, 100) for step in range(1, 101)]
    assert shares[0] == pytest.approx(START) and shares[49] == shares[99] == 1 and shares == sorted(shares)
    # The square of the share grows evenly (Platanios et al. 2019, equation 7).
    assert np.diff(np.square(shares[:50])) == pytest.approx((1 - START**2) / 49)


def test_an_area_is_the_mean_of_the_looks_item_by_item():
    looks = [
        pd.DataFrame({"item_id": ["a", "b"], "value": [x, 1.0], "tie": False, "chosen": None}) for x in (0.0, 1.0, 0.5)
    ]
    assert averaged(looks)["value"].tolist() == [0.5, 1.0]


def test_every_rule_and_order_is_trained_and_read_off(data):
    common = {"peak_rate": 1e-2, "seeds": (0, 1), "steps": 6, "images": 60}
    tried = conditions((0.5,))
    outcomes = noise_outcomes(build, data, "confirmation", RECIPE, tried, **common)
    names = set(outcomes["method"])
    assert names == {
        f"{noise.name}: {rule}" for noise in tried for rule in RULES if noise.share or rule not in CHOICES.values()
    }
    table = noise_table(outcomes, "vialign-reweight", tried, 6, 0.05)
    assert set(table["condition"]) == {noise.name for noise in tried} and set(table["rule"]) == set(RULES)
    areas, curves = order_outcomes(build, data, "confirmation", RECIPE, checks=3, **common)
    assert set(areas["method"]) == set(ORDERS) == set(curves["order"]) and set(curves["step"]) == {2, 4, 6}
    means = curves.groupby(["order", "benchmark", "measure"])["value"].mean()
    found = areas.groupby(["method", "benchmark", "measure"])["value"].mean()
    assert found.to_numpy() == pytest.approx(means.to_numpy())
    assert set(order_table(areas, "vialign-correct", 6, 0.05)["reference"]) == {AT_RANDOM}


def planted(values, moves=(0.0, 0.0)):
    """OUTCOMES of methods whose items are right with these probabilities, the same draws for all; `moves` has what each
    training seed adds to the probability of all but the frozen backbone.
    """
    rng = np.random.default_rng(0)
    draws = rng.random((len(moves), 400))
    return pd.concat(
        pd.DataFrame(
            {
                "method": method,
                "seed": seed,
                "benchmark": "confirmation/text_to_image",
                "item_id": [f"c{item}" for item in range(400)],
                "measure": "r1",
                "value": (draws[seed] < share + move * (method != "frozen")).astype(float),
                "tag": None,
                "tie": False,
                "chosen": None,
                "image_id": [f"i{item}" for item in range(400)],
            }
        )
        for method, share in values.items()
        for seed, move in enumerate(moves)
    )


def test_what_is_won_back_is_a_share_of_what_the_noise_costs():
    noise = Noise("random", 0.4)
    outcomes = planted(
        {
            f"{CLEAN}: {PLAIN}": 0.9,
            f"{noise.name}: {PLAIN}": 0.5,
            f"{noise.name}: most of C": 0.8,
            f"{noise.name}: most of S_global": 0.6,
        }
    )
    table = noise_table(outcomes, "m", [Noise("random", 0.0), noise], 10, 0.05).set_index("rule")
    cost, rule = table.loc[PLAIN], table[table["reference"] == PLAIN].loc["most of C"]
    beyond = table[table["reference"] == "most of S_global"].loc["most of C"]
    assert beyond["low"] > 0 and np.isnan(beyond["recovered"])
    assert cost["reference"] == CLEAN_CAPTIONS and np.isnan(cost["recovered"]) and cost["high"] < 0
    assert rule["recovered"] == pytest.approx(rule["difference"] / -cost["difference"]) == pytest.approx(0.75, abs=0.1)
    free = planted({f"{CLEAN}: {PLAIN}": 0.5, f"{noise.name}: {PLAIN}": 0.6, f"{noise.name}: most of S_global": 0.7})
    assert noise_table(free, "m", [Noise("random", 0.0), noise], 10, 0.05)["recovered"].isna().all()


def test_labels_are_held_against_all_and_what_each_gains_against_the_frozen_backbone():
    shares = {"frozen": 0.4, "0 labelled images": 0.5, "all labelled images": 0.8}
    table = labels_table(planted(shares), "m", [0, None], 10, 0.05)
    found = table.set_index(["rule", "reference"])
    assert list(found.index) == [
        ("0 labelled images", "frozen"),
        ("all labelled images", "frozen"),
        ("0 labelled images", "all labelled images"),
    ]
    cost = found.loc[("0 labelled images", "all labelled images")]
    gain = found.loc[("all labelled images", "frozen")]
    assert cost["high"] < 0 < gain["low"] and set(table["use"]) == {"labels"}
    # One comparison of costs stands by itself: the gains do not make its correction harder.
    assert cost["p_holm"] == cost["p_value"]


def test_dictionaries_that_differ_widen_the_intervals():
    """The same mean gain, once with dictionaries that agree and once with some that do not."""
    shares = {"frozen": 0.4, "all labelled images": 0.6}
    steady, moved = (
        labels_table(planted(shares, moves), "m", [None], 10, 0.05).iloc[0]
        for moves in ((0.0,) * 5, (-0.2, -0.1, 0.0, 0.1, 0.2))
    )
    assert moved["difference"] == pytest.approx(steady["difference"], abs=0.03)
    assert moved["high"] - moved["low"] > 2 * (steady["high"] - steady["low"])
