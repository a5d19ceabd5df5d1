"""Region features in a folder of `<image>.npz`, the form that bottom-up attention's port to PyTorch writes.

Arrays of a file: `bbox` or `boxes` (left, top, right, bottom in pixels), `x` or `features`, `image_w`, `image_h` and,
where their author added them, the names `objects` and `attrs`. Numbers of classes need the detector's own list of
names and are not read, nor is anything pickled.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vialign.data.base import object_label, safe_join
from vialign.data.regions.region_features import RegionFeatures, check_boxes, check_features, check_whole_number
from vialign.errors import UserError, not_the_file, one_line

BOXES, FEATURES = ("bbox", "boxes"), ("x", "features")
FIELDS = frozenset({*BOXES, *FEATURES, "image_w", "image_h", "objects", "attrs"})


def region_files(folder: Path) -> Mapping[str, Path]:
    """The file of each image. Raises UserError when there is none, or one is a link out of the folder."""
    names = {path.stem for path in folder.glob("*.npz")}
    if not names:
        raise UserError(f"{folder}: has no npz file; name the TSV file itself if it holds one")
    return {name: safe_join(folder, f"{name}.npz") for name in names}


def read_npz(path: Path) -> RegionFeatures:
    """The regions of one file, named by it; a label is `<attribute> <object>` where both are there.

    Raises UserError naming file and field when it is broken.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            kept = {name: arrays[name] for name in arrays.files if name in FIELDS}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # zip, deflate, the header of an array: each stumbles over damage in its own way
        said = not_the_file(path) or f"is not a readable npz file ({one_line(error)}); write it again"
        raise UserError(f"{path}: {said}") from error
    width, height = (
        check_whole_number(f"{path}, field {name}", _first(kept, (name,), path)) for name in ("image_w", "image_h")
    )
    boxes = check_boxes(str(path), _first(kept, BOXES, path), (width, height))
    features = check_features(str(path), _first(kept, FEATURES, path), len(boxes))
    labels, attributes = (_names(kept, field, len(boxes), path) for field in ("objects", "attrs"))
    if labels and attributes:
        labels = [object_label(name, [said]) for name, said in zip(labels, attributes, strict=True)]
    return RegionFeatures(path.stem, width, height, boxes, features, tuple(labels))


def _first(arrays: Mapping[str, np.ndarray], names: Sequence[str], path: Path) -> np.ndarray:
    for name in names:
        if name in arrays:
            return arrays[name]
    raise UserError(f"{path}: has no field {' or '.join(names)}; write it again")


def _names(arrays: Mapping[str, np.ndarray], field: str, regions: int, path: Path) -> list[str]:
    if field not in arrays:
        return []
    names = arrays[field]
    if names.dtype.kind != "U" or names.shape != (regions,):
        raise UserError(f"{path}, field {field}: is not one name a region ({regions}); write it again")
    return [str(name) for name in names]
