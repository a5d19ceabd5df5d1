"""Whole splits, and disentanglers on disk."""

import pytest
import torch

from vialign.disentangle import encode_images, encode_texts, load_text, load_visual, save_text, save_visual
from vialign.disentangle.encode import image_blocks, text_blocks
from vialign.disentangle.encoded import as_stored, join_encoded, read_encoded, write_encoded, write_encoded_rows
from vialign.disentangle.structure import align_units
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.types import Phrases, in_blocks
from vialign.disentangle.units_in_order import UnitsInOrder, in_order
from vialign.disentangle.visual import VisualDisentangler
from vialign.errors import UserError
from vialign.files.artifacts import read_provenance, read_tensors, write_tensors
from vialign.files.shards import Shard
from vialign.language.units import Unit


@pytest.fixture
def visual():
    torch.manual_seed(0)
    return VisualDisentangler(32, (7, 7), 8, 2, 4, 0.1, 4)


@pytest.fixture
def text():
    torch.manual_seed(0)
    return TextDisentangler(32, 5, 8, 4, 0.8, 1.0, 0.1)


def test_blocks_give_what_the_whole_gives(visual, store, test_images):
    whole = visual(test_images.patches)
    encoded = encode_images(visual, store(test_images.patches), batch=50, keep_maps=True)
    for name in ("features", "mass", "maps", "moments"):
        torch.testing.assert_close(getattr(encoded, name), getattr(whole, name))
    assert encode_images(visual, store(test_images.patches), batch=50).maps is None
    assert not encoded.features.requires_grad


@pytest.mark.parametrize("path", ["mixed", "main"])
def test_texts_in_blocks(text, test_captions, path):
    features = test_captions.features
    structure = align_units(test_captions.units, features.ids, features.offsets, features.mask)
    whole = text(features.states, features.mask, structure, path)
    units = test_captions.units if path == "mixed" else None
    encoded = encode_texts(text, features, units, batch=33)
    torch.testing.assert_close(encoded.features, whole.features)
    torch.testing.assert_close(encoded.weight, whole.weight)
    assert torch.equal(encoded.subject, whole.subject) and encoded.assign is None


def test_units_in_memory_give_the_phrases_of_a_table(text, test_captions):
    features, units = test_captions.features, test_captions.units
    own = [
        [Unit(*row[2:]) for row in units[units["text_id"] == name].sort_values("unit").itertuples(index=False)]
        for name in features.ids
    ]
    expected, found = encode_texts(text, features, units, batch=33), encode_texts(text, features, own, batch=33)
    assert torch.equal(found.features, expected.features) and torch.equal(found.direction, expected.direction)
    with pytest.raises(ValueError, match="more texts with units"):
        encode_texts(text, features, [*own, []], batch=33)


def test_prototypes_as_stored_are_those_that_come_back_from_a_file(
    visual, text, store, test_images, test_captions, tmp_path
):
    """So the probe reads the same numbers, whether its split was encoded to a file or is encoded on the spot."""
    prototypes = encode_images(visual, store(test_images.patches))
    phrases = encode_texts(text, test_captions.features, test_captions.units)
    counts = len(prototypes), len(phrases)
    write_encoded(in_blocks(prototypes), in_blocks(phrases), counts, tmp_path / "encoded.safetensors", {})
    read = read_encoded(tmp_path / "encoded.safetensors")[0].index(slice(None))
    stored = as_stored(prototypes)
    assert torch.equal(stored.features, read.features)
    assert torch.equal(stored.mass, read.mass) and torch.equal(stored.moments, read.moments)
    assert not torch.equal(prototypes.features, read.features)


def test_encoded_features_may_be_trained_on(visual, store, test_images):
    encoded = encode_images(visual, store(test_images.patches[:3]), batch=2)
    weight = torch.ones(32, requires_grad=True)
    (encoded.features * weight).sum().backward()
    assert weight.grad is not None


