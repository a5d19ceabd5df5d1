"""The sharded store of frozen features: half-precision tokens on disk that are read by range.

A store is a folder with one `manifest.parquet` (written last: a folder without it is not a store) and Parquet shards.
Tokens are fixed-size float16 lists in small row groups, so a range is read without loading its file; pooled
embeddings are float32. Every file carries the backbone's contract (keys `backbone_*`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.errors import UserError, reading
from vialign.files.artifacts import Provenance, atomic_path, check_contract, read_provenance, read_table, write_table
from vialign.tables.features import FEATURE_SHARDS

MANIFEST = "manifest.parquet"
ROW_GROUP = 128
"""Rows of one row group: the least that a read decodes."""


def contract_provenance(contract: Mapping[str, str]) -> Provenance:
    """A backbone's contract as provenance keys: `architecture` becomes `backbone_architecture`."""
    return {f"backbone_{field}": value for field, value in contract.items()}


def backbone_contract(provenance: Mapping[str, str]) -> dict[str, str]:
    """The backbone's contract that a store's provenance carries."""
    prefix = "backbone_"
    return {key.removeprefix(prefix): value for key, value in provenance.items() if key.startswith(prefix)}


class StoreWriter:
    """Writes one store: shards one after the other, then the manifest."""

    def __init__(self, folder: str | Path, provenance: Mapping[str, str]) -> None:
        self.folder = Path(folder)
        self.provenance = dict(provenance)
        self._shards: list[dict[str, object]] = []
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MANIFEST).unlink(missing_ok=True)

    @contextmanager
    def shard(self, ids: Sequence[str], widths: Mapping[str, tuple[pa.DataType, int]]) -> Iterator["ShardWriter"]:
        """One shard for `ids`, whose list columns have the given item type and fixed length; appears when complete."""
        name = f"shard-{len(self._shards):05d}.parquet"
        schema = pa.schema(
            [pa.field("id", pa.string(), nullable=False)]
            + [pa.field(column, _list(kind, width), nullable=False) for column, (kind, width) in widths.items()],
            metadata={"vialign": json.dumps(self.provenance, sort_keys=True)},
        )
        with atomic_path(self.folder / name) as temporary:
            with pq.ParquetWriter(
                temporary, schema, compression="none", use_dictionary=False, write_statistics=False
            ) as file:
                writer = ShardWriter(file, schema)
                yield writer
                writer.flush()
            if writer.rows != len(ids):
                raise ValueError(f"shard {name} got {writer.rows} rows for {len(ids)} ids")
        self._shards.append({"shard": name, "rows": len(ids), "ids": list(ids)})

    def close(self) -> None:
        """Remove shards of an earlier run that this one did not write, and write the manifest."""
        frame = pd.DataFrame(self._shards, columns=list(FEATURE_SHARDS.columns))
        for path in self.folder.glob("shard-*.parquet"):
            if path.name not in set(frame["shard"]):
                path.unlink()
        write_table(frame, FEATURE_SHARDS, self.folder / MANIFEST, self.provenance)


class ShardWriter:
    """Collects rows into row groups of `ROW_GROUP`."""

    def __init__(self, file: pq.ParquetWriter, schema: pa.Schema) -> None:
        self.rows = 0
        self._file = file
        self._schema = schema
        self._waiting: list[pa.Table] = []

    def append(self, ids: Sequence[str], **columns: np.ndarray) -> None:
        """Add rows; every column is an array (rows, ...) that is flattened to its fixed length.

        Raises ValueError when a half-precision column overflows.
        """
        arrays = [pa.array(list(ids), pa.string())]
        for name, values in columns.items():
            kind = self._schema.field(name).type
            flat = np.ascontiguousarray(values.reshape(len(ids), -1))
            if kind.value_type == pa.float16() and not np.isfinite(flat).all():
                raise ValueError(f"{name}: values do not fit half precision")
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel(), kind.value_type), type=kind))
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        self.rows += len(ids)
        if sum(len(table) for table in self._waiting) >= ROW_GROUP:
            self._write(keep=True)

    def flush(self) -> None:
        """Write what is waiting."""
        if self._waiting:
            self._write(keep=False)

    def _write(self, keep: bool) -> None:
        table = pa.concat_tables(self._waiting).combine_chunks()
        whole = len(table) // ROW_GROUP * ROW_GROUP if keep else len(table)
        self._file.write_table(table.slice(0, whole), row_group_size=ROW_GROUP)
        rest = table.slice(whole)
        self._waiting = [rest] if len(rest) else []


