"""Published results in files: values to hold a frozen backbone against, and checkpoints beside each other.

Two forms are read. The long one has a row a value: architecture, checkpoint, benchmark, metric, percent, tolerance,
source. The wide one has a row a checkpoint and a column a benchmark, as the results of vl_compo are published
(https://github.com/ytaek-oh/vl_compo, results.csv); what `WIDE` does not name in it is compared with nothing.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from vialign.errors import UserError
from vialign.evaluation.item_files import read_item_file
from vialign.evaluation.published_means import MEANS, METRIC

LONG = ("architecture", "checkpoint", "benchmark", "metric", "percent", "tolerance", "source")
WIDE = {
    "flickr_i2t": ("flickr30k", "image_to_text_r1"),
    "flickr_t2i": ("flickr30k", "text_to_image_r1"),
    "coco_i2t": ("coco_5k", "image_to_text_r1"),
    "coco_t2i": ("coco_5k", "text_to_image_r1"),
    "winoground": ("winoground", "group"),
    "colorswap": ("colorswap", "group"),
    "mmvp_vlm": ("mmvp_vlm", "group"),
    **{name: (name, METRIC) for name in MEANS},
}
"""Columns of the wide form whose values are those of one benchmark and metric here."""
TOLERANCE = 0.3
"""Percentage points, where a file has none."""
NAMES = ("architecture", "checkpoint")
_VL_COMPO = ("arch", "pretrained")
_QUICK_GELU = "-quickgelu"


def shipped_values() -> pd.DataFrame:
    """The published values that ship with the package, columns as `LONG`."""
    with (files("vialign.evaluation") / "published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def published_values(more: tuple[str, ...] = ()) -> pd.DataFrame:
    """The values that ship with the package, then those of `more` files that it has not, in their order.

    Columns as `LONG`: architecture and checkpoint are names of open_clip, percent and tolerance in percentage points.
    Raises UserError naming file, row and field where a file has neither form or a value is no percentage.
    """
    table = pd.concat([shipped_values(), *(read_values(Path(path)) for path in more)], ignore_index=True)
    same = table.assign(architecture=table["architecture"].str.removesuffix(_QUICK_GELU))
    return table[~same.duplicated(list(LONG[:4]))].reset_index(drop=True)


def read_values(path: Path) -> pd.DataFrame:
    """The values of a file of either form, columns as `LONG`. Raises UserError as `published_values`."""
    table = read_published(path)
    wide = [name for name in WIDE if name in table.columns]
    missing = next((name for name in LONG[:5] if name not in table.columns), None)
    if missing is None:
        tolerance = percents(path, table, "tolerance") if "tolerance" in table else TOLERANCE
        found = table.assign(
            percent=percents(path, table, "percent"), tolerance=tolerance, source=table.get("source", path.name)
        )
        return found[list(LONG)]
    if not wide or any(name not in table.columns for name in NAMES):
        raise UserError(
            f"{path}: no column `{missing}`, only {', '.join(table.columns)}; published values are rows of "
            f"{', '.join(LONG[:5])}, or of {', '.join(NAMES)} with columns such as {', '.join(WIDE)}"
        )
    parts = []
    for name in wide:
        benchmark, metric = WIDE[name]
        part = table[list(NAMES)].assign(benchmark=benchmark, metric=metric, percent=percents(path, table, name))
        parts.append(part.assign(tolerance=TOLERANCE, source=path.name))
    found = pd.concat(parts, ignore_index=True)
    # open_clip gives these weights the activation that they were trained with, whatever the architecture is called.
    quick = (found["checkpoint"] == "openai") & ~found["architecture"].str.endswith(_QUICK_GELU)
    found["architecture"] = found["architecture"].where(~quick, found["architecture"] + _QUICK_GELU)
    return found[found["percent"].notna()].reset_index(drop=True)


def read_published(path: Path) -> pd.DataFrame:
    """A file of published values as it stands, every cell as text, with the names of vl_compo (`arch`, `pretrained`)
    as `NAMES`, without blanks around them. A column without a name, such as the row numbers that its file begins with,
    is left out.
    """
    table = read_item_file(path)
    names = {own: name for own, name in zip(_VL_COMPO, NAMES, strict=True) if name not in table.columns}
    table = table[[name for name in table.columns if name.strip()]].rename(columns=names)
    return table.assign(**{name: table[name].str.strip() for name in NAMES if name in table})


def percents(path: Path, table: pd.DataFrame, column: str) -> pd.Series:
    """A column as numbers from 0 to 100; an empty cell is nan. Raises UserError naming the first other cell."""
    cells = table[column].str.strip()
    values = pd.to_numeric(cells.where(cells != "", "nan"), errors="coerce").astype(float)
    wrong = np.flatnonzero(~values.between(0, 100) & (cells != ""))
    if len(wrong):
        row = int(wrong[0])
        raise UserError(
            f"{path}, row {row + 1}: field `{column}`: {cells.iloc[row]!r} is not a percentage from 0 to 100; "
            "correct it"
        )
    return values