def test_index_and_move(visual, test_images):
    prototypes = visual(test_images.patches[:5])
    picked = prototypes.index(torch.tensor([4, 0])).to("cpu")
    assert len(picked) == 2 and torch.equal(picked.mass[0], prototypes.mass[4])


def test_a_text_without_words_is_named(text, test_captions):
    features = test_captions.features
    mask = features.mask.clone()
    mask[7] = False
    broken = type(features)(features.ids, features.states, mask, features.offsets)
    with pytest.raises(UserError, match="text t7: has no words"):
        encode_texts(text, broken, test_captions.units)


def test_disentanglers_come_back_frozen(visual, text, tmp_path, test_images, test_captions):
    visual.mean.copy_(torch.randn(32))
    save_visual(visual, tmp_path / "visual.safetensors", {"seed": "3"})
    save_text(text, tmp_path / "text.safetensors", {"seed": "3"})
    loaded = load_visual(tmp_path / "visual.safetensors")
    torch.testing.assert_close(loaded(test_images.patches).features, visual(test_images.patches).features)
    features = test_captions.features
    again = load_text(tmp_path / "text.safetensors")
    assert isinstance(again(features.states, features.mask), Phrases)
    torch.testing.assert_close(
        again(features.states, features.mask).features, text(features.states, features.mask).features
    )
    for module in (loaded, again):
        assert not module.training and not any(parameter.requires_grad for parameter in module.parameters())
    assert read_provenance(tmp_path / "visual.safetensors")["seed"] == "3"


def test_another_file_is_refused(visual, tmp_path):
    path = tmp_path / "visual.safetensors"
    save_visual(visual, path, {})
    with pytest.raises(UserError, match="holds 'VisualDisentangler', expected 'TextDisentangler'"):
        load_text(path)
    write_tensors({"a": torch.zeros(1)}, tmp_path / "other.safetensors", {})
    with pytest.raises(UserError, match="expected 'VisualDisentangler'"):
        load_visual(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no such file"):
        load_visual(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("jobs", [1, 2, 3, 7])
def test_the_file_of_several_jobs_holds_what_one_writes(
    visual, text, store, test_images, test_captions, tmp_path, jobs
):
    """Batches of 30 make four runs of the images and of the texts, so of seven jobs some have nothing to do."""
    images, texts, batch = store(test_images.patches), test_captions.features, 30

    def encode(shard, path):
        own = [shard.rows(len(side.ids), batch) for side in (images, texts)]
        units = UnitsInOrder([in_order(test_captions.units, texts.ids)])
        units.skip(texts.ids[: own[1].start])
        blocks = image_blocks(visual, images, batch, rows=own[0]), text_blocks(text, texts, units, batch, rows=own[1])
        write_encoded_rows(*blocks, (len(own[0]), len(own[1])), path, {"seed": "3", "wildcard_shard": "any"})

    encode(Shard(), tmp_path / "whole.safetensors")
    parts = [tmp_path / f"{number}.safetensors" for number in range(jobs)]
    for number, path in enumerate(parts):
        encode(Shard(number + 1, jobs), path)
    join_encoded(parts, tmp_path / "joined.safetensors", {"rule": "gather"})
    whole, joined = (read_tensors(tmp_path / f"{name}.safetensors") for name in ("whole", "joined"))
    assert whole.keys() == joined.keys() and len(whole) == 10
    assert all(torch.equal(joined[name], values) for name, values in whole.items())
    assert read_provenance(tmp_path / "joined.safetensors") == {"seed": "3", "rule": "gather"}


def test_a_split_without_texts_is_refused(visual, store, test_images, tmp_path):
    images = store(test_images.patches)
    write_encoded_rows(image_blocks(visual, images), [], (len(images.ids), 0), tmp_path / "part.safetensors", {})
    with pytest.raises(ValueError, match="without images or texts"):
        join_encoded([tmp_path / "part.safetensors"], tmp_path / "joined.safetensors", {})
    with pytest.raises(ValueError, match="without images or texts"):
        write_encoded(image_blocks(visual, images), [], (len(images.ids), 0), tmp_path / "whole.safetensors", {})
