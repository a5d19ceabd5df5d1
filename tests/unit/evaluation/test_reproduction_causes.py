"""Every known cause of a missed value, provoked: the same world, measured rightly, then wrongly in one way."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.evaluation.compare import results_table
from vialign.evaluation.reproduction import NO_CAUSE, Measured, check_reproduction, likely_cause
from vialign.evaluation.retrieval import retrieval_outcomes, retrieval_ranks

IMAGES, CAPTIONS, MORE = 60, 5, 20
COUNTS = {"test images": IMAGES, "test captions": IMAGES * CAPTIONS, "validation images": IMAGES + MORE, "x items": 300}
CONTRACT = {"activation": "gelu", "preprocessing": "size 32, bicubic, resize shortest"}


def tower(tmp_path, quick, side=32):
    """The same small tower with one activation or the other, for pictures of one size or another."""
    vision = {"image_size": side, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    name = f"causes-{'quick' if quick else 'plain'}" + ("" if side == 32 else f"-{side}")
    path = tmp_path / f"{name}.json"
    told = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "quick_gelu": quick}
    path.write_text(json.dumps(told))
    return load_backbone(BackboneConfig(architecture=name, definition=str(path), checkpoint=None), 0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Embeddings of images by both towers, and captions near what the right tower says; more images than the split."""
    folder = tmp_path_factory.mktemp("towers")
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES + MORE, 3, 32, 48), generator=stream, dtype=torch.uint8)

    def embedded(quick, squash):
        backbone = tower(folder, quick)
        size = {"size": (32, 32), "mode": "bilinear"}
        shown = F.interpolate(pixels.float(), **size) if squash else pixels[..., 8:40].float()
        with torch.no_grad():
            found = backbone.encode_image(backbone.normalise(shown.to(torch.uint8)))
        return found - found[:IMAGES].mean(dim=0)

    right = embedded(False, False)
    noise = torch.randn(IMAGES + MORE, CAPTIONS, 16, generator=stream)
    captions = F.normalize(right, dim=1)[:, None] + 0.35 * noise
    return {"right": right, "activation": embedded(True, False), "squash": embedded(False, True), "captions": captions}


def measured(images, captions, factor=1.0):
    """RESULTS of a gallery of these images with these captions of each; `factor` is that of the logits."""
    count, each = captions.shape[:2]
    owner = torch.arange(count).repeat_interleave(each)
    scores = factor * F.normalize(images, dim=1) @ F.normalize(captions.flatten(0, 1), dim=1).T
    names = [f"i{n}" for n in range(count)]
    texts = pd.DataFrame({"text_id": [f"t{n}" for n in range(len(owner))], "image_id": [names[n] for n in owner]})
    outcomes = retrieval_outcomes(*retrieval_ranks([scores], owner, count), names, texts)
    outcomes = outcomes.assign(method="frozen", seed=0, benchmark="test/" + outcomes["benchmark"])
    return results_table(outcomes)


def choices(items):
    """RESULTS of a choice benchmark: the later items are the hard ones."""
    rows = {"item_id": [f"c{n}" for n in range(items)], "image_id": [f"c{n}" for n in range(items)]}
    value = (np.arange(items) < 150).astype(float)
    about = {"method": "frozen", "seed": 0, "benchmark": "test/x", "measure": "accuracy", "tag": None, "tie": False}
    return results_table(pd.DataFrame({**rows, **about, "value": value, "chosen": None}))


@pytest.fixture(scope="module")
def published(world, tmp_path_factory):
    """A file with the values of the world as it is measured rightly."""
    table = measured(world["right"][:IMAGES], world["captions"][:IMAGES])
    r1 = table[table["measure"] == "r1"].set_index("benchmark")["value"]
    rows = [("causes-plain", "tag", "flickr30k", f"{name}_r1", 100 * r1[f"test/{name}"]) for name in DIRECTIONS]
    rows.append(("causes-plain", "tag", "x", "accuracy", 50.0))
    path = tmp_path_factory.mktemp("published") / "p.csv"
    pd.DataFrame(rows, columns=["architecture", "checkpoint", "benchmark", "metric", "percent"]).to_csv(
        path, index=False
    )
    return str(path)