@dataclass(frozen=True, eq=False)
class _Store:
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
        """Pooled embeddings of all rows, unit length, float32."""
        if not len(self.shards):
            return torch.zeros(0, int(self.provenance["dimension"]))
        return self._column("pooled")

    def __len__(self) -> int:
        return int(self.shards["rows"].sum())

    def _range(self, start: int, stop: int, columns: list[str]) -> Iterator[pa.Table]:
        """The rows start..stop, one table a shard, decoding only the row groups that hold them."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"rows {start}..{stop} of a store of {len(self)} rows")
        first = 0
        for number, rows in enumerate(self.shards["rows"]):
            low, high = max(start - first, 0), min(stop - first, rows)
            if low < high:
                groups = range(low // ROW_GROUP, (high - 1) // ROW_GROUP + 1)
                file = self._file(number)
                with reading(self._path(number), self._mend):
                    table = file.read_row_groups(list(groups), columns=columns).select(columns)
                yield table.slice(low - groups[0] * ROW_GROUP, high - low)
            first += rows

    def _column(self, name: str) -> Float[Tensor, "row width"]:
        parts = []
        for number in range(len(self.shards)):
            file = self._file(number)
            with reading(self._path(number), self._mend):
                parts.append(_matrix(file.read(columns=[name])[name]))
        return torch.from_numpy(np.concatenate(parts))

    @property
    def _mend(self) -> str:
        return f"delete {self.folder} and extract again"

    def _path(self, number: int) -> Path:
        return self.folder / str(self.shards["shard"].iloc[number])

    def _file(self, number: int) -> pq.ParquetFile:
        path = self._path(number)
        if not path.is_file():
            raise UserError(f"{path}: shard is missing; {self._mend}")
        with reading(path, self._mend):
            try:
                file = pq.ParquetFile(path)
            except pa.ArrowInvalid as error:
                raise UserError(f"{path}: damaged shard; {self._mend}") from error
        if file.metadata.num_rows != self.shards["rows"].iloc[number]:
            raise UserError(f"{path}: has not the rows that the manifest says; delete {self.folder} and extract again")
        return file


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

    @cached_property
    def trunk(self) -> Float[Tensor, "row channel"] | None:
        """What the image tower's convolutional trunk gave for all rows, float32; None where it has no such cut."""
        if not len(self.shards) or "trunk" not in self._file(0).schema_arrow.names:
            return None
        return self._column("trunk")

    def patches(self, start: int, stop: int) -> Float[Tensor, "row patch dim"]:
        """Patch tokens of rows start..stop in the joint space, not normalised, float32."""
        rows, columns = self.grid
        shape = (-1, rows * columns, int(self.provenance["dimension"]))
        parts = [_matrix(table["patches"]).reshape(shape) for table in self._range(start, stop, ["patches"])]
        return torch.from_numpy(np.concatenate(parts or [np.zeros((0, *shape[1:]))]).astype(np.float32))


@dataclass(frozen=True, eq=False)
class TextFeatures(_Store):
    """Pooled embeddings and token states of a split's texts."""

    def block(
        self, start: int, stop: int
    ) -> tuple[Float[Tensor, "row token state"], Bool[Tensor, "row token"], Int[Tensor, "row token 2"]]:
        """States, mask and character offsets of rows start..stop, padded with zeros to the block's longest text."""
        tables = list(self._range(start, stop, ["length", "states", "mask", "offsets"]))
        masks, flat = [_matrix(table["mask"]) for table in tables], [_matrix(table["states"]) for table in tables]
        dimension = flat[0].shape[1] // masks[0].shape[1] if tables else int(self.provenance["dimension"])
        lengths = [_matrix(table["length"])[:, 0] for table in tables]
        longest = max((int(part.max()) for part in lengths), default=0)
        states = np.zeros((stop - start, longest, dimension), np.float32)
        mask = np.zeros((stop - start, longest), bool)
        offsets = np.zeros((stop - start, longest, 2), np.int64)
        first = 0
        for table, length, present, values in zip(tables, lengths, masks, flat, strict=True):
            here, most = slice(first, first + len(table)), int(length.max())
            states[here, :most] = values.reshape(len(table), -1, dimension)[:, :most]
            mask[here, :most] = present[:, :most]
            offsets[here, :most] = _matrix(table["offsets"]).reshape(len(table), -1, 2)[:, :most]
            first += len(table)
        return torch.from_numpy(states), torch.from_numpy(mask), torch.from_numpy(offsets)


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


def _open(folder: str | Path, kind: str, contract: Mapping[str, str] | None) -> tuple[Path, pd.DataFrame, Provenance]:
    manifest = Path(folder) / MANIFEST
    if not manifest.is_file():
        raise UserError(f"{folder}: not a feature store: it has no {MANIFEST}; extract the features again")
    shards = read_table(manifest, FEATURE_SHARDS)
    provenance = read_provenance(manifest)
    if provenance.get("kind") != kind:
        raise UserError(f"{folder}: holds features of {provenance.get('kind')}, expected {kind}")
    if contract is not None:
        check_contract(manifest, contract_provenance(contract))
    return Path(folder), shards, provenance


def _list(kind: pa.DataType, width: int) -> pa.DataType:
    return pa.list_(pa.field("item", kind, nullable=False), width)


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A fixed-size list column as an array (rows, width)."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(parts).reshape(len(column), -1)
