"""Streaming extraction of frozen features into a store; memory is bounded by two batches (texts: by a shard)."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
import torch

from vialign.device import to_device
from vialign.features.facts import BackboneFacts
from vialign.features.pixels import PixelFiles
from vialign.features.readout import require_readout
from vialign.features.store import Layout, StoreWriter, contract_provenance
from vialign.files.paths import check_space
from vialign.progress import track_starts

if TYPE_CHECKING:
    from vialign.backbone import Backbone
    from vialign.backbone.protocol import Tokens


def extract_images(
    backbone: "Backbone",
    images: pd.DataFrame,
    folders: Mapping[str, Path],
    output: str | Path,
    readout: str,
    *,
    batch: int,
    shard: int,
    pixels: Literal["cache", "decode"],
    provenance: Mapping[str, str],
    first: int = 0,
) -> None:
    """Write pooled embeddings, patches and the trunk's output of the images (rows of `IMAGES`) as a store, in order.

    `folders` holds what their paths are relative to, `output` is the store's folder; with `pixels` of `cache` they are
    kept there too. `first` is the number of the store's first shard. Raises UserError when the backbone has no such
    readout, or an image cannot be read; then no manifest is written.
    """
    require_readout(backbone, readout)
    rows, columns = backbone.grid
    layout: Layout = {
        "pooled": (np.float32, (backbone.dimension,)),
        "patches": (np.float16, (rows * columns, backbone.dimension)),
    }
    if backbone.trunk_width:
        layout = {**layout, "trunk": (np.float32, (backbone.trunk_width,))}
    if pixels == "cache":
        layout = {**layout, "pixels": (np.uint8, (3, backbone.image_size, backbone.image_size))}
    size = sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in layout.values()) * len(images)
    check_space(output, size, f"features of {len(images)} images")
    facts = _facts(backbone, "images", provenance) | {"readout": readout}
    writer = StoreWriter(output, facts, first)
    starts = iter(track_starts(len(images), batch, f"image features, {readout} readout"))
    files, done = PixelFiles(images, folders, backbone), 0
    for shard_rows in _split(images, stored_rows(shard, batch)):
        with writer.shard(shard_rows["image_id"].tolist(), layout) as file:
            for part in _split(shard_rows, batch):
                next(starts)
                loaded = files[torch.arange(done, done + len(part))]
                done += len(part)
                # Files of the next batch are decoded while the tower is at work on this one.
                files.expect(torch.arange(done, min(done + batch, len(images))))
                with torch.inference_mode():
                    found = backbone.image_outputs(backbone.normalise(to_device(loaded, backbone.device)), (readout,))
                values = {"pooled": _single(found.pooled), "patches": _half(found.patches[readout])}
                if found.trunk is not None:
                    values["trunk"] = _single(found.trunk)
                if pixels == "cache":
                    values["pixels"] = loaded.numpy()
                file.append(len(part), **values)
    next(starts, None)
    writer.close()


def extract_texts(
    backbone: "Backbone",
    texts: pd.DataFrame,
    output: str | Path,
    *,
    batch: int,
    shard: int,
    provenance: Mapping[str, str],
    first: int = 0,
) -> int:
    """Write pooled embeddings, token ids and token states of the texts (rows of `TEXTS`, in their order) as a store.

    Returns how many texts are longer than the backbone's context, so that their end was cut off.

    `first` is the number of the store's first shard. Inside a shard, texts of like length go through the tower
    together; the store keeps the order of the table.
    """
    padding = cast(Any, backbone).tokenizer.padding
    writer = StoreWriter(output, _facts(backbone, "texts", provenance) | {"padding": str(padding)}, first)
    cut = 0
    bar = iter(track_starts(len(texts), batch, "text features"))
    for rows in _split(texts, stored_rows(shard, batch)):
        captions = rows["text"].tolist()
        order = np.argsort([len(text) for text in captions], kind="stable")
        parts = []
        for start in range(0, len(order), batch):
            next(bar)
            chosen = order[start : start + batch]
            tokens, *encoded = _encode(backbone, [captions[position] for position in chosen])
            cut += int(tokens.cut.sum())
            parts.append((chosen, *encoded))
        longest = max(part[-1].shape[1] for part in parts)
        layout: Layout = {
            "pooled": (np.float32, (backbone.dimension,)),
            "length": (np.int32, ()),
            "ids": (np.int32, (longest,)),
            "states": (np.float16, (longest, parts[0][4].shape[-1])),
            "mask": (np.bool_, (longest,)),
            "offsets": (np.int32, (longest, 2)),
        }
        columns = {name: np.zeros((len(rows), *shape), kind) for name, (kind, shape) in layout.items()}
        columns["ids"].fill(padding)
        for chosen, length, pooled, *of_tokens in parts:
            columns["length"][chosen], columns["pooled"][chosen] = length, pooled
            for name, values in zip(("ids", "states", "mask", "offsets"), of_tokens, strict=True):
                columns[name][chosen, : values.shape[1]] = values
        with writer.shard(rows["text_id"].tolist(), layout) as file:
            file.append(len(rows), **columns)
    next(bar, None)
    writer.close()
    return cut


def stored_rows(shard: int, batch: int) -> int:
    """Rows of a shard, rounded up to whole batches so that batches never straddle two shards."""
    return -(-shard // batch) * batch


def _encode(backbone: "Backbone", texts: list[str]) -> tuple["Tokens", *tuple[np.ndarray, ...]]:
    """Tokens, and length, pooled embedding, ids, states, mask and offsets of a batch; states after the end are zero."""
    tokens = backbone.tokenize(texts)
    length = tokens.mask.sum(dim=1) + 2
    with torch.inference_mode():
        pooled, states = backbone.text_tokens(to_device(tokens.ids, backbone.device))
    present = torch.arange(tokens.ids.shape[1]) < length[:, None]
    states = states * present[..., None].to(states)
    own = tokens.ids.numpy(), _half(states), tokens.mask.numpy(), tokens.offsets.numpy()
    return tokens, length.numpy(), _single(pooled), *own


def _facts(backbone: "Backbone", kind: str, provenance: Mapping[str, str]) -> dict[str, str]:
    own = BackboneFacts.of(backbone).provenance()
    return {**provenance, **contract_provenance(backbone.contract), **own, "kind": kind}


def _split(frame: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    return [frame.iloc[start : start + size] for start in range(0, len(frame), size)]


def _single(values: torch.Tensor) -> np.ndarray:
    return values.float().cpu().numpy()


def _half(values: torch.Tensor) -> np.ndarray:
    return values.half().cpu().numpy()
