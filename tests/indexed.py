"""A small index of drawn pictures, made once for all tests of a process."""

import tempfile
from functools import cache
from pathlib import Path

from explained import finished_run
from vialign.aligner.export import aligner_of_run, write_export
from vialign.collection.pinning import open_aligner
from vialign.collection.searching import Collection
from vialign.collection.store import Head
from vialign.collection.updating import Updated, update_index
from vialign.toolkit import draw_example

_KEPT = tempfile.TemporaryDirectory()
FOLDER = Path(_KEPT.name)
HOSTILE = '<b onclick=alert(1)>&amp; "quoted".png'
"""A file name that is markup."""


@cache
def exported() -> Path:
    """The exported folder that indexes are made with."""
    folder = FOLDER / "exported"
    write_export(aligner_of_run(finished_run()[0].config, "vialign"), folder, with_backbone=False, folded=False)
    return folder


@cache
def aligner():
    """Its model, opened once."""
    return open_aligner(head_of(FOLDER))


def head_of(pictures: Path) -> Head:
    """What an index of a folder is asked for."""
    return Head(pictures=str(pictures), model=str(exported()), contract={}, dimension=1)


def bring(pictures: Path, out: Path) -> Updated:
    """`vialign index` with that model."""
    return update_index(out, head_of(pictures), aligner(), batch=4)


@cache
def collection() -> Collection:
    """An index of 24 pictures, one of them with a hostile name and one in a folder below."""
    draw_example(FOLDER / "drawn", images=24)
    pictures = FOLDER / "drawn/images"
    (pictures / "00001.png").rename(pictures / HOSTILE)
    (pictures / "below").mkdir()
    (pictures / "00002.png").rename(pictures / "below/two.png")
    bring(pictures, FOLDER / "index")
    return Collection(FOLDER / "index", aligner=aligner())
