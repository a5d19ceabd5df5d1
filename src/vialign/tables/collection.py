"""The table of an index: which pictures are in it, and where their embeddings lie."""

import pyarrow as pa

from vialign.tables.schema import Column, Table, key, text, whole

PICTURES = Table(
    "pictures",
    path=key("file of the picture, relative to its folder"),
    content=text("sha256 of the file's bytes: a picture that was moved is known again"),
    size=whole("bytes", low=0),
    modified=Column(pa.int64(), "when the file was changed last, nanoseconds since 1970"),
    width=whole("pixels, upright", low=1),
    height=whole("pixels", low=1),
    shard=text("file in `shards/` that holds its embedding"),
    row=whole("place in that file, from 0", low=0),
)