DIRECTIONS = ("image_to_text", "text_to_image")


def checked(published, table, contract=CONTRACT, images=None, terms=None):
    return check_reproduction(
        table,
        "causes-plain",
        "tag",
        "flickr30k",
        contract=contract,
        images=images,
        published_counts=COUNTS,
        published=[published],
        terms=terms,
    )


def pictures(width, height):
    return pd.DataFrame({"split": "test", "width": [width] * IMAGES, "height": [height] * IMAGES})


def test_measured_rightly_every_value_is_reproduced(world, published):
    table = measured(world["right"][:IMAGES], world["captions"][:IMAGES])
    found = checked(published, table, images=pictures(48, 32))
    assert len(found) == 2 and found["passed"].all() and 5 < found["published"].min() < found["published"].max() < 95


PROVOKED = {
    "activation": "activation: the weights were trained with gelu, the model has quick_gelu (use causes-plain)",
    "squash": "preprocessing: images are squashed to a square, not cropped",
    "squares": "images: all are squares of one size, as if squashed before they were stored",
    "gallery": "wrong split or gallery: 80 images instead of 60, as many as there are validation images",
    "captions": "captions: 1 an image instead of 5",
}


@pytest.mark.parametrize("cause", PROVOKED)
def test_measured_wrongly_a_value_is_missed_for_that_cause_alone(world, published, cause):
    images, captions, contract, shown = world["right"][:IMAGES], world["captions"][:IMAGES], CONTRACT, pictures(48, 32)
    if cause == "activation":
        images, contract = world["activation"][:IMAGES], {**CONTRACT, "activation": "quick_gelu"}
    elif cause == "squash":
        images, contract = world["squash"][:IMAGES], {**CONTRACT, "preprocessing": "size 32, bicubic, resize squash"}
    elif cause == "squares":
        images, shown = world["squash"][:IMAGES], pictures(32, 32)
    elif cause == "gallery":
        images, captions = world["right"], world["captions"]
    else:
        captions = captions[:, :1]
    found = checked(published, measured(images, captions), contract, shown)
    missed = found[~found["passed"].astype(bool)]
    assert len(missed) and set(missed["cause"]) == {PROVOKED[cause]}
    assert set(found.loc[found["passed"].astype(bool), "cause"]) <= {""}


def test_a_benchmark_without_its_hard_items_is_missed_for_their_number(published):
    assert checked(published, choices(300))["passed"].tolist() == [True]
    (row,) = checked(published, choices(171)).to_dict("records")
    assert not row["passed"] and row["cause"] == "another number of items: 171 instead of 300"


# ------------------------------------------------------------------- what the tag says and the backbone does not do

WORDS = ["Red", "blue", "Green", "small", "Large", "dog", "Cat", "man", "Ball", "tree", "Sky", "car"]
FROM_FILE = {"hf_tokenizer_name": "anybody/words", "vocab_size": 40}
TEXTS = {
    "lower": {},
    "definition": {"tokenizer_kwargs": {"clean": "whitespace"}},
    "context": {"context_length": 6},
    "file": FROM_FILE,
    "clean": {**FROM_FILE, "tokenizer_kwargs": {"clean": "lower"}},
}
"""What is changed in the definition of the text tower."""
PUBLISHED_WITH = {"lower": "lower", "definition": "lower", "context": "lower", "file": "file", "clean": "file"}
"""The tower that is right where another is wrong in one way."""


def text_tower(folder, change):
    """A small tower, the same weights for every change but those of places and words that a smaller one lacks."""
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2, **TEXTS[change]}
    path = folder / f"causes-{change}.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    words = str(word_file(folder)) if "hf_tokenizer_name" in text else None
    return load_backbone(
        BackboneConfig(architecture=path.stem, definition=str(path), checkpoint=None, tokenizer=words), 0
    )


