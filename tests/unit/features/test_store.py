import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from vialign.errors import UserError
from vialign.features.store import (
    StoreWriter,
    backbone_contract,
    contract_provenance,
    read_images,
    read_texts,
)
from vialign.files.artifacts import read_provenance

CONTRACT = {"architecture": "tiny", "activation": "gelu", "checkpoint": "random:0"}
FACTS = {**contract_provenance(CONTRACT), "dimension": "3", "grid": "1,2", "readout": "final", "seed": "0"}
IMAGE_LAYOUT = {"pooled": (np.float32, (3,)), "patches": (np.float16, (2, 3))}


def write_images(folder, counts, seed=0, pieces=50):
    """Shards of the given sizes, appended in pieces."""
    rng = np.random.default_rng(seed)
    pooled = rng.normal(size=(sum(counts), 3)).astype(np.float32)
    patches = rng.normal(size=(sum(counts), 2, 3)).astype(np.float16)
    names = [f"image-{row}" for row in range(sum(counts))]
    writer = StoreWriter(folder, {**FACTS, "kind": "images"})
    first = 0
    for count in counts:
        with writer.shard(names[first : first + count], IMAGE_LAYOUT) as file:
            for start in range(first, first + count, pieces):
                part = slice(start, min(start + pieces, first + count))
                file.append(part.stop - part.start, pooled=pooled[part], patches=patches[part])
        first += count
    writer.close()
    return names, pooled, patches


def write_texts(folder, lengths_of_shards):
    rng = np.random.default_rng(1)
    writer = StoreWriter(folder, {**FACTS, "kind": "texts"})
    rows = []
    for lengths in lengths_of_shards:
        most, count = max(lengths), len(lengths)
        columns = {
            "pooled": rng.normal(size=(count, 3)).astype(np.float32),
            "length": np.array(lengths, np.int32),
            "ids": rng.integers(1, 50, (count, most)).astype(np.int32),
            "states": rng.normal(size=(count, most, 3)).astype(np.float16),
            "mask": rng.random((count, most)) < 0.5,
            "offsets": rng.integers(0, 50, (count, most, 2)).astype(np.int32),
        }
        present = np.arange(most) < columns["length"][:, None]
        for name in ("states", "mask", "offsets"):
            columns[name] *= present.reshape(count, most, *[1] * (columns[name].ndim - 2)).astype(columns[name].dtype)
        layout = {name: (values.dtype.type, values.shape[1:]) for name, values in columns.items()}
        names = [f"text-{len(rows) + row}" for row in range(count)]
        with writer.shard(names, layout) as file:
            file.append(count, **columns)
        rows += [{name: values[row] for name, values in columns.items()} for row in range(count)]
    writer.close()
    return rows


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "images"
    return folder, *write_images(folder, [300, 128, 1, 77])


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "texts"
    return folder, write_texts(folder, [[3, 9, 4, 2] * 40, [5, 2, 6], [2, 2]])


def test_a_store_gives_back_what_was_written(images):
    folder, names, pooled, patches = images
    features = read_images(folder, CONTRACT)
    assert features.ids == names
    assert len(features) == 506
    assert (features.grid, features.readout) == ((1, 2), "final")
    assert features.pooled.dtype == torch.float32
    np.testing.assert_array_equal(features.pooled, pooled)
    np.testing.assert_array_equal(features.patches(0, 506), patches.astype(np.float32))


@given(st.integers(0, 506), st.integers(0, 506))
def test_every_range_of_images_is_the_slice(images, start, stop):
    folder, _, _, patches = images
    start, stop = min(start, stop), max(start, stop)
    found = read_images(folder).patches(start, stop)
    assert found.shape == (stop - start, 2, 3)
    np.testing.assert_array_equal(found, patches[start:stop].astype(np.float32))


@given(st.integers(0, 165), st.integers(0, 165))
def test_every_block_of_texts_is_the_slice_padded_to_its_own_longest(texts, start, stop):
    folder, rows = texts
    start, stop = min(start, stop), max(start, stop)
    states, mask, offsets = read_texts(folder).block(start, stop)
    longest = max((int(row["length"]) for row in rows[start:stop]), default=0)
    assert states.shape == (stop - start, longest, 3)
    assert mask.shape == (stop - start, longest)
    for position, row in enumerate(rows[start:stop]):
        length = int(row["length"])
        np.testing.assert_array_equal(states[position, :length], row["states"][:length].astype(np.float32))
        np.testing.assert_array_equal(mask[position, :length], row["mask"][:length])
        np.testing.assert_array_equal(offsets[position, :length], row["offsets"][:length])
        assert not states[position, length:].any()
        assert not mask[position, length:].any()


