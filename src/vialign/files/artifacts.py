"""Atomic writing and checked reading of every artifact, with the provenance that says what made it.

Tables are Parquet, tensors are safetensors. A file appears under its name only when it is complete: it is written
beside its target and renamed. Provenance travels inside the file (Parquet schema metadata, safetensors header).
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vialign.errors import UserError, not_the_file, reading
from vialign.files.locks import new_part
from vialign.tables.schema import Table

if TYPE_CHECKING:
    from torch import Tensor

Provenance = dict[str, str]
"""What made an artifact: config digest, code digest, backbone contract, seed, versions; flat text to text."""

_KEY = b"vialign"
_SAFETENSORS = {
    np.float64: "F64",
    np.float32: "F32",
    np.int32: "I32",
    np.float16: "F16",
    np.int8: "I8",
    np.uint8: "U8",
    np.bool_: "BOOL",
}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the target's own folder that becomes `path` when the block ends without an error.

    It is locked while the block runs; one that a killed process left behind is removed by the next writer there.
    """
    target = Path(path)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = new_part(target)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        raise unwritten(target, error) from None
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Whatever keeps `path` from being written, such as a full disk, becomes one line that names it and the reason."""
    try:
        yield
    except OSError as error:
        raise unwritten(Path(path), error) from None


def unwritten(target: Path, error: OSError) -> Exception:
    """The user's error where writing failed; the error itself where it is about a file elsewhere, or is no system's."""
    places = (str(target), str(target.parent))
    elsewhere = error.filename is not None and not str(os.fsdecode(error.filename)).startswith(places)
    if error.errno is None or elsewhere:
        return error
    return UserError(f"{target}: cannot be written ({os.strerror(error.errno)}); make room or choose another place")


def write_text(text: str, path: str | Path) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(frame: pd.DataFrame, table: Table, path: str | Path, provenance: Mapping[str, str]) -> None:
    """Check `frame` against `table` and write it as Parquet.

    Raises ValueError when the frame breaks the declared columns: that is a bug of the stage, not of the user.
    """
    arrow = table.to_arrow(table.check(frame))
    metadata = {_KEY: json.dumps({**provenance, "table": table.name}, sort_keys=True).encode()}
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **metadata})
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd", write_page_checksum=True)


def read_table(path: str | Path, table: Table) -> pd.DataFrame:
    """Read a table and check its columns.

    Raises UserError when the file is missing, is not Parquet, or holds another table.
    """
    file = _open_table(path, table)
    with reading(path, "delete it and run again"):
        return table.check(file.read().to_pandas())


def read_table_in_parts(path: str | Path, table: Table, rows: int = 1 << 12) -> Iterator[pd.DataFrame]:
    """The rows of a table in their order, at most so many at a time, each part checked as `read_table` checks all.

    For tables that do not fit into memory; a key that appears twice is found where both rows are in one part. Raises
    UserError as `read_table`.
    """
    file = _open_table(path, table)
    with reading(path, "delete it and run again"):
        for part in file.iter_batches(batch_size=rows):
            yield table.check(part.to_pandas())


def read_provenance(path: str | Path) -> Provenance:
    """What made the Parquet or safetensors file at `path`."""
    if Path(path).suffix.lower() == ".safetensors":
        return _read_header(path)
    with reading(path, "delete it and run again"):
        return _metadata(_open_parquet(path).schema_arrow.metadata)


def write_tensors(tensors: Mapping[str, "Tensor"], path: str | Path, provenance: Mapping[str, str]) -> None:
    """Write named tensors as safetensors."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(plain, temporary, metadata={"vialign": json.dumps(dict(provenance), sort_keys=True)})
        except SafetensorError as error:
            raise UserError(f"{path}: cannot be written ({error}); make room or choose another place") from None


@contextmanager
def tensors_in_parts(
    layout: Mapping[str, tuple[type[np.generic], tuple[int, ...]]], path: str | Path, provenance: Mapping[str, str]
) -> Iterator[dict[str, np.memmap]]:
    """Arrays of zeros on disk, to be filled part by part; they are the safetensors file `path` when the block ends.

    For what does not fit into memory. `layout` gives each array's type (a key of `_SAFETENSORS`) and shape, largest
    items first, so that all are aligned.
    """
    header: dict[str, object] = {"__metadata__": {"vialign": json.dumps(dict(provenance), sort_keys=True)}}
    end = 0
    for name, (kind, shape) in layout.items():
        start, end = end, end + math.prod(shape) * np.dtype(kind).itemsize
        header[name] = {"dtype": _SAFETENSORS[kind], "shape": shape, "data_offsets": (start, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + end)
            # A disk that is too small says so now; written through the map it would end the process without a word.
            if end and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 8 + len(text), end)
        arrays, start = {}, 8 + len(text)
        for name, (kind, shape) in layout.items():
            arrays[name] = np.memmap(temporary, dtype=kind, mode="r+", offset=start, shape=shape)
            start += arrays[name].nbytes
        yield arrays
        for array in arrays.values():
            array.flush()


def read_tensors(path: str | Path) -> dict[str, "Tensor"]:
    """Read a safetensors file.

    Raises UserError when the file is missing or is not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _refuse_folder(path)
    with reading(path):
        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(
                f"{path}: {not_the_file(path) or 'not a safetensors file, or cut off; get it again'}"
            ) from error


def check_contract(path: str | Path, contract: Mapping[str, str]) -> None:
    """Refuse an artifact that another backbone made.

    Raises UserError naming the first field that differs.
    """
    found = read_provenance(path)
    for field, expected in contract.items():
        if found.get(field) != expected:
            raise UserError(
                f"{path}: made with {field} {found.get(field)!r}, this run has {expected!r}; "
                "delete the file or use the backbone that made it"
            )


def _damaged(path: str | Path, kind: str) -> UserError:
    return UserError(f"{path}: {not_the_file(path) or f'not a {kind} file, or cut off; get it again'}")


def _refuse_folder(path: str | Path) -> None:
    """The libraries report a folder in words of their own."""
    if Path(path).is_dir():
        raise UserError(f"{path}: is a folder, where a file is wanted; name a file in it")


def _open_table(path: str | Path, table: Table) -> pq.ParquetFile:
    """Raises UserError when the file is missing, is not Parquet, or holds another table."""
    file = _open_parquet(path)
    with reading(path, "delete it and run again"):
        found = _metadata(file.schema_arrow.metadata).get("table")
    if found != table.name:
        raise UserError(f"{path}: holds table {found!r}, expected {table.name!r}; delete it and run again")
    return file


def _open_parquet(path: str | Path) -> pq.ParquetFile:
    _refuse_folder(path)
    with reading(path):
        try:
            return pq.ParquetFile(path, page_checksum_verification=True)
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{path}: {not_the_file(path) or 'not a Parquet file, or cut off; get it again'}"
            ) from error


def _metadata(metadata: Mapping[bytes, bytes] | None) -> Provenance:
    raw = (metadata or {}).get(_KEY)
    said = json.loads(raw) if raw else {}
    return {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}


def _read_header(path: str | Path) -> Provenance:
    from safetensors import SafetensorError, safe_open

    _refuse_folder(path)
    with reading(path):
        try:
            with safe_open(path, framework="np") as file:
                said = json.loads((file.metadata() or {}).get("vialign", "{}"))
        except SafetensorError as error:
            raise UserError(
                f"{path}: {not_the_file(path) or 'not a safetensors file, or cut off; get it again'}"
            ) from error
    return {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}
