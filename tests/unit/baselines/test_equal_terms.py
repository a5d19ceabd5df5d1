"""Baselines that are told as much as vialign is: labelled boxes, grounded words, and as many pairs."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from planted import CALIBRATION, Vocabulary, planted_world
from tolerance import close, transformer
from unit.baselines.conftest import IMAGES
from vialign.catalogue import FULL, LONG
from vialign.config.experiment import load_config
from vialign.config.pairs import pairs_before, pairs_in_training, recipe_of
from vialign.disentangle.boxes import BoxTargets
from vialign.disentangle.sizing import sized_text, sized_visual
from vialign.evaluation.run import score_matrix
from vialign.features.facts import BackboneFacts
from vialign.files.artifacts import read_table
from vialign.methods.build import build_method
from vialign.methods.checkpoint import load_checkpoint
from vialign.tables.training import TRAINING_LOG
from vialign.training.job import TrainingJob, train_job

SCORES = close(torch.float32, transformer(width=32, layers=2))
"""Two ways through the towers of these tests to a similarity."""
CONFIG = load_config({"training": {"lora_rank": 2}, "baselines": {"box_weight": 0.7}})


def build(name, backbone):
    return build_method(name, CONFIG, backbone, CALIBRATION, 0)


def moved(method):
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.trainable().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=stream))
    return method.eval()


# ------------------------------------------------------------------------------------------- labelled boxes


@torch.no_grad()
def test_the_loss_on_boxes_equals_loops_over_regions_and_labels(backbone, data):
    method = moved(build("lora-boxes", backbone))
    index = torch.tensor([4, 0, 3, 1])
    own = method.backbone
    regions, labels = [], []
    for image in index.tolist():
        patches = own.image_tokens(own.normalise(data.pixels[image : image + 1]), "final")[1][0]
        for target in range(2):
            if data.boxes.label[image, target] < 0:
                continue
            pooled = torch.zeros(patches.shape[1], dtype=torch.float64)
            for patch, share in zip(patches.double(), data.boxes.coverage[image, target].tolist(), strict=True):
                pooled += share * patch / patch.norm()
            regions.append(pooled / pooled.norm())
            labels.append(data.boxes.labels[int(data.boxes.label[image, target])])
    words = {label: own.encode_text(own.tokenize([f"a {label}"]).ids)[0].double() for label in set(labels)}
    total = 0.0
    for region, label in zip(regions, labels, strict=True):
        logits = {name: own.logit_scale * float(region @ vector) for name, vector in words.items()}
        total += math.log(sum(map(math.exp, logits.values()))) - logits[label]
    method._in_step = True
    patches = method.images(data, index)["patches"]
    assert len(regions) == 5 and len(words) == 3
    assert float(method.box_loss(data, index, patches)) == pytest.approx(total / 5, abs=10 * SCORES)


def test_the_loss_on_boxes_is_the_regularisation_with_its_weight(backbone, data, batch):
    method, plain = build("lora-boxes", backbone), build("lora", backbone)
    terms, usual = method.loss(data, batch), plain.loss(data, batch)
    sides, _, _ = method.sides(data, batch)
    expected = 0.7 * float(method.box_loss(data, batch.images, sides["patches"]).detach())
    assert float(terms["regularisation"].detach()) == pytest.approx(expected, rel=1e-5) and expected > 0
    for name in ("contrastive", "negative"):
        torch.testing.assert_close(terms[name], usual[name], atol=20 * SCORES, rtol=0)


@pytest.mark.parametrize("label", [-1, 1])
def test_without_two_labels_to_tell_apart_nothing_is_learned_of_boxes(backbone, data, batch, label):
    boxes = replace(data.boxes, label=torch.full_like(data.boxes.label, label))
    assert float(build("lora-boxes", backbone).loss(replace(data, boxes=boxes), batch)["regularisation"].detach()) == 0


def test_lora_learns_what_lies_in_the_boxes(backbone, data, batch):
    """On boxes that each cover one patch; dealt to other images, the same boxes teach nothing of these."""
    rows, columns = backbone.grid
    coverage = torch.zeros(IMAGES, 1, rows * columns)
    coverage[:, 0, 0] = 1
    boxes = BoxTargets(coverage, torch.arange(IMAGES)[:, None] % 3, data.boxes.labels)
    data = replace(data, boxes=boxes)
    method = build("lora-boxes", backbone)
    index = batch.images

    def box_loss():
        sides, _, _ = method.sides(data, batch)
        return method.box_loss(data, index, sides["patches"])

    before = float(box_loss().detach())
    optimiser = torch.optim.AdamW(method.trainable().values(), lr=3e-2)
    for _ in range(15):
        optimiser.zero_grad()
        box_loss().backward()
        optimiser.step()
    assert float(box_loss().detach()) < 0.7 * before


# ------------------------------------------------------------------------------------------- grounded words


def test_lora_with_grounding_is_loras_caption_with_the_words_of_the_fit(backbone, data):
    alone, method, plain = (build(name, backbone) for name in ("grounding", "lora-grounding", "lora"))
    for each in (alone, method):
        each.begin(data)
    for name, tensor in alone.grounding.named_buffers():
        torch.testing.assert_close(method.grounding.get_buffer(name), tensor)
    moved(method), moved(plain)
    index = torch.arange(len(data.texts))
    with torch.no_grad():
        texts, own = plain.texts(data, index)["pooled"], method.texts(data, index)["pooled"]
        images = plain.images(data, torch.arange(IMAGES))["pooled"]
    words = (data.words.double() - alone.grounding.mean) / alone.grounding.deviation @ alone.grounding.weight.double()
    seen = words / words.norm(dim=1, keepdim=True)
    both = texts.double() + CONFIG.baselines.grounding_share * seen
    expected = both / both.norm(dim=1, keepdim=True)
    torch.testing.assert_close(own.double(), expected, atol=10 * SCORES, rtol=0)
    whole = (images.double() @ expected[data.captions].T).float()
    torch.testing.assert_close(score_matrix(method, data, 8), whole, atol=10 * SCORES, rtol=0)
    torch.testing.assert_close(score_matrix(method.merged(), data, 8), whole, atol=20 * SCORES, rtol=0)


# ------------------------------------------------------------------------------------------- as many pairs


def test_a_long_training_sees_as_many_pairs_as_the_fits_and_the_training_of_vialign():
    config = load_config(
        {
            "training": {"steps": 7, "early_steps": 2, "batch": 10},
            "visual": {"steps": 3, "batch": 5},
            "text": {"steps": 2, "batch": 4},
        }
    )
    assert pairs_before(FULL, config) == 3 * 5 + 2 * 4 and pairs_before("lora-long", config) == 0
    for name, usual in LONG.items():
        assert recipe_of(usual, config) == config.training
        longer = recipe_of(name, config)
        assert longer == config.training.model_copy(update={"steps": 10})
        extra = pairs_in_training(name, config) - pairs_in_training(FULL, config) - pairs_before(FULL, config)
        assert 0 <= extra < 10


def test_pairs_of_a_fit_that_follows_its_data_are_the_most_that_it_can_see():
    """25 passes over 200 images and 8 over 300 captions, as the fits themselves count them, to a last batch."""
    visual, text = {"steps": "auto", "images": 200, "batch": 40}, {"steps": "auto", "texts": 300, "batch": 60}
    config = load_config({"visual": visual, "text": text})
    targets = BoxTargets(torch.zeros(200, 0, 49), torch.zeros(200, 0, dtype=torch.long), [])
    seen = sized_visual(config.visual, targets, 49).steps * 40 + sized_text(config.text, 300).steps * 60
    assert pairs_before(FULL, config) == seen == 25 * 200 + 8 * 300


def test_a_training_that_is_long_goes_on_for_its_own_steps(tmp_path, monkeypatch):
    config = load_config(
        {
            "training": {"steps": 4, "early_steps": 2, "batch": 3, "checks": 1},
            "visual": {"steps": 2, "batch": 3},
            "text": {"steps": 1, "batch": 5},
        }
    )
    world = planted_world(Vocabulary(8), 6, 0)
    facts = BackboneFacts(8, (2, 2), 16, 16, 20.0, 1000)
    monkeypatch.setattr("vialign.training.job.read_job_split", lambda *given: world)
    monkeypatch.setattr("vialign.methods.build.open_backbone", lambda *given: facts)
    monkeypatch.setattr("vialign.signal.calibration.read_calibration", lambda path: CALIBRATION)
    parts = {"steps": "log", "monitor": "monitor", "signal_monitor": "signal"}
    inputs = {"train_image_features": "", "calibration": ""}
    monkeypatch.setattr("vialign.training.job.state_of", lambda inputs: "")

    def run(method, until, inputs):
        files = {name: str(tmp_path / f"{method}-{until}-{file}.parquet") for name, file in parts.items()}
        files |= {name: str(tmp_path / f"{method}-{until}.{name}") for name in ("checkpoint", "trail", "outcomes")}
        train_job(
            TrainingJob(config=config, method=method, seed=0, until=until, inputs=inputs, outputs=files, provenance={})
        )
        return files

    steps = {}
    for method in ("clip-adapter", "clip-adapter-long"):
        early = run(method, "early", inputs)
        started = {f"start_{name}": early[name] for name in ("steps", "monitor", "signal_monitor", "trail")}
        final = run(method, "final", {**inputs, **started, "start": early["checkpoint"]})
        assert load_checkpoint(early["checkpoint"]).step == 2
        log = read_table(final["steps"], TRAINING_LOG)
        assert isinstance(log, pd.DataFrame) and log["step"].tolist() == list(range(1, len(log) + 1))
        assert log["learning_rate"].iloc[-1] < log["learning_rate"].max() / 2
        steps[method] = len(log)
    # 4 steps of 3 pairs, and 11 more pairs in the fits of vialign, which are 4 more steps.
    assert steps == {"clip-adapter": 4, "clip-adapter-long": 8}
