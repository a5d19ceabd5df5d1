"""Bringing an index up to date: new pictures are encoded, moved ones known again, gone ones forgotten."""

import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import pandas as pd
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from vialign.aligner.aligner import Aligner
from vialign.collection.pinning import check_units, pinned
from vialign.collection.scanning import BROKEN, Listing, Seen, Skipped, scan
from vialign.collection.store import (
    HEAD,
    LOCK,
    SHARDS,
    TABLE,
    Embedded,
    Head,
    check_place,
    read_head,
    read_pictures,
    read_shard,
    remove_unnamed,
    shard_length,
    thumbnail,
    write_head,
    write_pictures,
    write_shard,
)
from vialign.disentangle import Prototypes
from vialign.errors import UserError, reading
from vialign.files.artifacts import atomic_path
from vialign.files.images import WORKERS, open_image
from vialign.files.locks import take
from vialign.progress import track
from vialign.tables.collection import PICTURES
from vialign.toolkit.encoder import image_features
from vialign.toolkit.images import content_digest

if TYPE_CHECKING:
    from vialign.backbone import Backbone

SHARD = 1024
"""Pictures of a shard at most: what an interrupted call has to do again."""
Row = dict[str, object]
"""A row of PICTURES."""
_QUALITY = 85
Pixels = UInt8[Tensor, "*image 3 height width"]
Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Updated:
    """What bringing an index up to date did."""

    pictures: int
    """In the index now."""
    encoded: int
    known: int
    """Moved or copied pictures whose content was in the index."""
    forgotten: int
    skipped: Skipped

    def __str__(self) -> str:
        return (
            f"{self.pictures} pictures: {self.encoded} encoded, {self.known} known by their content, "
            f"{self.forgotten} forgotten"
        )


def update_index(folder: Path, head: Head, aligner: Aligner, batch: int) -> Updated:
    """Bring an index up to date with its folder of pictures; a new one is made.

    What has not changed is not touched: a file of the same size and time is taken for the same, and so is one below a
    folder that cannot be read now. Raises UserError where the folder holds something that is no index, where the index
    was made with another model or of other pictures, while another process is at work on it, and, leaving all rows as
    they are, where no picture is left.
    """
    check_place(folder)
    head = pinned(head, aligner)
    if (folder / HEAD).is_file():
        _same(read_head(folder), head, folder)
    skipped = Skipped()
    listing = scan(Path(head.pictures), skipped)
    if not listing.pictures and not listing.unread:
        raise _nothing_left(head, folder, skipped)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if not (folder / HEAD).is_file():
            write_head(head, folder)
        stored = cast(list[Row], read_pictures(folder).to_dict("records"))
        known = _by_path(stored)
        rows, changed = _unchanged(listing, known)
        by_content = {row["content"]: row for row in stored}
        fresh: list[tuple[Seen, str]] = []
        moved = 0
        for seen in track(changed, "looking at new files"):
            try:
                digest = content_digest(Path(head.pictures) / seen.path)
            except OSError:
                skipped.add(BROKEN, seen.path)
                continue
            if digest in by_content:
                rows.append({**by_content[digest], "path": seen.path, "size": seen.size, "modified": seen.modified})
                moved += 1
            else:
                fresh.append((seen, digest))
        encoded, written = 0, stored
        with warnings.catch_warnings():  # of Pillow, which name no file; here, because threads share the filters
            warnings.simplefilter("ignore")
            for added in _encode(fresh, Path(head.pictures), folder, aligner, batch, skipped):
                rows += added
                new = len({row["content"] for row in added})
                encoded, moved = encoded + new, moved + len(added) - new
                _write(rows, folder)
                written = list(rows)
        if not rows:
            raise _nothing_left(head, folder, skipped)
        forgotten = len(known.keys() - {row["path"] for row in rows})
        packed = _packed(rows, folder)
        if _by_path(packed) != _by_path(written):
            _write(packed, folder)
        # Last, and of what lies there, not of what was known: a killed call may have forgotten it already.
        remove_unnamed(folder, {str(row["shard"]) for row in packed}, {str(row["content"]) for row in packed})
    return Updated(len(rows), encoded, moved, forgotten, skipped)


def _same(found: Head, wanted: Head, folder: Path) -> None:
    """Raises UserError where an index is of something else."""
    if Path(found.pictures).resolve() != Path(wanted.pictures).resolve():
        raise UserError(f"{folder}: is the index of {found.pictures}; choose another --out for {wanted.pictures}")
    for field, value in found.contract.items():
        if wanted.contract.get(field) != value:
            raise UserError(
                f"{folder}: was made with a backbone whose {field} is {value!r}, this one has "
                f"{wanted.contract.get(field)!r}; choose another --out, or delete the index"
            )
    if found.units != wanted.units or found.model != wanted.model:
        raise UserError(f"{folder}: was made with {found.model}; choose another --out, or delete the index")
    check_units(found, wanted.units_digest, folder)


def _nothing_left(head: Head, folder: Path, skipped: Skipped) -> UserError:
    """Of a folder that was emptied, or is not mounted: an index of it stays as it is."""
    reason = next(iter(skipped.lines()), "it is empty")
    stays = f"; {folder} stays as it is" if (folder / TABLE).is_file() else ""
    return UserError(f"{head.pictures}: no picture in it can be indexed; {reason}{stays}")


