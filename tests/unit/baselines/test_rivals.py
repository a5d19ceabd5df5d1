"""The rivals of composition against plain implementations: loops, open_clip's own model, a closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from planted import CALIBRATION
from tolerance import close, transformer
from unit.baselines.conftest import IMAGES, TEXT
from vialign.catalogue import BY_NEGATIVES
from vialign.config.experiment import load_config
from vialign.evaluation.run import score_matrix
from vialign.methods.averaging import averaged, choose_share
from vialign.methods.baselines.crops import crops, pieces
from vialign.methods.baselines.fsc_clip import focal_smoothed_loss, local_score
from vialign.methods.baselines.labclip import LinearAlignment
from vialign.methods.baselines.negclip import negclip_loss
from vialign.methods.baselines.tip_adapter import TipAdapter, cached
from vialign.methods.build import build_method

CLOSE = {"atol": close(torch.float32, transformer(width=32, layers=2)), "rtol": 0}
CONFIG = load_config({"training": {"lora_rank": 2}, "baselines": {"crop_grid": 2}})


def build(name, backbone):
    return build_method(name, CONFIG, backbone, CALIBRATION, 0)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole(ids):
    """Token ids at the length of the context, as open_clip wants them."""
    return F.pad(ids, (0, TEXT["context_length"] - ids.shape[1]))


def trained(method, data, batch, steps, rate):
    method.train()
    optimiser = torch.optim.AdamW(method.trainable().values(), lr=rate, weight_decay=0)
    for _ in range(steps):
        optimiser.zero_grad()
        method.loss(data, batch)["loss"].backward()
        optimiser.step()
    return method.eval()


def recall(scores, data):
    """Mean R@1 of both directions, any caption of an image counting."""
    owner = data.image_of_text[data.captions]
    to_text = owner[scores.argmax(dim=1)] == torch.arange(len(scores))
    return (float(to_text.float().mean()) + float((scores.argmax(dim=0) == owner).float().mean())) / 2


# ------------------------------------------------------------------------------------------- LABCLIP


def test_labclip_finds_what_a_ridge_regression_finds(data, batch):
    """Captions whose embeddings are those of their images, turned: no cosine sees it, and a linear map sees it all."""
    turn = torch.linalg.qr(drawn(16, 16))[0]
    images = F.normalize(drawn(IMAGES, 16, seed=2), dim=1)
    turned = images[data.image_of_text] @ turn + 0.02 * drawn(len(data.texts), 16, seed=1)
    own = replace(data, image_pooled=images, text_pooled=F.normalize(turned, dim=1))
    method = LinearAlignment(16, 20.0, 0.0)
    before = recall(score_matrix(method, own), own)
    index = torch.arange(IMAGES)
    every = type(batch)(
        index, own.captions[[int((own.image_of_text[own.captions] == i).nonzero()[0]) for i in index]], index - IMAGES
    )
    trained(method, own, every, 200, 3e-2)
    x, y = own.text_pooled[every.texts].double(), own.image_pooled.double()
    solved = torch.linalg.solve(x.T @ x + 1e-3 * torch.eye(16), x.T @ y).float()
    plain = F.normalize(own.text_pooled[own.captions] @ solved, dim=1)
    reference = recall(own.image_pooled @ plain.T, own)
    assert recall(score_matrix(method, own), own) >= reference > before


# ------------------------------------------------------------------------------------------- NegCLIP


@pytest.mark.parametrize("name", ["lora", "lora-boxes", *BY_NEGATIVES])
def test_what_hard_negatives_define_is_trained_with_them_where_the_recipe_has_none(name, backbone, data, batch):
    """With weight 1 of them, and any other method as if there were no negative in the batch."""

    def loss(negatives, batch):
        config = load_config({"training": {"lora_rank": 2, "negatives": negatives}})
        with torch.no_grad():
            return build_method(name, config, backbone, CALIBRATION, 0).eval().loss(data, batch)["loss"]

    none = replace(batch, negatives=torch.full_like(batch.negatives, -1))
    expected = loss(1.0, batch if name in BY_NEGATIVES else none)
    torch.testing.assert_close(loss(0.0, batch), expected, atol=20 * CLOSE["atol"], rtol=0)
    assert abs(float(loss(1.0, batch) - loss(1.0, none))) > 1e-3, "the negatives of this batch change the loss"


def test_negclip_without_negatives_is_the_plain_loss():
    logits = drawn(4, 4)
    own = torch.arange(4)
    plain = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(negclip_loss(logits, logits[:, :0]), plain)
    assert float(negclip_loss(logits, drawn(4, 3, seed=1))) > float(plain)


# ------------------------------------------------------------------------------------------- FSC-CLIP


def test_the_local_score_equals_loops():
    patches, tokens = F.normalize(drawn(3, 5, 8), dim=-1), F.normalize(drawn(3, 4, 8, seed=1), dim=-1)
    present = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    found = local_score(patches, tokens, present, 10.0)
    for pair in range(3):
        total = 0.0
        for token in range(4):
            if not present[pair, token]:
                continue
            cosines = [float(tokens[pair, token] @ patches[pair, place]) for place in range(5)]
            low, high = min(cosines), max(cosines)
            weights = [(value - low) / (high - low) for value in cosines]
            weights = [value if value >= 1 / 5 else 0.0 for value in weights]
            seen = sum(w * patches[pair, place].double() for place, w in enumerate(weights))
            total += math.exp(10 * float(seen @ tokens[pair, token].double() / seen.norm()))
        assert float(found[pair]) == pytest.approx(math.log(total), abs=1e-4)


@pytest.mark.parametrize(("focus", "smoothing"), [(0.0, 0.0), (2.0, 0.02), (1.0, 0.3)])
def test_the_focal_smoothed_loss_equals_loops_and_is_the_cross_entropy_without_both(focus, smoothing):
    logits = drawn(6, 2)
    total = 0.0
    for row in logits.double().tolist():
        shares = [math.exp(value) / sum(map(math.exp, row)) for value in row]
        labels = [1 - smoothing + smoothing / 2, smoothing / 2]
        total -= sum(y * (1 - p) ** focus * math.log(p) for y, p in zip(labels, shares, strict=True)) / 6
    assert float(focal_smoothed_loss(logits, focus, smoothing)) == pytest.approx(total, abs=1e-5)
    if not focus and not smoothing:
        own = torch.zeros(6, dtype=torch.long)
        assert total == pytest.approx(float(F.cross_entropy(logits, own)), abs=1e-5)


def test_fsc_clip_tells_negatives_apart_as_lora_does(backbone, data, batch):
    """On the pairs that it was trained with, it reaches at least what LoRA with the plain loss reaches."""

    def told(name, steps=40):
        method = trained(build(name, backbone), data, batch, steps, 3e-2)
        present = batch.negatives >= 0
        with torch.no_grad():
            images = method.images(data, batch.images[present])
            right, wrong = (method.texts(data, index[present]) for index in (batch.texts, batch.negatives))
            return float((method.pair_scores(images, right) > method.pair_scores(images, wrong)).float().mean())

    assert told("fsc-clip") >= told("lora") > told("lora", 0)


# ------------------------------------------------------------------------------------------- crops and cache


def test_crops_score_as_a_loop_over_crops_and_pieces_does(backbone, data, captions):
    data = replace(data, texts=data.texts.assign(text=captions))
    method = build("crops", backbone).eval()
    found = score_matrix(method, data)

    def encode_image(pixels):
        return F.normalize(backbone.model.encode_image(backbone.normalise(pixels)), dim=1)[0]

    def encode_text(text):
        return F.normalize(backbone.model.encode_text(whole(backbone.tokenize([text]).ids)), dim=1)[0]

    with torch.no_grad():
        for image in range(2):
            views = [encode_image(view) for view in crops(data.pixels[image : image + 1], 2)]
            assert len(views) == 5
            for place, text in enumerate(data.texts["text"].iloc[data.captions[:6].tolist()]):
                own = [encode_text(piece) for piece in pieces(text, 8)]
                local = sum(max(float(piece @ view) for view in views) for piece in own) / len(own)
                both = float(views[0] @ encode_text(text))
                assert float(found[image, place]) == pytest.approx((local + both) / 2, abs=CLOSE["atol"])


def test_crops_are_the_image_and_squares_of_half_its_side_at_its_corners():
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    pixels[..., :4, 4:] = 200
    views = crops(pixels, 2)
    assert [tuple(view.shape) for view in views] == [(1, 3, 8, 8)] * 5 and torch.equal(views[0], pixels)
    assert [int(view[0, 0, 4, 4]) for view in views[1:]] == [0, 200, 0, 0]
    assert len(crops(pixels, 3)) == 10 and len(crops(pixels, 1)) == 2
    # Half the side and no less: the mean of a crop is that of its quarter of the image, whose columns all differ.
    steps = (20 * torch.arange(8)).to(torch.uint8).expand(1, 3, 8, 8)
    assert [float(view.float().mean()) for view in crops(steps, 2)[1:]] == pytest.approx([30, 110, 30, 110], abs=1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a red circle above a blue square", ["a red circle", "a blue square", "a red circle above a blue square"]),
        ("Two dogs, and a man.", ["Two dogs,", "a man.", "Two dogs, and a man."]),
        ("a dog", ["a dog"]),
        ("on under", ["on under"]),
        ("", [""]),
    ],
)
def test_pieces_are_phrases_and_pairs_of_them(text, found):
    assert pieces(text, 8) == found
    assert pieces("a in b in c in d", 5) == ["a", "b", "c", "d", "a in b"]


def test_the_cache_equals_loops_and_comes_back_with_the_weights(data):
    method = TipAdapter(16, 20.0, 4, 0.3, 5.0, 1.0)
    method.begin(data)
    captions = {}
    for text in data.captions.tolist():
        captions.setdefault(int(data.image_of_text[text]), []).append(data.text_pooled[text].double())
    kept = [sorted(captions)[round(place)] for place in np.linspace(0, len(captions) - 1, 4)]
    found = method.images(data, torch.arange(IMAGES))["pooled"]
    for image in range(IMAGES):
        own = data.image_pooled[image].double()
        weights = [math.exp(5 * float(own @ data.image_pooled[key].double())) for key in kept]
        said = sum(w * sum(captions[key]) / len(captions[key]) for w, key in zip(weights, kept, strict=True))
        torch.testing.assert_close(found[image].double(), 0.7 * own + 0.3 * said / sum(weights), atol=1e-5, rtol=0)
    # Room for more pairs than there are changes nothing: what is empty has no weight.
    roomy, full = (TipAdapter(16, 20.0, room, 0.3, 5.0, 1.0) for room in (len(captions) + 3, len(captions)))
    for each in (roomy, full):
        each.begin(data)
    every = torch.arange(IMAGES)
    torch.testing.assert_close(roomy.images(data, every)["pooled"], full.images(data, every)["pooled"])
    again = TipAdapter(16, 20.0, 4, 0.3, 5.0, 1.0)
    assert torch.equal(again.images(data, torch.arange(2))["pooled"], data.image_pooled[:2])
    again.load_state(method.state())
    assert torch.equal(again.images(data, torch.arange(IMAGES))["pooled"], found)


def test_a_cache_of_like_images_mends_a_noisy_image():
    """The caption's direction is in the values alone: the share of the cache brings it into the image's embedding."""
    keys = F.normalize(drawn(5, 32), dim=1)
    values = F.normalize(drawn(5, 32, seed=1), dim=1)
    noisy = F.normalize(keys + 0.05 * drawn(5, 32, seed=2), dim=1)
    right = (cached(noisy, keys, values, torch.ones(5, dtype=torch.bool), 0.5, 50.0) @ values.T).argmax(dim=1)
    assert torch.equal(right, torch.arange(5)) and not torch.equal((noisy @ values.T).argmax(dim=1), right)


# ------------------------------------------------------------------------------------------- averages


@pytest.mark.parametrize("name", ["lora", "lora-long", "lora-boxes", "lora-grounding", "fsc-clip"])
def test_an_average_of_lora_scales_the_change_of_every_weight(name, backbone, data, batch):
    """As if the merged weights themselves were averaged with the frozen ones."""
    method = build(name, backbone)
    start = method.state()
    method.begin(data)
    tuned = trained(method, data, batch, 5, 3e-2).state()

    def merged(share):
        method.load_state(averaged(start, tuned, share, method.statistics()))
        return dict(method.merged().model.named_parameters())

    none, half, whole = merged(0.0), merged(0.5), merged(1.0)
    changed = [name for name in whole if not torch.equal(none[name], whole[name])]
    assert changed
    for name in whole:
        torch.testing.assert_close(half[name], (none[name] + whole[name]) / 2, atol=1e-6, rtol=1e-5)


def test_what_was_fitted_is_no_part_of_the_average(backbone, data, batch):
    """Without any of LoRA's change, LoRA with word grounding is word grounding alone, whole and not a share of it."""
    method, alone = build("lora-grounding", backbone), build("grounding", backbone)
    start = method.state()
    for each in (method, alone):
        each.begin(data)
    tuned = trained(method, data, batch, 5, 3e-2).state()
    moved = score_matrix(method, data, 8)
    for share in (0.0, 0.5):
        choose_share(method, start, tuned, (share,), lambda: 0.0)
        assert all(torch.equal(tensor, tuned[key]) for key, tensor in method.statistics().items())
        assert float((score_matrix(method, data, 8) - moved).abs().max()) > 1e-3
    choose_share(method, start, tuned, (0.0,), lambda: 0.0)
    torch.testing.assert_close(score_matrix(method, data, 8), score_matrix(alone, data, 8), **CLOSE)


