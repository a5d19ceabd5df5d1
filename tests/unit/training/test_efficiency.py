"""The ledger's subjects: what it counts for each baseline, from pixels and text."""

import json
from dataclasses import replace

import pytest
import spacy
import torch

from planted import CALIBRATION
from vialign.backbone import load_backbone
from vialign.budget.counting import count_parser, count_stored, count_work
from vialign.budget.ledger import measure_subjects
from vialign.catalogue import BASELINES, REGION_METHODS
from vialign.config.data import BackboneConfig
from vialign.config.experiment import load_config
from vialign.config.methods import GroundingConfig
from vialign.disentangle import TextDisentangler, VisualDisentangler
from vialign.features.facts import BackboneFacts
from vialign.methods.build import build_method
from vialign.methods.ground import word_width
from vialign.training.efficiency import Bench, method_subject

CONFIG = load_config(
    {
        "visual": {"atoms": 6, "prototypes": 2, "adapter_rank": 2},
        "text": {"width": 4, "units": 3},
        "data": {"region_limit": 2},
        "baselines": {"uniter_width": 4},
    }
)
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny-ledger.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}))
    backbone = load_backbone(BackboneConfig(architecture="tiny-ledger", definition=str(path), checkpoint=None))
    return Bench(
        name="tiny",
        backbone=backbone,
        readout="final",
        visual=VisualDisentangler.from_config(CONFIG.visual, 16, backbone.grid).eval(),
        text=TextDisentangler.from_config(CONFIG.text, 16, 16).eval(),
        nlp=spacy.blank("en"),
        calibration=CALIBRATION,
        pixels=torch.zeros(3, 3, 32, 32, dtype=torch.uint8),
        captions=["a red circle", "a dog above a blue cat", "two squares"],
        negatives=["a circle red", "a cat above a blue dog", "squares two"],
    )


@pytest.mark.parametrize("name", BASELINES)
def test_what_a_baseline_stores_beyond_the_backbone_is_what_it_trains(name, bench):
    subject = method_subject(bench, CONFIG, name)
    extra = count_stored(subject.modules) - count_stored([bench.backbone.model])
    trained = build_method(name, CONFIG, bench.backbone, CALIBRATION, 0).trainable().values()
    words = word_width(BackboneFacts.of(bench.backbone))
    grounded = dict.fromkeys(("grounding", "lora-grounding"), words * 16 + 2 * words)
    kept = {"tip-adapter": 2 * 16 * CONFIG.baselines.cache_pairs, **grounded}
    assert extra == sum(parameter.numel() for parameter in trained) + kept.get(name, 0)


def test_crops_are_images_of_their_own(bench):
    """Four quarters of an image and one in the middle, beside the whole: the price that the ledger must show."""
    subject, frozen = (method_subject(bench, CONFIG, each) for each in ("crops", "frozen"))
    with torch.no_grad():
        assert count_work(subject.image).products >= 4 * count_work(frozen.image).products
        assert subject.pair().shape == (3,)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "crops"])
def test_a_baseline_runs_each_tower_once_and_no_disentangler(name, bench):
    """Operations of a side are at least those of its frozen tower, and fewer than those of two."""
    subject, frozen = (method_subject(bench, CONFIG, each) for each in (name, "frozen"))
    with torch.no_grad():
        for side in ("image", "text", "pair"):
            ratio = count_work(getattr(subject, side)).products / count_work(getattr(frozen, side)).products
            # The words of a grounding are those of the frozen tower, beside that which LoRA has tuned.
            twice = name == "lora-grounding" and side != "image"
            assert (1.1 if twice else 1) <= ratio < (3 if twice else 2)
        assert subject.pair().shape == (3,)
    if subject.step is not None:
        before = [parameter.clone() for parameter in subject.trainable]
        subject.step()
        assert all(torch.equal(*pair) for pair in zip(before, subject.trainable, strict=True)), (
            "a step has its own copy"
        )


@pytest.mark.parametrize("name", REGION_METHODS)
def test_explicit_methods_are_measured_on_as_many_drawn_regions_as_the_config_allows(name, bench):
    """More regions cost more in the pair and on the image side, and nothing on the text side."""
    costs = []
    for limit in (2, 12):
        config = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update={"region_limit": limit})})
        subject = method_subject(bench, config, name)
        with torch.no_grad():
            costs.append({side: count_work(getattr(subject, side)).products for side in ("image", "text", "pair")})
            assert torch.equal(subject.pair(), subject.pair()), "regions are drawn once, not in the measured call"
    few, many = costs
    assert few["image"] < many["image"] and few["pair"] < many["pair"] and few["text"] == many["text"]


