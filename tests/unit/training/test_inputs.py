"""Tokens of a whole split, read in pieces, against what was written."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from vialign.features.store import StoreWriter, read_images, read_texts
from vialign.methods import inputs
from vialign.methods.curriculum.ground import word_summary

FACTS = {"architecture": "tiny", "dimension": "3", "grid": "1,2", "readout": "final", "seed": "0"}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write(folder, kind, shards):
    writer = StoreWriter(folder, {**FACTS, "kind": kind})
    for number, columns in enumerate(shards):
        count = len(columns["pooled"])
        names = [f"{number}-{row}" for row in range(count)]
        widths = {
            name: (pa.from_numpy_dtype(values.dtype), values.reshape(count, -1).shape[1])
            for name, values in columns.items()
        }
        with writer.shard(names, widths) as file:
            file.append(names, **columns)
    writer.close()


def test_patches_of_all_images_are_as_stored(tmp_path, rng, monkeypatch):
    shards = [
        {
            "pooled": rng.normal(size=(count, 3)).astype(np.float32),
            "patches": rng.normal(size=(count, 2, 3)).astype(np.float16),
        }
        for count in (5, 4)
    ]
    write(tmp_path, "images", shards)
    monkeypatch.setattr(inputs, "_ROWS", 2)
    found = inputs.read_patches(read_images(tmp_path))
    assert found.dtype == torch.half
    np.testing.assert_array_equal(found.numpy(), np.concatenate([shard["patches"] for shard in shards]))


def test_states_of_all_texts_are_as_stored_and_padded_to_the_longest(tmp_path, rng, monkeypatch):
    shards = []
    for lengths in ([3, 1, 4], [2, 6], [1, 1]):
        most, count = max(lengths), len(lengths)
        present = np.arange(most) < np.array(lengths)[:, None]
        shards.append(
            {
                "pooled": rng.normal(size=(count, 3)).astype(np.float32),
                "length": np.array(lengths, np.int32)[:, None],
                "states": (rng.normal(size=(count, most, 5)) * present[..., None]).astype(np.float16),
                "mask": present,
                "offsets": np.zeros((count, most, 2), np.int32),
            }
        )
    write(tmp_path, "texts", shards)
    monkeypatch.setattr(inputs, "_ROWS", 2)
    states, mask = inputs.read_states(read_texts(tmp_path))
    assert states.shape == (7, 6, 5) and states.dtype == torch.half and mask.dtype == torch.bool
    row = 0
    for shard in shards:
        for values, present in zip(shard["states"], shard["mask"], strict=True):
            length = int(present.sum())
            np.testing.assert_array_equal(states[row, :length].numpy(), values[:length])
            assert not bool(states[row, length:].any())
            assert mask[row].tolist() == [place < length for place in range(6)]
            row += 1
    assert row == 7
    words = word_summary(states, mask, dimension=3)
    assert words.shape == (7, 5 + 2) and torch.equal(inputs.read_words(read_texts(tmp_path)), words)


def test_an_empty_split_has_no_tokens(tmp_path):
    write(tmp_path / "images", "images", [])
    write(tmp_path / "texts", "texts", [])
    assert inputs.read_patches(read_images(tmp_path / "images")).shape == (0, 2, 3)
    states, mask = inputs.read_states(read_texts(tmp_path / "texts"))
    assert len(states) == len(mask) == len(inputs.read_words(read_texts(tmp_path / "texts"))) == 0