def test_an_average_of_an_adapter_goes_from_the_frozen_scores_to_the_tuned_ones(backbone, data, batch):
    method = build("adapter", backbone).eval()
    start, frozen = method.state(), score_matrix(method, data, 8)
    tuned = trained(method, data, batch, 5, 3e-3).state()
    whole = score_matrix(method, data, 8)
    far = []
    for share in (0.0, 0.5, 1.0):
        method.load_state(averaged(start, tuned, share))
        far.append(float((score_matrix(method, data, 8) - frozen).abs().max()))
    assert far[0] <= CLOSE["atol"] < far[1] < far[2] == float((whole - frozen).abs().max())


def test_an_average_of_all_weights_is_the_mean_of_both():
    start, tuned = {"w": drawn(3), "b": drawn(2)}, {"w": drawn(3, seed=1), "b": drawn(2, seed=1)}
    for name, tensor in averaged(start, tuned, 0.25).items():
        torch.testing.assert_close(tensor, 0.75 * start[name] + 0.25 * tuned[name])


def test_the_share_with_the_best_score_is_chosen_and_the_first_of_equals(backbone):
    method = LinearAlignment(4, 1.0, 0.0)
    start, tuned = {"map": torch.zeros(4, 4)}, {"map": torch.ones(4, 4)}

    def score():
        return 1 - abs(float(method.map[0, 0].detach()) - 0.5)

    best, found = choose_share(method, start, tuned, (0.0, 0.5, 1.0), score)
    assert best == 0.5 and found == {0.0: 0.5, 0.5: 1.0, 1.0: 0.5} and float(method.map[0, 0].detach()) == 0.5
    assert choose_share(method, start, tuned, (0.0, 1.0), score)[0] == 0.0


