from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from tolerance import close, transformer
from vialign.errors import UserError
from vialign.features import extract_images, extract_texts, load_pixels, read_images, read_texts
from vialign.features.extract import stored_rows
from vialign.features.store import join_stores
from vialign.files.shards import Shard

TOWER = close(torch.float32, transformer(width=160, layers=4))
"""Two ways through the towers of these tests."""
STORED = close(torch.float16, 1)
"""What is kept in half precision, relative to its size."""

SIZES = {"batch": 4, "shard": 7, "provenance": {"seed": "3"}}
OPTIONS = {**SIZES, "pixels": "cache"}


def table(texts):
    return pd.DataFrame({"text_id": [f"text-{row}" for row in range(len(texts))], "text": texts})


@pytest.mark.parametrize("readout", ["final", "value"])
def test_stored_images_are_what_the_backbone_gives(backbone, pictures, tmp_path, readout):
    images, folders = pictures
    extract_images(backbone, images, folders, tmp_path, readout, **OPTIONS)
    features = read_images(tmp_path, backbone.contract)
    assert features.ids == images["image_id"].tolist()
    assert features.readout == readout
    assert features.provenance["seed"] == "3"
    assert [int(rows) for rows in features.shards["rows"]] == [8, 3]
    assert torch.equal(features.pixels[torch.tensor([9, 2])], load_pixels(images.iloc[[9, 2]], folders, backbone))
    for row in range(len(images)):
        pixels = backbone.normalise(load_pixels(images.iloc[row : row + 1], folders, backbone))
        pooled, patches = backbone.image_tokens(pixels, readout)
        torch.testing.assert_close(features.pooled[row : row + 1], pooled, atol=TOWER, rtol=0)
        torch.testing.assert_close(features.patches(row, row + 1), patches, atol=TOWER, rtol=STORED)


def test_the_output_of_a_convolutional_trunk_is_stored_where_there_is_one(backbone, trunk_backbone, pictures, tmp_path):
    images, folders = pictures
    for name, tower in (("transformer", backbone), ("trunk", trunk_backbone)):
        extract_images(tower, images, folders, tmp_path / name, "final", **OPTIONS)
    assert read_images(tmp_path / "transformer").trunk is None
    features = read_images(tmp_path / "trunk")
    pixels = trunk_backbone.normalise(load_pixels(images, folders, trunk_backbone))
    with torch.inference_mode():
        stored = features.trunk[torch.arange(len(features))]
        torch.testing.assert_close(stored, trunk_backbone.model.visual.trunk(pixels), atol=TOWER, rtol=TOWER)
        torch.testing.assert_close(trunk_backbone.encode_trunk(stored), features.pooled, atol=TOWER, rtol=0)


def test_stored_texts_are_what_the_backbone_gives_one_by_one_in_their_order(backbone, tmp_path):
    texts = ["a red circle above a blue square", "", "red", "a Blue  cross " * 20, "below a star there is a ring"] * 3
    extract_texts(backbone, table(texts), tmp_path, **SIZES)
    features = read_texts(tmp_path, backbone.contract)
    assert features.ids == [f"text-{row}" for row in range(15)]
    states, mask, offsets = features.block(0, 15)
    assert states.shape[1] == backbone.context_length
    for row, text in enumerate(texts):
        tokens = backbone.tokenize([text])
        pooled, expected = backbone.text_tokens(tokens.ids)
        length = tokens.ids.shape[1]
        torch.testing.assert_close(features.pooled[row : row + 1], pooled, atol=TOWER, rtol=0)
        torch.testing.assert_close(states[row : row + 1, :length], expected, atol=TOWER, rtol=STORED)
        assert not states[row, length:].any()
        assert torch.equal(mask[row, :length], tokens.mask[0])
        assert not mask[row, length:].any()
        assert torch.equal(offsets[row, :length], tokens.offsets[0])
        ids = features.token_ids[torch.tensor([row])][0]
        assert torch.equal(ids[:length].long(), tokens.ids[0]) and not ids[length:].any()
    assert features.block(2, 3)[0].shape[1] == 3


def test_a_readout_that_the_backbone_lacks_is_an_error_before_anything_is_written(backbone, pictures, tmp_path):
    with pytest.raises(
        UserError, match="features.readout: vialign-scenes offers final, value, self_self, early, crops, not"
    ):
        extract_images(backbone, *pictures, tmp_path / "store", "attention", **OPTIONS)
    assert not (tmp_path / "store").exists()


def test_an_unreadable_image_stops_with_its_name_and_leaves_no_store(backbone, pictures, tmp_path):
    images, folders = pictures
    images = images.copy()
    images.loc[9, "path"] = "absent.png"
    with pytest.raises(UserError, match=r"image_id image-9: .*absent.png: no such file"):
        extract_images(backbone, images, folders, tmp_path, "final", **OPTIONS)
    with pytest.raises(UserError, match="not a feature store"):
        read_images(tmp_path)


def test_no_images_and_no_texts_make_empty_stores(backbone, pictures, tmp_path):
    extract_images(backbone, pictures[0].iloc[:0], pictures[1], tmp_path / "images", "final", **OPTIONS)
    extract_texts(backbone, table([]), tmp_path / "texts", **SIZES)
    assert read_images(tmp_path / "images").patches(0, 0).shape == (0, 49, 128)
    assert read_texts(tmp_path / "texts").pooled.shape == (0, 128)


def test_texts_that_the_context_cuts_are_counted(backbone, tmp_path):
    assert extract_texts(backbone, table(["a cat", "red " * 200, "a dog"]), tmp_path, **SIZES) == 1


def test_a_disk_too_small_for_the_features_is_said_before_encoding(backbone, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=11 * 49 * 128 * 2))
    with pytest.raises(UserError, match="store: features of 11 images take about .* GiB are free on that disk"):
        extract_images(backbone, *pictures, tmp_path / "store", "final", **OPTIONS)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("jobs", [2, 3, 5])
def test_the_store_of_several_jobs_holds_the_files_of_one(backbone, pictures, tmp_path, jobs):
    """Five jobs for two files of images and four of texts: some have nothing to do."""
    images, folders = pictures
    texts = table(["a red circle above a blue square", "red", "a Blue  cross " * 20, "a star"] * 7)
    size = stored_rows(SIZES["shard"], SIZES["batch"])

    def extract(folder, shard):
        rows = shard.rows(len(images), size)
        own = images.iloc[rows.start : rows.stop]
        extract_images(backbone, own, folders, folder / "images", "final", first=rows.start // size, **OPTIONS)
        rows = shard.rows(len(texts), size)
        own = texts.iloc[rows.start : rows.stop]
        return extract_texts(backbone, own, folder / "texts", first=rows.start // size, **SIZES)

    cut = extract(tmp_path / "whole", Shard())
    shards = [Shard(number, jobs) for number in range(1, jobs + 1)]
    assert sum(extract(tmp_path / str(shard.number), shard) for shard in shards) == cut
    for kind, read in (("images", read_images), ("texts", read_texts)):
        parts = [tmp_path / str(shard.number) / kind for shard in shards]
        join_stores(parts, tmp_path / "joined" / kind, SIZES["provenance"])
        one, other = tmp_path / "whole" / kind, tmp_path / "joined" / kind
        assert {path.name: path.read_bytes() for path in other.iterdir()} == {
            path.name: path.read_bytes() for path in one.iterdir()
        }
        assert read(other, backbone.contract).ids == read(one).ids and len(list(other.glob("shard-*"))) > 1
        with pytest.raises(ValueError, match="is not the next shard"):
            join_stores(parts[::-1], tmp_path / "turned", {})
