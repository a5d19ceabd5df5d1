"""An index on disk: what it was made with, its pictures, their embeddings by shard, and small pictures to show."""

import json
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import safe_open
from torch import Tensor

from vialign.disentangle import Prototypes
from vialign.errors import UserError, reading
from vialign.files.artifacts import read_table, read_tensors, write_table, write_tensors, write_text
from vialign.files.locks import PART
from vialign.files.text import read_json
from vialign.tables.collection import PICTURES

HEAD = "index.json"
TABLE = "pictures.parquet"
SHARDS = "shards"
THUMBNAILS = "thumbnails"
LOCK = ".lock"
FORMAT: Literal[1] = 1
_CONTENT, _SHARD_NAME = r"[0-9a-f]{64}", r"[0-9a-f]{32}\.safetensors"
_SHARD_FILE = re.compile(rf"{_SHARD_NAME}|\.{_SHARD_NAME}\.[a-z0-9_]{{8}}\.part")
"""A shard, or an unfinished one of a call that was killed."""
_THUMBNAIL_FILE = re.compile(rf"{_CONTENT}\.jpg|\.{_CONTENT}\.jpg\.[a-z0-9_]{{8}}\.part")


class Head(BaseModel):
    """`index.json`."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = FORMAT
    pictures: str
    """The folder of the pictures."""
    model: str
    """Exported folder, or the name of a model."""
    pretrained: str | None = None
    """Weights: of a model's name, or those that an exported folder refers to."""
    units: str | None = None
    """Folder of units for a model's name; an exported folder has its own."""
    contract: dict[str, str]
    """Of the backbone that made the embeddings."""
    dimension: int
    units_digest: str | None = None
    """Of what made the prototypes (`pinning.units_digest`); None where there are none."""


@dataclass(frozen=True)
class Embedded:
    """Embeddings of some pictures."""

    pooled: Tensor
    """(picture, dim), unit length, float32."""
    prototypes: Prototypes | None
    """With maps; None where the index was made without units."""

    def index(self, positions: Tensor) -> "Embedded":
        """Those of the pictures at `positions`, in that order."""
        units = self.prototypes
        return Embedded(self.pooled[positions], None if units is None else units.index(positions))


def check_place(folder: Path) -> None:
    """Raises UserError where a folder that is to become an index holds anything else, such as a user's files."""
    if (folder / HEAD).is_file() or not folder.is_dir():
        return
    names = (path.name for path in sorted(folder.iterdir()))
    other = next((name for name in names if name != LOCK and not PART.fullmatch(name)), None)
    if other is not None:
        raise UserError(
            f"{folder}: is no index (it has no {HEAD}) and not empty (it holds {other}); choose a new or an empty "
            "folder for --out"
        )


def read_head(folder: Path) -> Head:
    """What `index.json` says. Raises UserError where there is none, or it is of another kind or version."""
    path = folder / HEAD
    if not path.is_file():
        raise UserError(f"{folder}: no index there; make one with `vialign index`")
    said = read_json(path, mend="make the index again")
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise UserError(f"{path}: not the {HEAD} of an index that this vialign reads; make the index again")
    try:
        return Head.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: `{place}`: {first['msg'].lower()}; make the index again") from error


def write_head(head: Head, folder: Path) -> None:
    """Write `index.json`."""
    write_text(json.dumps(head.model_dump(), indent=1) + "\n", folder / HEAD)


def read_pictures(folder: Path) -> pd.DataFrame:
    """PICTURES of an index; empty for one that has just begun.

    Raises UserError where the table is damaged, or names a file that no index writes.
    """
    path = folder / TABLE
    if not path.is_file():
        return PICTURES.empty()
    with reading(path, "make the index again"):
        found = read_table(path, PICTURES)
        for column, form in (("shard", _SHARD_NAME), ("content", _CONTENT)):
            if not found[column].str.fullmatch(form).all():
                raise UserError(f"{path}: column `{column}` holds what no index writes; make the index again")
    return found


def write_pictures(pictures: pd.DataFrame, folder: Path) -> None:
    """Write the table."""
    write_table(pictures, PICTURES, folder / TABLE, {})


def write_shard(embedded: Embedded, path: Path) -> None:
    """Write the embeddings of some pictures; everything of the units but their mass and place in half precision."""
    tensors = {"pooled": embedded.pooled}
    units = embedded.prototypes
    if units is not None:
        assert units.maps is not None
        tensors |= {"features": units.features.half(), "maps": units.maps.half()}
        tensors |= {"mass": units.mass, "moments": units.moments}
    write_tensors(tensors, path, {})


def read_shard(path: Path) -> Embedded:
    """What `write_shard` wrote. Raises UserError where it is missing or damaged."""
    tensors = read_tensors(path)
    with reading(path, "make the index again"):
        units = None
        if "features" in tensors:
            features = torch.nn.functional.normalize(tensors["features"].float(), dim=-1)
            units = Prototypes(features, tensors["mass"], tensors["maps"].float(), tensors["moments"])
        return Embedded(tensors["pooled"], units)


def shard_length(path: Path) -> int:
    """How many pictures a shard holds, by its header alone. Raises UserError as `read_shard`."""
    with reading(path, "make the index again"), safe_open(path, framework="np") as file:
        return int(file.get_slice("pooled").get_shape()[0])


def remove_unnamed(folder: Path, shards: Collection[str], contents: Collection[str]) -> None:
    """Delete the shards that are none of these and the small pictures of other contents, finished or not.

    What no index writes stays, whatever it is.
    """
    kept = {*shards, *(thumbnail(folder, content).name for content in contents)}
    for place, own in ((SHARDS, _SHARD_FILE), (f"{THUMBNAILS}/[0-9a-f][0-9a-f]", _THUMBNAIL_FILE)):
        for path in folder.glob(f"{place}/*"):
            if own.fullmatch(path.name) and path.name not in kept and not path.is_dir():
                path.unlink()


def thumbnail(folder: Path, content: str) -> Path:
    """Where the small picture of some content lies."""
    return folder / THUMBNAILS / content[:2] / f"{content}.jpg"


def picture_file(pictures: Path, path: str) -> Path | None:
    """The file of a picture; None where it is gone, is a link, or leads out of the folder."""
    file = pictures / path
    inside = Path(os.path.realpath(pictures))
    real = Path(os.path.realpath(file))
    if real != inside / os.path.normpath(path) or not real.is_file():
        return None
    return real
