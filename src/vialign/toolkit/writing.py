"""A table written block by block: the file appears only when it is complete, and memory does not grow with it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vialign.files.artifacts import atomic_path
from vialign.tables.schema import Table

ROWS = 8192
"""Rows that are collected before they are written as one row group."""


class TableStream:
    """Takes frames of one table, each checked on arrival."""

    def __init__(self, file: pq.ParquetWriter, table: Table) -> None:
        self.rows = 0
        self._file = file
        self._table = table
        self._waiting: list[pa.Table] = []

    def append(self, frame: pd.DataFrame) -> None:
        """Add rows. Raises ValueError when they break the declared columns."""
        block = self._table.to_arrow(self._table.check(frame))
        self._waiting.append(block.replace_schema_metadata(None))
        self.rows += len(block)
        if sum(len(waiting) for waiting in self._waiting) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        if self._waiting:
            self._file.write_table(pa.concat_tables(self._waiting))
            self._waiting = []


@contextmanager
def stream_table(table: Table, path: str | Path, provenance: Mapping[str, str]) -> Iterator[TableStream]:
    """Write `table` to `path` block by block; `vialign.files.artifacts.read_table` reads it.

    Keys are checked within a block only. When the block of code ends with an error, no file appears and one that was
    there before stays as it was.
    """
    metadata = {b"vialign": json.dumps({"table": table.name, **provenance}, sort_keys=True).encode()}
    schema = table.schema().with_metadata(metadata)
    with atomic_path(path) as temporary, _writer(temporary, schema) as file:
        stream = TableStream(file, table)
        yield stream
        stream.flush()


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)