def word_file(folder):
    """A tokenizer of whole words, which tells capitals apart; its end token is the last."""
    said = ["[PAD]", "[UNK]", *dict.fromkeys([*WORDS, *map(str.lower, WORDS)]), "[SEP]"]
    places = {word: place for place, word in enumerate(said)}
    tokenizer = Tokenizer(models.WordLevel(places, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    end = ("[SEP]", places["[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[end])
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Embeddings of the same captions by towers that read them rightly or in one wrong way, and their contracts."""
    folder = tmp_path_factory.mktemp("texts")
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, size=9)) for _ in range(IMAGES * CAPTIONS)]
    right = text_tower(folder, "lower")
    found, contracts = {}, {}
    for change in TEXTS:
        own = text_tower(folder, change)
        weights, old = own.model.state_dict(), right.model.state_dict()
        own.model.load_state_dict({name: old[name][tuple(map(slice, value.shape))] for name, value in weights.items()})
        with torch.no_grad():
            embedded = own.encode_text(own.tokenize(texts).ids)
        found[change] = embedded
        contracts[change] = {"activation": "gelu", **{part: own.contract[part] for part in ("definition", "tokenizer")}}
    centres = {change: found[right].mean(dim=0) for change, right in PUBLISHED_WITH.items()}
    return {name: (value - centres[name]).unflatten(0, (IMAGES, CAPTIONS)) for name, value in found.items()}, contracts


MEAN, DEVIATION = (0.48, 0.45, 0.4), (0.26, 0.26, 0.27)


@pytest.fixture(scope="module")
def seen(world, tmp_path_factory):
    """Embeddings of larger pictures, made small and normalised as published, or otherwise in one way."""
    folder = tmp_path_factory.mktemp("seen")
    backbone, smaller = tower(folder, False), tower(folder, False, side=16)
    old = backbone.model.state_dict()
    places = {name: tuple(map(slice, value.shape)) for name, value in smaller.model.state_dict().items()}
    smaller.model.load_state_dict({name: old[name][place] for name, place in places.items()})
    stream = torch.Generator().manual_seed(1)
    large = torch.randint(0, 256, (IMAGES, 3, 96, 96), generator=stream, dtype=torch.uint8).float()

    def embedded(mode="bicubic", antialias=True, mean=MEAN, deviation=DEVIATION, own=backbone):
        options = {} if mode == "nearest" else {"antialias": antialias}
        size = (own.image_size, own.image_size)
        shown = F.interpolate(large, size=size, mode=mode, **options).round().clamp(0, 255) / 255
        mean, deviation = (torch.tensor(three).view(1, 3, 1, 1) for three in (mean, deviation))
        with torch.no_grad():
            found = own.encode_image((shown - mean) / deviation)
        return found - found.mean(dim=0)

    right = embedded()
    noise = torch.randn(IMAGES, CAPTIONS, 16, generator=stream)
    return {
        "captions": F.normalize(right, dim=1)[:, None] + 0.35 * noise,
        "right": right,
        "interpolation": embedded("nearest"),
        "antialias": embedded(antialias=False),
        # Far off in single channels: an even change of all of them hardly turns an embedding of noise.
        "mean": embedded(mean=(0.9, 0.5, 0.1)),
        "deviation": embedded(deviation=(0.1, 0.26, 0.9)),
        "size": embedded(own=smaller),
    }


def written(tmp_path, table):
    """A file with the values of a table, as published."""
    r1 = table[table["measure"] == "r1"].set_index("benchmark")["value"]
    rows = [("causes-plain", "tag", "flickr30k", f"{name}_r1", 100 * r1[f"test/{name}"]) for name in DIRECTIONS]
    path = tmp_path / "p.csv"
    columns = ["architecture", "checkpoint", "benchmark", "metric", "percent"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("clean", "tokenizer: texts are cleaned by `lower`, not by `whitespace`; definition: it is not"),
        ("definition", "definition: it is not open_clip's own of this name, whose tokenizer may differ too"),
        ("context", "context: 6 tokens instead of 12, so long captions are read otherwise; definition: it is not"),
    ],
)
def test_captions_that_are_read_otherwise_miss_for_what_reads_them(said, tmp_path, change, cause):
    embedded, contracts = said
    right = PUBLISHED_WITH[change]
    images = F.normalize(embedded[right].mean(dim=1), dim=1)
    published = written(tmp_path, measured(images, embedded[right]))
    terms = contracts[right]
    assert checked(published, measured(images, embedded[right]), terms, terms=terms)["passed"].all()
    found = checked(published, measured(images, embedded[change]), contracts[change], terms=terms)
    missed = found[~found["passed"].astype(bool)]
    assert len(missed) and all(told.startswith(cause) for told in missed["cause"])


FITTED = f"size 32, bicubic, resize shortest, mean {MEAN}, std {DEVIATION}"
OTHERWISE = {
    "size": (FITTED.replace("size 32", "size 16"), "image size: 16 pixels instead of 32"),
    "deviation": (
        FITTED.replace("(0.26, 0.26, 0.27)", "(0.1, 0.26, 0.9)"),
        "normalisation: deviation (0.1, 0.26, 0.9) instead of (0.26, 0.26, 0.27)",
    ),
    "mean": (FITTED.replace("(0.48, 0.45, 0.4)", "(0.9, 0.5, 0.1)"), "normalisation: mean (0.9, 0.5, 0.1) instead of"),
    "interpolation": (FITTED.replace("bicubic", "nearest"), "interpolation: images are resized nearest, not bicubic"),
}


@pytest.mark.parametrize("change", OTHERWISE)
def test_pictures_that_are_seen_otherwise_miss_for_what_shows_them(seen, tmp_path, change):
    published = written(tmp_path, measured(seen["right"], seen["captions"]))
    terms = {"preprocessing": FITTED}
    own, cause = OTHERWISE[change]
    told = checked(published, measured(seen[change], seen["captions"]), {"preprocessing": own}, terms=terms)
    missed = told[~told["passed"].astype(bool)]
    assert len(missed) and all(words.startswith(cause) for words in missed["cause"])
    assert checked(published, measured(seen["right"], seen["captions"]), terms, terms=terms)["passed"].all()


def test_pictures_made_small_without_antialiasing_miss_and_the_backbone_never_makes_them_so(seen, tmp_path):
    """No contract says it, since it cannot be chosen: a large chequered picture becomes grey, not chequered."""
    published = written(tmp_path, measured(seen["right"], seen["captions"]))
    told = checked(published, measured(seen["antialias"], seen["captions"]))
    assert not told["passed"].all()
    fine = np.indices((128, 128)).sum(axis=0) % 2 * 255
    picture = Image.fromarray(np.repeat(fine[..., None].astype(np.uint8), 3, axis=2))
    shown = tower(tmp_path, False).preprocess(picture).float()
    assert shown.std() < 10 and abs(float(shown.mean()) - 127.5) < 2
    assert torch.tensor(fine[::4, ::4]).float().std() == 0, "every fourth cell alone has one colour, far from grey"


def test_a_wrong_factor_of_the_logits_is_no_cause_as_no_rank_follows_from_it(world, published):
    images, captions = world["right"][:IMAGES], world["captions"][:IMAGES]
    for factor in (0.01, 7.0, 100.0):
        assert checked(published, measured(images * factor, captions), images=pictures(48, 32))["passed"].all()
        scaled = measured(images, captions, factor)
        pd.testing.assert_frame_equal(scaled, measured(images, captions))


def test_what_was_published_squashed_is_not_missed_for_it():
    squashed = {"preprocessing": "size 32, bicubic, resize squash, mean (0.5,), std (0.5,)"}
    assert likely_cause(["test"], Measured(squashed, {}, True, squashed), {}) == NO_CAUSE
    shortest = {"preprocessing": squashed["preprocessing"].replace("squash", "shortest")}
    assert "squashed to a square" in likely_cause(["test"], Measured(squashed, {}, True, shortest), {})