def test_grounded_words_are_stored_beyond_the_backbone_and_read_from_text(bench):
    """16 dimensions, token states of 32: words of 48 numbers, each with a row of 16, a mean and a deviation."""
    grounding = CONFIG.curriculum.model_copy(update={"grounding": GroundingConfig(share=0.5)})
    subjects = [
        method_subject(bench, CONFIG.model_copy(update={"curriculum": curriculum}), "vialign-none")
        for curriculum in (CONFIG.curriculum, grounding)
    ]
    plain, grounded = (count_stored(subject.modules) for subject in subjects)
    assert grounded - plain == 48 * (16 + 2)
    with torch.no_grad():
        plain, grounded = (count_work(subject.text).products for subject in subjects)
        assert grounded - plain == 2 * 3 * 48 * 16
        assert subjects[1].pair().shape == (3,)
    subjects[1].step()


@pytest.mark.parametrize("part", ["visual", "text"])
def test_both_disentanglers_and_the_parser_count_as_extra(part, bench):
    """The full model stores what the modules, either disentangler and the parser store, each once."""
    subject = method_subject(bench, CONFIG, "vialign")
    without = [module for module in subject.modules if module is not getattr(bench, part)]
    assert len(without) == len(subject.modules) - 1
    size = sum(tensor.numel() for tensor in getattr(bench, part).state_dict().values() if tensor.is_floating_point())
    assert count_stored(subject.modules) - count_stored(without) == size > 0
    ledger = measure_subjects(
        [subject],
        method_subject(bench, CONFIG, "frozen"),
        backbone="tiny",
        batch=3,
        rounds=1,
        limits=CONFIG.budget,
        seed=0,
    ).set_index("measure")["value"]
    own = build_method("vialign", CONFIG, bench.backbone, CALIBRATION, 0)
    parts = (bench.visual, bench.text, own)
    assert ledger["parameters_extra"] == sum(count_stored([each]) for each in parts) + count_parser(bench.nlp)


def test_the_parser_reads_the_share_that_is_timed(bench):
    read = []
    nlp = bench.nlp

    class Counting:
        vocab, components, make_doc = nlp.vocab, nlp.components, nlp.make_doc

        def pipe(self, texts, **options):
            read.append(len(list(texts)))
            return nlp.pipe(texts, **options)

    for share, expected in ((0.0, []), (0.3, [1]), (0.5, [2]), (1.0, [3])):
        shared = replace(bench, nlp=Counting(), shares={"asked": share}, timed="asked")
        subject = method_subject(shared, CONFIG, "vialign")
        read.clear()
        with torch.no_grad():
            subject.pair()
        assert read == expected
        subject.step()  # captions and negatives
        assert sum(read[len(expected) :]) == (0 if not expected else {1: 2, 2: 3, 3: 6}[expected[0]])


def test_lora_is_timed_merged_and_unmerged(bench):
    subject = method_subject(bench, CONFIG, "lora")
    method = build_method("lora", CONFIG, bench.backbone, CALIBRATION, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in method.trainable().items():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        before = {name: tensor.clone() for name, tensor in bench.backbone.model.state_dict().items()}
        merged = method.merged()
        images, texts = torch.randn(2, 3, 32, 32, generator=generator), bench.backbone.tokenize(["a dog", "a cat"]).ids
        plain = bench.backbone.encode_image(images)
        for encode in ("encode_image", "encode_text"):
            given = images if encode == "encode_image" else texts
            expected = getattr(method.backbone, encode)(given)
            torch.testing.assert_close(getattr(merged.backbone, encode)(given), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(method.backbone.encode_image(images), plain, atol=1e-3), "the adapters do something"
        assert torch.equal(bench.backbone.encode_image(images), plain)
        operations = [count_work(work).products for work in (subject.pair, subject.unmerged)]
    after = bench.backbone.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "merging leaves the backbone alone"
    frozen = count_work(method_subject(bench, CONFIG, "frozen").pair).products
    assert operations[0] == frozen < operations[1]
