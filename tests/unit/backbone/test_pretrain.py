"""The demo backbone's recipe: its merges, its batches, its loss, and that it learns."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer

from vialign.artifacts import read_provenance
from vialign.backbone.pretrain import (
    batch_rows,
    contrastive_loss,
    draw_corpus,
    learn_merges,
    pretrain_demo,
    write_merges,
)
from vialign.backbone.registry import ASSETS, DEMO_MERGES
from vialign.config import BackboneConfig, PretrainCycle
from vialign.data.scenes.captions import scene_captions, tree_text
from vialign.data.scenes.world import sample_scenes


def test_merges_follow_frequency_and_then_the_alphabet() -> None:
    assert learn_merges(["aab", "aac"], 9) == [("a", "a"), ("aa", "b</w>"), ("aa", "c</w>")]
    assert learn_merges(["ab", "cd"], 1) == [("a", "b</w>")]


def test_the_shipped_merges_are_the_ones_that_the_recipe_writes(tmp_path: Path) -> None:
    write_merges(tmp_path / DEMO_MERGES)
    written, shipped = (gzip.decompress((folder / DEMO_MERGES).read_bytes()) for folder in (tmp_path, ASSETS))
    assert written == shipped


def test_every_caption_word_is_one_token() -> None:
    tokenizer = SimpleTokenizer(bpe_path=str(ASSETS / DEMO_MERGES), context_length=32)
    rng = np.random.default_rng(0)
    for scene, _ in sample_scenes(rng, 50):
        for tree in scene_captions(rng, scene):
            text = tree_text(tree)
            assert len(tokenizer.encode(text)) == len(text.replace(",", " ,").split())


def test_single_things_come_first_and_every_image_is_used_before_any_returns() -> None:
    single = np.arange(60) < 12
    batches = list(batch_rows(np.random.default_rng(0), single, 8, 12, singles_until=0.5))
    assert [int(single[rows].sum()) for rows in batches] == [4] * 4 + [0] * 4
    others = np.concatenate([rows[~single[rows]] for rows in batches])
    assert len(set(others[:48])) == 48


def test_the_loss_is_the_mean_of_both_directions() -> None:
    rng = torch.Generator().manual_seed(0)
    image, text = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64).requires_grad_()
    scale = torch.tensor(2.0, dtype=torch.float64)
    expected = 0.0
    for k in range(5):
        row = torch.stack([scale * image[k] @ text[j] for j in range(5)])
        column = torch.stack([scale * image[j] @ text[k] for j in range(5)])
        expected += float((row.logsumexp(0) + column.logsumexp(0) - 2 * row[k]).detach()) / 10
    assert float(contrastive_loss(image, text, scale).detach()) == pytest.approx(expected)
    assert torch.autograd.gradcheck(contrastive_loss, (image.detach().requires_grad_(), text.detach(), scale))


def test_corpus_is_reproducible() -> None:
    first, again = draw_corpus(3, 4), draw_corpus(3, 4)
    assert torch.equal(first.pixels, again.pixels) and first.captions == again.captions
    assert all(len(captions) == 5 for captions in first.captions)


def test_the_recipe_writes_weights_that_the_model_takes(tmp_path: Path) -> None:
    cycles = (PretrainCycle(steps=2, learning_rate=1e-3), PretrainCycle(steps=1, learning_rate=1e-4))
    config = BackboneConfig(pretrain_cycles=cycles, pretrain_images=300)
    paths = {"weights": tmp_path / "w.safetensors", "merges": tmp_path / "m.gz", "log_table": tmp_path / "l.parquet"}
    pretrain_demo(config, 0, **paths, provenance={"seed": "0"})
    assert read_provenance(paths["weights"])["architecture"] == "vialign-scenes"
    import json

    from safetensors.torch import load_file

    model = CLIP(**json.loads((ASSETS / "vialign-scenes.json").read_text()))
    model.load_state_dict(load_file(paths["weights"]))
