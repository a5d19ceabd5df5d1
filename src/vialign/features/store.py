"""The sharded store of frozen features: tokens on disk, mapped into memory and read where they are asked for.

A store is a folder with one `manifest.parquet` (written last: a folder without it is not a store), safetensors shards,
and `pooled.safetensors` with the pooled embeddings of all rows, which whole galleries are compared by. Tokens are
float16, pooled embeddings float32. Nothing is held: a batch touches its own rows, and the pages of a mapped file leave
memory when something else needs the room. Every file carries the backbone's contract (keys `backbone_*`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.errors import UserError, reading
from vialign.files.artifacts import (
    Provenance,
    check_contract,
    read_provenance,
    read_table,
    read_tensors,
    tensors_in_parts,
    write_table,
)
from vialign.files.shards import gathered_provenance, link
from vialign.tables.features import FEATURE_SHARDS

MANIFEST = "manifest.parquet"
POOLED = "pooled.safetensors"

Columns = Mapping[str, tuple[torch.dtype, tuple[int | None, ...]]]
"""Type and shape of a row of the columns that are read; None where any size will do."""
Layout = Mapping[str, tuple[type[np.generic], tuple[int, ...]]]
"""Type and shape of a row of the columns that are written."""


def contract_provenance(contract: Mapping[str, str]) -> Provenance:
    """A backbone's contract as provenance keys: `architecture` becomes `backbone_architecture`."""
    return {f"backbone_{field}": value for field, value in contract.items()}


def backbone_contract(provenance: Mapping[str, str]) -> dict[str, str]:
    """The backbone's contract that a store's provenance carries."""
    prefix = "backbone_"
    return {key.removeprefix(prefix): value for key, value in provenance.items() if key.startswith(prefix)}


class StoreWriter:
    """Writes one store: shards one after the other, then the pooled embeddings in one file, then the manifest."""

    def __init__(self, folder: str | Path, provenance: Mapping[str, str], first: int = 0) -> None:
        """`first` is the number of the first shard: not 0 in a store that holds what follows on another."""
        self.folder = Path(folder)
        self.provenance = dict(provenance)
        self._first = first
        self._shards: list[dict[str, object]] = []
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MANIFEST).unlink(missing_ok=True)

    @contextmanager
    def shard(self, ids: Sequence[str], layout: Layout) -> Iterator["ShardWriter"]:
        """One shard for `ids` with the given columns; appears when complete."""
        name = self._next_name()
        # Largest items first: then all are aligned.
        ordered = sorted(layout.items(), key=lambda column: -np.dtype(column[1][0]).itemsize)
        whole = {column: (kind, (len(ids), *shape)) for column, (kind, shape) in ordered}
        with tensors_in_parts(whole, self.folder / name, self.provenance) as arrays:
            writer = ShardWriter(arrays)
            yield writer
            if writer.rows != len(ids):
                raise ValueError(f"shard {name} got {writer.rows} rows for {len(ids)} ids")
        self._shards.append({"shard": name, "rows": len(ids), "ids": list(ids)})

    def take(self, path: Path, ids: Sequence[str]) -> None:
        """One shard for `ids` that was written already, into another folder and under its number in this store.

        Raises ValueError when it has another.
        """
        if path.name != self._next_name():
            raise ValueError(f"{path}: is not the next shard of {self.folder}, which is {self._next_name()}")
        link(path, self.folder / path.name)
        self._shards.append({"shard": path.name, "rows": len(ids), "ids": list(ids)})

    def _next_name(self) -> str:
        return f"shard-{self._first + len(self._shards):05d}.safetensors"

    def close(self) -> None:
        """Remove shards of an earlier run that this one did not write, gather what is pooled, write the manifest."""
        frame = pd.DataFrame(self._shards, columns=list(FEATURE_SHARDS.columns))
        for path in self.folder.glob("shard-*"):
            if path.name not in set(frame["shard"]):
                path.unlink()
        parts = [read_tensors(self.folder / str(name))["pooled"] for name in frame["shard"]]
        if parts:
            shape = (int(frame["rows"].sum()), parts[0].shape[1])
            with tensors_in_parts({"pooled": (np.float32, shape)}, self.folder / POOLED, self.provenance) as arrays:
                first = 0
                for part in parts:
                    arrays["pooled"][first : first + len(part)] = part.numpy()
                    first += len(part)
        write_table(frame, FEATURE_SHARDS, self.folder / MANIFEST, self.provenance)


