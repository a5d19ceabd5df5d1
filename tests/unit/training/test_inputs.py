"""Tokens of a whole split, read in pieces, against what was written."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from planted import random_world
from vialign.disentangle.encoded import write_encoded
from vialign.disentangle.types import in_blocks
from vialign.features.store import StoreWriter, read_images, read_texts
from vialign.files.artifacts import write_table
from vialign.methods import inputs
from vialign.methods.ground import word_summary
from vialign.tables.language import TEXTS

FACTS = {"architecture": "tiny", "padding": "7", "dimension": "3", "grid": "1,2", "readout": "final", "seed": "0"}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write(folder, kind, shards):
    writer = StoreWriter(folder, {**FACTS, "kind": kind})
    for number, columns in enumerate(shards):
        count = len(columns["pooled"])
        names = [f"{number}-{row}" for row in range(count)]
        layout = {name: (values.dtype.type, values.shape[1:]) for name, values in columns.items()}
        with writer.shard(names, layout) as file:
            file.append(count, **columns)
    writer.close()


TEXT_LENGTHS = ([3, 1, 4], [2, 6], [1, 1])


def text_shards(rng):
    shards = []
    for lengths in TEXT_LENGTHS:
        most, count = max(lengths), len(lengths)
        present = np.arange(most) < np.array(lengths)[:, None]
        shards.append(
            {
                "pooled": rng.normal(size=(count, 3)).astype(np.float32),
                "length": np.array(lengths, np.int32),
                "ids": rng.integers(1, 50, (count, most)).astype(np.int32),
                "states": (rng.normal(size=(count, most, 5)) * present[..., None]).astype(np.float16),
                "mask": present,
                "offsets": np.zeros((count, most, 2), np.int32),
            }
        )
    return shards


@pytest.mark.parametrize("index", [[0, 6, 3], [4, 4, 0], [6], [], range(7)])
def test_rows_are_those_written_whatever_shard_they_lie_in(tmp_path, rng, index):
    shards = [
        {
            "pooled": rng.normal(size=(count, 3)).astype(np.float32),
            "patches": rng.normal(size=(count, 2, 3)).astype(np.float16),
        }
        for count in (5, 4)
    ]
    write(tmp_path, "images", shards)
    rows = read_images(tmp_path).rows("patches")
    found = rows[torch.tensor(list(index), dtype=torch.int64)]
    assert (len(rows), found.dtype) == (9, torch.half)
    whole = np.concatenate([shard["patches"] for shard in shards])
    np.testing.assert_array_equal(found.numpy(), whole[np.array(list(index), int)])
    np.testing.assert_array_equal(rows[3:7].numpy(), whole[3:7])


def test_texts_of_several_shards_end_in_zeros_and_their_words_are_those_of_each_alone(tmp_path, rng):
    shards = text_shards(rng)
    write(tmp_path, "texts", shards)
    features = read_texts(tmp_path)
    index = torch.tensor([5, 1, 4, 0])
    states, mask = features.rows("states")[index], features.rows("mask")[index]
    assert states.shape == (4, 6, 5) and states.dtype == torch.half and mask.dtype == torch.bool
    rows = [(shard["states"][row], shard["mask"][row]) for shard in shards for row in range(len(shard["mask"]))]
    lengths = [length for part in TEXT_LENGTHS for length in part]
    for place, row in enumerate(index.tolist()):
        length = lengths[row]
        np.testing.assert_array_equal(states[place, :length].numpy(), rows[row][0][:length])
        assert not bool(states[place, length:].any())
        assert mask[place].tolist() == [token < length for token in range(6)]
    ids, lengths_of = features.token_ids[index], [len(part["ids"][0]) for part in shards for _ in part["ids"]]
    for place, row in enumerate(index.tolist()):
        assert ids[place, lengths_of[row] :].tolist() == [7] * (6 - lengths_of[row])
    words = inputs.Words.of(features)
    assert len(words) == 7
    alone = [word_summary(torch.tensor(values)[None], torch.tensor(present)[None], 3) for values, present in rows]
    torch.testing.assert_close(words[index], torch.cat(alone)[index])


def test_what_a_batch_reads_comes_to_the_device(tmp_path, rng):
    """On the meta device, which has no memory to be mapped from: what is on it came there when it was read."""
    meta = torch.device("meta")
    shard = {
        "pooled": rng.normal(size=(7, 3)).astype(np.float32),
        "patches": rng.normal(size=(7, 2, 3)).astype(np.float16),
        "pixels": rng.integers(0, 256, (7, 3, 2, 2)).astype(np.uint8),
    }
    write(tmp_path / "images", "images", [shard])
    write(tmp_path / "texts", "texts", text_shards(rng))
    prototypes, phrases = random_world(0, images=7, texts=7, dimension=3)[:2]
    counts = len(prototypes), len(phrases)
    write_encoded(in_blocks(prototypes), in_blocks(phrases), counts, tmp_path / "encoded.safetensors", {})
    images, texts = read_images(tmp_path / "images").ids, read_texts(tmp_path / "texts").ids
    table = pd.DataFrame({"text_id": texts, "split": "train", "image_id": images, "kind": "caption", "text": "a"})
    write_table(table, TEXTS, tmp_path / "texts.parquet", {})
    needs = frozenset({"pixels", "token_ids", "patches", "states", "words"})
    files = (tmp_path / name for name in ("texts.parquet", "images", "texts", "encoded.safetensors"))
    data = inputs.read_split(*files, needs=needs, device=meta)
    index = torch.tensor([4, 1])
    read = [getattr(data, name)[index] for name in (*needs, "mask", "image_pooled", "text_pooled")]
    items = [*vars(data.prototypes.index(index)).values(), *vars(data.phrases.index(index)).values()]
    read += [part for part in items if isinstance(part, torch.Tensor)]
    assert len(read) == 8 + 3 + 5 and {part.device for part in read} == {meta}
    assert {len(part) for part in read} == {2}
    positions = (data.image_of_text, data.captions, data.negatives)
    assert {part.device.type for part in positions} == {"cpu"}


def test_a_batch_of_mapped_rows_takes_memory_for_itself_alone(tmp_path):
    """The column has 64 MB; reading ten rows of it must not bring it into the process's own memory."""
    rows, width = 1000, 16384
    writer = StoreWriter(tmp_path, {**FACTS, "grid": "1,1", "dimension": str(width), "kind": "images"})
    with writer.shard(
        [f"{row}" for row in range(rows)], {"pooled": (np.float32, (width,)), "patches": (np.float16, (1, width))}
    ) as file:
        file.append(rows, pooled=np.ones((rows, width), np.float32), patches=np.ones((rows, 1, width), np.float16))
    writer.close()
    features = read_images(tmp_path)
    before = own_memory()
    taken = features.rows("patches")[torch.arange(0, rows, 100)], features.pooled[::100]
    assert own_memory() - before < 8e6
    assert all(bool((part == 1).all()) for part in taken)


def own_memory():
    """Bytes of memory that are the process's own, without the pages of mapped files."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("the system does not tell what memory is a process's own")
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("RssAnon"))


def test_an_empty_split_has_no_tokens(tmp_path):
    write(tmp_path / "images", "images", [])
    write(tmp_path / "texts", "texts", [])
    nothing = torch.zeros(0, dtype=torch.int64)
    assert read_images(tmp_path / "images").rows("patches")[nothing].shape == (0, 2, 3)
    texts = read_texts(tmp_path / "texts")
    assert len(texts.rows("states")[nothing]) == len(texts.rows("mask")) == len(inputs.Words.of(texts)) == 0
