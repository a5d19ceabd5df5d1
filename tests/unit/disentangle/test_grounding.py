"""Phrases that people wrote point at their boxes: against loops, on planted images, and through the stage."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from unit.data.benchmark_folders import entities
from vialign.backbone import load_backbone
from vialign.cli.app import app
from vialign.config.experiment import load_config
from vialign.data.base import write_dataset
from vialign.data.registry import checked, read_benchmark
from vialign.disentangle import VisualDisentangler, save_visual
from vialign.disentangle.grounding import prototype_hits
from vialign.disentangle.grounding_job import point_phrases
from vialign.features import ImageFeatures, extract_images
from vialign.files.artifacts import read_table
from vialign.stage import Run
from vialign.tables.language import POINTING, QUALITY

GRID, WIDE, IMAGES = (4, 4), 12, 9


class Kept(ImageFeatures):
    """Patches of images in memory, as a store gives them."""

    def __init__(self, patches):
        object.__setattr__(self, "held", patches)

    @property
    def ids(self):
        return [f"i{number}" for number in range(len(self.held))]

    def patches(self, start, stop):
        return self.held[start:stop]


@pytest.fixture(scope="module")
def visual():
    torch.manual_seed(0)
    return VisualDisentangler(WIDE, GRID, atoms=6, background=2, prototypes=3, temperature=0.1, adapter_rank=2).eval()


@pytest.fixture(scope="module")
def drawn():
    """Images of noise, and for each some phrases with a few patches."""
    stream = torch.Generator().manual_seed(1)
    kept = Kept(torch.randn(IMAGES, 16, WIDE, generator=stream))
    phrases = {f"phrase {n}": F.normalize(torch.randn(WIDE, generator=stream), dim=0) for n in range(12)}
    rng = np.random.default_rng(2)
    rows = [
        (f"i{image}", name, rng.random(16) < 0.3)
        for image in rng.permutation(IMAGES).tolist()
        for name in rng.choice(list(phrases), 8, replace=False)
    ]
    return kept, phrases, pd.DataFrame(rows, columns=["image_id", "phrase", "inside"])


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_phrase_points_at_the_peak_of_its_prototype_as_a_loop_finds_it(visual, drawn, batch):
    kept, phrases, targets = drawn
    mean = sum(vector.double() for vector in phrases.values()) / len(phrases)
    expected = []
    for row in targets.itertuples():
        prototypes = visual(kept.held[int(row.image_id[1:])][None])
        phrase = phrases[row.phrase].double() - mean
        similar = [float(own.double() @ phrase / phrase.norm()) for own in prototypes.features[0].detach()]
        chosen = similar.index(max(similar))
        places = prototypes.maps[0, chosen].tolist()
        expected.append(bool(row.inside[places.index(max(places))]))
    found = prototype_hits(visual, kept, targets, phrases, batch)
    assert found.tolist() == expected and 0 < sum(expected) < len(expected)


def test_phrases_of_what_lies_in_the_image_hit_and_exchanged_ones_do_not(visual):
    """Each image has one patch of each of two things; their phrases are the embeddings of those patches."""
    atoms = F.normalize(visual.dictionary.detach()[:2], dim=1)
    patches = 0.01 * torch.randn(IMAGES, 16, WIDE, generator=torch.Generator().manual_seed(3))
    patches[:, 5], patches[:, 10] = atoms[0], atoms[1]
    kept = Kept(patches)
    masks = {name: np.arange(16) == place for name, place in (("first", 5), ("second", 10))}
    rows = [(name, what, masks[what]) for name in kept.ids for what in masks]
    targets = pd.DataFrame(rows, columns=["image_id", "phrase", "inside"])
    right, turned = dict(zip(masks, atoms, strict=True)), dict(zip(masks, atoms.flip(0), strict=True))
    assert prototype_hits(visual, kept, targets, right, 4).mean() > 0.8
    assert prototype_hits(visual, kept, targets, turned, 4).mean() < 0.2


def test_the_stage_and_evaluate_play_the_game_on_the_published_layout(tmp_path):
    folder = tmp_path / "entities"
    folder.mkdir()
    entities("test.txt")(folder)
    config = load_config({"data": {"benchmarks": {"flickr30k_entities": {"folder": str(folder)}}}})
    tables = checked([read_benchmark(config.data, "flickr30k_entities", 0)], config.data)
    write_dataset(tables, tmp_path / "data", {})
    backbone = load_backbone(config.backbone)
    options = {"batch": 4, "shard": 10, "pixels": "decode", "provenance": {}}
    extract_images(backbone, tables.images, {"flickr30k_entities": folder}, tmp_path / "images", "final", **options)
    save_visual(VisualDisentangler(backbone.dimension, backbone.grid, 8, 4, 4, 0.1, 2), tmp_path / "v.safetensors", {})
    names = {"images": tmp_path / "data/images.parquet", "objects": tmp_path / "data/objects.parquet"}
    given = SimpleNamespace(**names, features=tmp_path / "images", visual=tmp_path / "v.safetensors")
    out = tmp_path / "out.parquet"
    point_phrases(Run(given, [out], None, None, 1, config, {"rule": "point_phrases"}))
    found = read_table(out, QUALITY).set_index("subject")
    readouts = [f"readout {name}" for name in (*backbone.readouts, "chance")]
    assert list(found.index) == ["prototypes", *readouts]
    assert set(found["domain"]) == {"flickr30k_entities"} and set(found["measure"]) == {"pointing accuracy"}
    # "A man" and "a red hat" of each of six images; chance 1 without an interval is a share of patches, and no more.
    assert set(found["count"]) == {12} and 0 < found.loc["readout chance", "value"] < 1
    assert found["value"].between(0, 1).all() and np.isnan(found.loc["readout chance", "low"])
    call = ["evaluate", "--model", "vialign-scenes", "--benchmark", "flickr30k_entities", "--data", str(folder)]
    done = [CliRunner().invoke(app, [*call, "--out", str(tmp_path / "evaluated")]) for _ in range(2)]
    assert [one.exit_code for one in done] == [0, 0], done[0].output
    own = read_table(tmp_path / "evaluated/pointing.parquet", POINTING)
    assert set(own["method"]) == {"vialign-scenes package"}
    pd.testing.assert_frame_equal(own.drop(columns="method").set_index("subject"), found.loc[readouts])
    for told in (done[0].stdout, (tmp_path / "evaluated/index.html").read_text()):
        assert all(name in told for name in readouts) and "[nan" not in told
    assert "is done already" in done[1].stderr