def _unchanged(listing: Listing, known: dict[str, Row]) -> tuple[list[Row], list[Seen]]:
    """Rows of files that are as they were, or that nothing is known of now, and the other files."""
    rows = [row for path, row in known.items() if listing.may_hold(path)]
    changed = []
    for seen in listing.pictures:
        row = known.get(seen.path)
        if row is not None and (row["size"], row["modified"]) == (seen.size, seen.modified):
            rows.append(row)
        else:
            changed.append(seen)
    return rows, changed


def _encode(
    fresh: Sequence[tuple[Seen, str]], pictures: Path, folder: Path, aligner: Aligner, batch: int, skipped: Skipped
) -> Iterator[list[Row]]:
    """Encode new pictures shard by shard; yields the rows of each shard once it is on disk."""
    files: dict[str, list[Seen]] = {}
    for seen, digest in fresh:
        files.setdefault(digest, []).append(seen)
    contents = list(files)

    def prepare(content: str) -> tuple[str, _Prepared | None]:
        return content, _prepared(aligner.backbone, pictures / files[content][0].path)

    coming = track(_ahead(prepare, contents, 2 * batch), "pictures", total=len(contents))
    for start in range(0, len(contents), SHARD):
        name = f"{uuid.uuid4().hex}.safetensors"
        parts: list[Embedded] = []
        rows: list[Row] = []
        place = 0
        end = min(start + SHARD, len(contents))
        for step in range(start, end, batch):
            ready: list[tuple[str, _Prepared]] = []
            for content, prepared in islice(coming, min(batch, end - step)):
                if prepared is None:
                    for seen in files[content]:
                        skipped.add(BROKEN, seen.path)
                else:
                    skipped.changes.add(files[content][0].path, prepared.changes)
                    ready.append((content, prepared))
            if not ready:
                continue
            pixels = torch.stack([prepared.pixels for _, prepared in ready])
            parts.append(embed(aligner, pixels, folder, [content for content, _ in ready]))
            for content, prepared in ready:
                for seen in files[content]:
                    sizes = {"width": prepared.width, "height": prepared.height}
                    state = {"path": seen.path, "content": content, "size": seen.size, "modified": seen.modified}
                    rows.append({**state, **sizes, "shard": name, "row": place})
                place += 1
        if parts:
            write_shard(_together(parts), folder / SHARDS / name)
            yield rows


def embed(aligner: Aligner, pixels: Pixels, folder: Path, contents: list[str]) -> Embedded:
    """Embeddings of some pictures, whose small forms are written: as the tower sees them, so that maps fit on them."""
    for content, seen in zip(contents, pixels, strict=True):
        with atomic_path(thumbnail(folder, content)) as temporary:
            Image.fromarray(seen.permute(1, 2, 0).numpy()).save(temporary, "JPEG", quality=_QUALITY)
    signal = aligner.signal
    pooled, patches = image_features(aligner.backbone, pixels, "final" if signal is None else signal.encoder.readout)
    if signal is None:
        return Embedded(pooled, None)
    with torch.no_grad():
        return Embedded(pooled, signal.encoder.visual(patches))


class _Prepared(NamedTuple):
    """A picture as the tower gets it, and what is told of it."""

    pixels: Pixels
    width: int
    height: int
    changes: frozenset[str]


def _prepared(backbone: "Backbone", file: Path) -> _Prepared | None:
    """A picture decoded and scaled; None where it cannot be read. The whole picture is not kept: it may be large."""
    try:
        picture, changes = open_image(file, own=True)
    except UserError:
        return None
    return _Prepared(backbone.preprocess(picture), picture.width, picture.height, changes)


def _ahead(prepare: Callable[[Given], Made], items: Sequence[Given], most: int) -> Iterator[Made]:
    """`prepare` of every item in order, at most so many of them ahead, by threads: files are decoded meanwhile."""
    rest = iter(items)
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = deque(pool.submit(prepare, item) for item in islice(rest, most))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(prepare, item) for item in islice(rest, 1))


def _together(parts: list[Embedded]) -> Embedded:
    units = [part.prototypes for part in parts if part.prototypes is not None]
    return Embedded(torch.cat([part.pooled for part in parts]), Prototypes.concatenate(units) if units else None)


def _write(rows: list[Row], folder: Path) -> None:
    frame = pd.DataFrame(rows, columns=list(PICTURES.columns))
    write_pictures(frame.sort_values("path", kind="stable", ignore_index=True), folder)


def _by_path(rows: Sequence[Row]) -> dict[str, Row]:
    return {str(row["path"]): row for row in rows}


def _packed(rows: Sequence[Row], folder: Path) -> list[Row]:
    """Rows whose shards hold nothing beside them: one that holds more is written again without it, under a new name."""
    kept: dict[str, set[int]] = {}
    for row in rows:
        kept.setdefault(str(row["shard"]), set()).add(int(str(row["row"])))
    places: dict[tuple[str, int], tuple[str, int]] = {}
    for shard, own in kept.items():
        path = folder / SHARDS / shard
        if len(own) == shard_length(path):
            continue
        name, index = f"{uuid.uuid4().hex}.safetensors", sorted(own)
        with reading(path, "make the index again"):
            embedded = read_shard(path).index(torch.tensor(index))
        write_shard(embedded, folder / SHARDS / name)
        places |= {(shard, row): (name, place) for place, row in enumerate(index)}
    result = []
    for row in rows:
        own_place = (str(row["shard"]), int(str(row["row"])))
        name, place = places.get(own_place, own_place)
        result.append({**row, "shard": name, "row": place})
    return result


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Raises UserError while another process changes the index."""
    with (folder / LOCK).open("a") as file:
        if take(file.fileno()) is False:
            raise UserError(f"{folder}: another `vialign index` is at work on it; wait for it")
        yield
