"""Results in the long form, a row an item and measure, as OUTCOMES have them: each measure is held apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vialign.errors import UserError, one_line
from vialign.evaluation.conventions import RETOLD

MEASURE, BENCHMARK = "measure", "benchmark"
RUNS = ("method", "model", "seed")
"""Columns that say whose results a row has: a file holds those of one."""
_MEASURES = 200
"""At most so many: more could not be read, and each is tested."""
_NAMED = 4
"""So many are named where an error tells of several."""


def is_long(paths: Sequence[Path], tables: Sequence[pd.DataFrame]) -> bool:
    """Whether every file has a column of measures.

    Raises UserError where a cell of it is empty, or too many measures are in it.
    """
    if not all(MEASURE in table.columns for table in tables):
        return False
    for path, table in zip(paths, tables, strict=True):
        empty = np.flatnonzero(table[MEASURE].str.strip() == "")
        if len(empty):
            raise UserError(f"{path}, row {empty[0] + 1}: field `{MEASURE}` is empty; write what the row measures")
        if (number := table[MEASURE].nunique()) > _MEASURES:
            raise UserError(
                f"{path}: {number:,} measures, more than the {_MEASURES} that are compared one by one; rename the "
                f"column `{MEASURE}` where it holds something else"
            )
    return True


def compared_apart(tables: Sequence[pd.DataFrame], item: Sequence[str]) -> bool:
    """Whether the benchmarks of files in the long form are compared one by one.

    They are where every file names them; but not where the user names an item without them and each file has one
    only, which two programs may call differently.
    """
    if not all(BENCHMARK in table.columns for table in tables):
        return False
    return not item or BENCHMARK in item or any(table[BENCHMARK].nunique() > 1 for table in tables)


def check_one_run(path: Path, table: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse a file with several outcomes of an item: of several methods or seeds, or of measures that others lack.

    One of them could not be chosen, and each as an item of its own would count the item several times. Raises
    UserError naming the file, what there are several of, and such an item.
    """
    for column in (*RUNS, MEASURE):
        if column not in table.columns or column in names or table[column].nunique() < 2:
            continue
        several = table.groupby(list(names))[column].transform("nunique") > 1
        if several.any():
            row = int(np.flatnonzero(several)[0])
            found = table[column].unique()
            said = ", ".join(found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
            item = ", ".join(table.iloc[row][list(names)])
            mend = f", or the other files a column `{MEASURE}`" if column == MEASURE else ""
            raise UserError(
                f"{path}, row {row + 1}: field `{column}`: the file has {len(found)} {column}s "
                f"({one_line(ValueError(said))}) of one item ({one_line(ValueError(item), 120)}), and one outcome of "
                f"an item is compared; give each {column} a file of its own{mend}"
            )


def by_measure(
    items: pd.Index, measure: Sequence[str], values: Mapping[str, Float[np.ndarray, "row model"]]
) -> tuple[Int[np.ndarray, "row"], dict[str, Float[np.ndarray, "item model"]]]:
    """Which item each row is of, from 0 in the order of the rows; the values by measure, nan where an item has none.

    `values` are by the columns that hold them. Where these are several, a measure is called by its own name and that of
    the column.
    """
    code = pd.factorize(items)[0]
    named = np.array(measure, dtype=object)
    found = {}
    for column, given in values.items():
        for name in dict.fromkeys(measure):
            rows = named == name
            wide = np.full((code.max() + 1, given.shape[1]), np.nan)
            wide[code[rows]] = given[rows]
            found[name if len(values) == 1 else f"{name}, {column}"] = wide
    return code, found


def retold_measures(measures: Mapping[str, Float[np.ndarray, "item model"]], rows: Int[np.ndarray, "row"]) -> set[str]:
    """Those of the measures in the long form that read the scores of another measure of these items once more.

    A measure of such a name that stands alone is one of its own, such as the exact match of an answer.
    """
    there = {name for name, values in measures.items() if np.isfinite(values[rows]).any()}
    return there & set(RETOLD) if there - set(RETOLD) else set()