def test_rows_beyond_the_end_are_an_error(images):
    with pytest.raises(IndexError, match="rows 500..507 of a store of 506 rows"):
        read_images(images[0]).patches(500, 507)


def test_tokens_are_half_precision_and_every_file_says_what_made_it(images):
    shard = load_file(images[0] / "shard-00000.safetensors")
    assert (shard["patches"].dtype, tuple(shard["patches"].shape)) == (torch.float16, (300, 2, 3))
    assert {path.suffix for path in images[0].iterdir()} == {".safetensors", ".parquet"}
    for path in images[0].iterdir():
        assert read_provenance(path)["backbone_checkpoint"] == "random:0"


def test_another_contract_is_an_error_that_names_the_field(images):
    with pytest.raises(UserError, match=r"backbone_activation 'gelu', this run has 'quick_gelu'"):
        read_images(images[0], {**CONTRACT, "activation": "quick_gelu"})


def test_the_contract_comes_back_from_a_files_provenance(images):
    assert backbone_contract(read_images(images[0]).provenance) == CONTRACT


def test_images_are_no_texts_and_a_folder_without_manifest_is_no_store(images, tmp_path):
    with pytest.raises(UserError, match="holds features of images, expected texts"):
        read_texts(images[0])
    with pytest.raises(UserError, match="not a feature store: it has no manifest.parquet"):
        read_images(tmp_path)


def test_an_interrupted_run_leaves_no_store_and_the_next_gives_the_same_bytes(tmp_path):
    write_images(tmp_path / "whole", [130, 20])
    write_images(tmp_path / "again", [130, 20, 40], seed=9)
    writer = StoreWriter(tmp_path / "again", {**FACTS, "kind": "images"})
    with pytest.raises(RuntimeError), writer.shard(["a", "b"], IMAGE_LAYOUT) as file:
        file.append(1, pooled=np.zeros((1, 3), np.float32), patches=np.zeros((1, 6), np.float16))
        raise RuntimeError("killed")
    assert not list((tmp_path / "again").glob(".*"))
    with pytest.raises(UserError, match="not a feature store"):
        read_images(tmp_path / "again")
    write_images(tmp_path / "again", [130, 20])
    digests = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / name).iterdir()}
        for name in ("whole", "again")
    ]
    assert digests[0] == digests[1]


def test_missing_foreign_and_cut_shards_are_noticed(tmp_path):
    write_images(tmp_path, [10, 10])
    shard = tmp_path / "shard-00001.safetensors"
    tensors = load_file(shard)
    save_file({name: tensor[:4].clone() for name, tensor in tensors.items()}, shard)
    with pytest.raises(UserError, match=r"shard-00001.safetensors: has not the rows that the manifest says; delete"):
        read_images(tmp_path).patches(0, 20)
    save_file({**tensors, "patches": tensors["patches"].float()}, shard)
    with pytest.raises(UserError, match=r"shard-00001.safetensors: has no column 'patches' as the store writes it"):
        read_images(tmp_path).patches(0, 20)
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"shard-00001.safetensors: .*cut off"):
        read_images(tmp_path).patches(0, 20)
    shard.unlink()
    with pytest.raises(UserError, match=r"shard-00001.safetensors: shard is missing"):
        read_images(tmp_path).patches(0, 20)


def test_values_beyond_half_precision_and_missing_rows_are_never_written(tmp_path):
    writer = StoreWriter(tmp_path, {**FACTS, "kind": "images"})
    with np.errstate(over="ignore"):
        large = np.full((1, 6), 1e6).astype(np.float16)
    with pytest.raises(ValueError, match="do not fit half precision"), writer.shard(["a"], IMAGE_LAYOUT) as file:
        file.append(1, pooled=np.zeros((1, 3), np.float32), patches=large)
    with pytest.raises(ValueError, match="got 0 rows for 1 ids"), writer.shard(["a"], IMAGE_LAYOUT):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_can_be_read(tmp_path):
    write_images(tmp_path, [])
    features = read_images(tmp_path)
    assert features.ids == []
    assert features.pooled.shape == (0, 3)
    assert features.patches(0, 0).shape == (0, 2, 3)
