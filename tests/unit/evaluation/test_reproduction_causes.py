"""Every known cause of a missed value, provoked: the same world, measured rightly, then wrongly in one way."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.evaluation.compare import results_table
from vialign.evaluation.reproduction import check_reproduction
from vialign.evaluation.retrieval import retrieval_outcomes, retrieval_ranks

IMAGES, CAPTIONS, MORE = 60, 5, 20
COUNTS = {"test images": IMAGES, "test captions": IMAGES * CAPTIONS, "validation images": IMAGES + MORE, "x items": 300}
CONTRACT = {"activation": "gelu", "preprocessing": "size 32, bicubic, resize shortest"}


def tower(tmp_path, quick):
    """The same small tower with one activation or the other."""
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    name = f"causes-{'quick' if quick else 'plain'}"
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


def measured(images, captions):
    """RESULTS of a gallery of these images with these captions of each."""
    count, each = captions.shape[:2]
    owner = torch.arange(count).repeat_interleave(each)
    scores = F.normalize(images, dim=1) @ F.normalize(captions.flatten(0, 1), dim=1).T
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


def checked(published, table, contract=CONTRACT, images=None):
    return check_reproduction(
        table,
        "causes-plain",
        "tag",
        "flickr30k",
        contract=contract,
        images=images,
        published_counts=COUNTS,
        published=[published],
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