class ShardWriter:
    """Fills the rows of a shard, in order."""

    def __init__(self, arrays: Mapping[str, np.memmap]) -> None:
        self.rows = 0
        self._arrays = arrays

    def append(self, rows: int, **columns: np.ndarray) -> None:
        """Add `rows` rows of every column. Raises ValueError when a half-precision column overflows."""
        for name, values in columns.items():
            array = self._arrays[name]
            if array.dtype == np.float16 and not np.isfinite(values).all():
                raise ValueError(f"{name}: values do not fit half precision")
            array[self.rows : self.rows + rows] = values.reshape(rows, *array.shape[1:])
        self.rows += rows


@dataclass(frozen=True, eq=False)
class Rows:
    """One column of a store, (row, ...): `rows[index]` reads the rows at these positions and no others.

    They come in the store's own precision. Shards may differ in their number of tokens: rows end in `padding` up to
    that of the longest, so that what is read in parts can be put together.
    """

    parts: tuple[Tensor, ...]
    """The column of each shard, mapped."""
    padding: int = 0

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        if len(self.parts) == 1:
            return self.parts[0][index]
        if isinstance(index, slice):
            index = torch.arange(len(self))[index]
        ends = torch.tensor([len(part) for part in self.parts]).cumsum(dim=0)
        shard = torch.searchsorted(ends, index, right=True)
        shape = [max(part.shape[axis] for part in self.parts) for axis in range(1, self.parts[0].ndim)]
        found = self.parts[0].new_full((len(index), *shape), self.padding)
        for one in shard.unique().tolist():
            here, part = shard == one, self.parts[one]
            block = part[index[here] - (int(ends[one]) - len(part))]
            found[(here, *(slice(size) for size in block.shape[1:]))] = block
        return found


@dataclass(frozen=True, eq=False)
class _Store(ABC):
    """What image and text features share: the manifest, and reading a range of rows."""

    folder: Path
    shards: pd.DataFrame
    provenance: Provenance

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the rows, in order."""
        return [name for row in self.shards["ids"] for name in row]

    @cached_property
    def pooled(self) -> Float[Tensor, "row dim"]:
        """Pooled embeddings of all rows, unit length, float32, mapped."""
        if not len(self.shards):
            return torch.zeros(0, self._dimension)
        return self._read(POOLED, len(self), {"pooled": (torch.float32, (self._dimension,))})["pooled"]

    def __len__(self) -> int:
        return int(self.shards["rows"].sum())

    def rows(self, name: str) -> Rows:
        """The column `name`, to be read by position."""
        if not len(self.shards):
            kind, shape = self._columns[name]
            return Rows((torch.zeros(0, *(size or 0 for size in shape), dtype=kind),))
        return Rows(tuple(shard[name] for shard in self._mapped))

    def _range(self, name: str, start: int, stop: int) -> Tensor:
        """Rows start..stop of the column `name`. Raises IndexError beyond the end."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"rows {start}..{stop} of a store of {len(self)} rows")
        return self.rows(name)[slice(start, stop)]

    @cached_property
    def _mapped(self) -> list[dict[str, Tensor]]:
        """The columns of each shard. Raises UserError when one is missing, damaged, or of another length."""
        rows = zip(self.shards["shard"], self.shards["rows"], strict=True)
        return [self._read(str(name), int(count), self._columns) for name, count in rows]

    def _read(self, name: str, rows: int, columns: Columns) -> dict[str, Tensor]:
        path, mend = self.folder / name, f"delete {self.folder} and extract again"
        if not path.is_file():
            raise UserError(f"{path}: shard is missing; {mend}")
        with reading(path, mend):
            found = read_tensors(path)
        for column, (kind, shape) in columns.items():
            values = found.get(column)
            fits = values is not None and values.dtype == kind and values.ndim == 1 + len(shape)
            if (
                values is None
                or not fits
                or any(size not in (own, None) for size, own in zip(shape, values.shape[1:], strict=True))
            ):
                raise UserError(f"{path}: has no column {column!r} as the store writes it; {mend}")
            if len(values) != rows:
                raise UserError(f"{path}: has not the rows that the manifest says; {mend}")
        return found

    @property
    def _dimension(self) -> int:
        return int(self.provenance["dimension"])

    @property
    @abstractmethod
    def _columns(self) -> Columns:
        """What every shard must have."""


