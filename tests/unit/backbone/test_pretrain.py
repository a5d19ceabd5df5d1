"""The demo backbone's recipe: its merges, its batches, its loss, and that it learns."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file

from vialign.backbone.byte_pairs import DEMO_MERGES
from vialign.backbone.pretrain import batch_rows, draw_corpus, learn_merges, pretrain_demo, write_merges
from vialign.backbone.registry import ASSETS
from vialign.config.data import BackboneConfig
from vialign.data.scenes.captions import SYNONYMS, Style, coarse_captions, scene_captions, tree_text
from vialign.data.scenes.sampling import sample_scenes
from vialign.data.scenes.world import COLOURS, SHAPES
from vialign.files.artifacts import read_provenance


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


def test_coarse_captions_name_the_things_rightly_and_combine_them_blindly() -> None:
    rng = np.random.default_rng(0)
    original = {other: word for word, other in SYNONYMS.items()}
    said = {"coarse": 0, "domain": 0}
    scenes = [scene for scene, _ in sample_scenes(rng, 600) if scene.main is not None and scene.main[1] == "above"]
    for scene in scenes:
        trees = coarse_captions(rng, scene)
        for tree in trees:
            words = [original.get(word, word) for word in tree_text(tree).replace(",", "").split()]
            assert {word for word in words if word in SHAPES} <= {thing.shape for thing in scene.things}
            assert {word for word in words if word in COLOURS} <= {thing.colour for thing in scene.things}
        subject, other = (scene.things[scene.main[k]].shape for k in (0, 2)) if scene.main else ("", "")
        if subject != other:
            true = re.compile(
                rf"{subject} (\S+ )?above .*{other}|above .*{other}.* {subject}|below .*{subject}.* {other}"
            )
            exact = Style(synonyms=0.0)
            said["domain"] += bool(true.search(tree_text(scene_captions(rng, scene, exact)[0])))
            said["coarse"] += bool(true.search(tree_text(trees[0])))
    # One of eight predicates, in one of two orders, of one of one or more pairs: far below captions that look.
    assert said["coarse"] < 0.2 * len(scenes) < 0.6 * len(scenes) < said["domain"]


def test_single_things_come_first_and_every_image_is_used_before_any_returns() -> None:
    single = np.arange(60) < 12
    batches = list(batch_rows(np.random.default_rng(0), single, 8, 12, singles_until=0.5))
    assert [int(single[rows].sum()) for rows in batches] == [4] * 4 + [0] * 4
    others = np.concatenate([rows[~single[rows]] for rows in batches])
    assert len(set(others[:48])) == 48


def test_corpus_is_reproducible() -> None:
    first, again = draw_corpus(3, 4), draw_corpus(3, 4)
    assert torch.equal(first.pixels, again.pixels) and first.captions == again.captions
    assert all(len(captions) == 5 for captions in first.captions)


def test_the_recipe_writes_weights_that_the_model_takes(tmp_path: Path) -> None:
    config = BackboneConfig(pretrain_steps=2, pretrain_images=128)
    paths = {"weights": tmp_path / "w.safetensors", "merges": tmp_path / "m.gz", "log_table": tmp_path / "l.parquet"}
    pretrain_demo(config, 0, **paths, provenance={"seed": "0"})
    assert read_provenance(paths["weights"])["architecture"] == "vialign-scenes"
    model = CLIP(**json.loads((ASSETS / "vialign-scenes.json").read_text()))
    model.load_state_dict(load_file(paths["weights"]))


def test_a_training_goes_on_from_a_checkpoint_with_captions_whose_relations_hold(tmp_path: Path) -> None:
    settings = {"pretrain_steps": 1, "pretrain_images": 64, "pretrain_learning_rate": 1e-9}
    config = BackboneConfig(**settings, pretrain_from="package", pretrain_captions="true")
    paths = {"weights": tmp_path / "w.safetensors", "merges": tmp_path / "m.gz", "log_table": tmp_path / "l.parquet"}
    pretrain_demo(config, 0, **paths, provenance={"seed": "0"})
    begun, shipped = load_file(paths["weights"]), load_file(ASSETS / "vialign-scenes.safetensors")
    assert all(torch.allclose(begun[name], tensor, atol=1e-6) for name, tensor in shipped.items())
    true, blind = (draw_corpus(3, 40, captions, singles=0.0) for captions in ("true", "blind"))
    assert not true.single.any() and true.captions != blind.captions