# ------------------------------------------------------------------------------------- word grounding


def test_word_grounding_alone_is_the_regression_of_the_curriculum_beside_the_frozen_score(backbone, data):
    method = build("grounding", backbone)
    frozen = build_method("frozen", CONFIG, backbone, CALIBRATION, 0)
    torch.testing.assert_close(score_matrix(method, data, 8), score_matrix(frozen, data, 8))
    method.begin(data)
    words = data.words[torch.arange(len(data.texts))].double()
    chosen, owner = words[data.captions], data.image_of_text[data.captions]
    deviation = chosen.std(dim=0, correction=0)
    deviation = torch.where(deviation > 1e-6, deviation, 1.0)
    standardised, target = (chosen - chosen.mean(dim=0)) / deviation, data.image_pooled.double()
    target = (target - target.mean(dim=0))[owner]
    # Ridge as least squares with rows that pull every weight to zero.
    pull = math.sqrt(CONFIG.curriculum.grounding.ridge * len(chosen)) * torch.eye(chosen.shape[1], dtype=torch.float64)
    rows = torch.cat([standardised, pull]), torch.cat([target, torch.zeros(len(pull), target.shape[1]).double()])
    weight = torch.linalg.lstsq(*rows).solution
    seen = F.normalize(standardised @ weight, dim=-1)
    texts = F.normalize(data.text_pooled[data.captions] + CONFIG.baselines.grounding_share * seen, dim=-1)
    expected = (data.image_pooled.double() @ texts.T).float()
    torch.testing.assert_close(score_matrix(method, data, 8), expected, atol=1e-4, rtol=0)
    again = build("grounding", backbone)
    again.load_state(method.state())
    torch.testing.assert_close(score_matrix(again, data, 8), score_matrix(method, data, 8))