@dataclass(frozen=True, eq=False)
class ImageFeatures(_Store):
    """Pooled embeddings and patch tokens of a split's images."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patch grid."""
        rows, columns = self.provenance["grid"].split(",")
        return int(rows), int(columns)

    @property
    def readout(self) -> str:
        """How the patches were read out of the tower."""
        return self.provenance["readout"]

    @property
    def trunk(self) -> Rows | None:
        """What the image tower's convolutional trunk gave for all rows, float32; None where it has no such cut."""
        return self._optional("trunk")

    @property
    def pixels(self) -> Rows | None:
        """uint8, (row, 3, height, width), before normalisation; None where they were not kept."""
        return self._optional("pixels")

    def _optional(self, name: str) -> Rows | None:
        return self.rows(name) if self._mapped and name in self._mapped[0] else None

    def patches(self, start: int, stop: int) -> Float[Tensor, "row patch dim"]:
        """Patch tokens of rows start..stop in the joint space, not normalised, float32."""
        return self._range("patches", start, stop).float()

    @property
    def _columns(self) -> Columns:
        rows, columns = self.grid
        return {"patches": (torch.float16, (rows * columns, self._dimension))}


@dataclass(frozen=True, eq=False)
class TextFeatures(_Store):
    """Pooled embeddings and token states of a split's texts."""

    def block(
        self, start: int, stop: int
    ) -> tuple[Float[Tensor, "row token state"], Bool[Tensor, "row token"], Int[Tensor, "row token 2"]]:
        """States, mask and character offsets of rows start..stop, padded with zeros to the block's longest text."""
        longest = int(self._range("length", start, stop).max()) if stop > start else 0
        states, mask, offsets = (self._range(name, start, stop)[:, :longest] for name in ("states", "mask", "offsets"))
        return states.float(), mask.clone(), offsets.long()

    @property
    def token_ids(self) -> Rows:
        """Token ids as the text tower reads them, (row, token), int32."""
        return replace(self.rows("ids"), padding=int(self.provenance["padding"]))

    @property
    def _columns(self) -> Columns:
        return {
            "ids": (torch.int32, (None,)),
            "length": (torch.int32, ()),
            "states": (torch.float16, (None, None)),
            "mask": (torch.bool, (None,)),
            "offsets": (torch.int32, (None, 2)),
        }


def read_images(folder: str | Path, contract: Mapping[str, str] | None = None) -> ImageFeatures:
    """Open a store of image features.

    Raises UserError when the folder is no such store, or when `contract` is given and a field of it differs.
    """
    return ImageFeatures(*_open(folder, "images", contract))


def read_texts(folder: str | Path, contract: Mapping[str, str] | None = None) -> TextFeatures:
    """Open a store of text features.

    Raises UserError when the folder is no such store, or when `contract` is given and a field of it differs.
    """
    return TextFeatures(*_open(folder, "texts", contract))


def join_stores(parts: Sequence[str | Path], folder: str | Path, provenance: Mapping[str, str]) -> None:
    """Write the store of all rows of several, each of which goes on with the numbers of the one before.

    Their shards are linked and not copied, so this costs the pooled embeddings alone. `provenance` says what joins
    them. Raises UserError when one is no store.
    """
    opened = [_manifest(part) for part in parts]
    writer = StoreWriter(folder, gathered_provenance(Path(parts[0]) / MANIFEST, provenance))
    for part, shards in zip(parts, opened, strict=True):
        for name, ids in zip(shards["shard"], shards["ids"], strict=True):
            writer.take(Path(part) / name, ids)
    writer.close()


def _open(folder: str | Path, kind: str, contract: Mapping[str, str] | None) -> tuple[Path, pd.DataFrame, Provenance]:
    manifest, shards = Path(folder) / MANIFEST, _manifest(folder)
    provenance = read_provenance(manifest)
    if provenance.get("kind") != kind:
        raise UserError(f"{folder}: holds features of {provenance.get('kind')}, expected {kind}")
    if contract is not None:
        check_contract(manifest, contract_provenance(contract))
    return Path(folder), shards, provenance


def _manifest(folder: str | Path) -> pd.DataFrame:
    manifest = Path(folder) / MANIFEST
    if not manifest.is_file():
        raise UserError(f"{folder}: not a feature store: it has no {MANIFEST}; extract the features again")
    return read_table(manifest, FEATURE_SHARDS)
