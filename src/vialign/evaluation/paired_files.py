"""Results of several models by item, read from files and paired."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from vialign.data.base import TOLERANCE, too_many
from vialign.errors import UserError, one_line
from vialign.evaluation.item_files import (
    CORRECT,
    IMAGES,
    ITEM_IDS,
    PARTS,
    SCORES,
    found_columns,
    found_name,
    has_addresses,
    item_columns,
    outcomes_of,
    read_item_file,
    same_spelling,
    without_fractions,
)
from vialign.evaluation.long_form import (
    BENCHMARK,
    MEASURE,
    RUNS,
    by_measure,
    check_one_run,
    compared_apart,
    is_long,
)
from vialign.evaluation.paired_items import ALL, Paired
from vialign.files.separated import other_separator

KNOWN = (*ITEM_IDS, *PARTS, *CORRECT, *SCORES, *RUNS)
"""Columns that are found by their names, in capitals too."""
GROUPS = 200
"""At most so many groups: more could not be read, and each is tested."""


@dataclass(frozen=True)
class Columns:
    """Which columns of the files are read; what is empty is found by name."""

    item: tuple[str, ...] = ()
    """They name an item together."""
    correct: tuple[str, ...] = ()
    """Each says whether an item was solved."""
    score: tuple[str, ...] = ()
    """Each gives what share of an item was solved."""
    by: tuple[str, ...] = ()
    """Together they name the group of an item."""
    image: str | None = None
    """Names the image of an item: items of one image are not independent."""

    def of(self, table: pd.DataFrame) -> "Columns":
        """The same as a table calls them (`found_name`), each column named once."""
        item, correct, score, by, image = (
            tuple(dict.fromkeys(found_name(table.columns, name) for name in names))
            for names in (self.item, self.correct, self.score, self.by, filter(None, [self.image]))
        )
        return Columns(item, correct, score, by, image[0] if image else None)


def read_paired(paths: Sequence[Path], columns: Columns) -> Paired:
    """Read files of two or more models and pair their items.

    Items that come twice under the columns that name them are paired in their order, which is said in `notes`. Where
    every file has a column `measure`, each of its measures is one of `values`, and benchmarks stay apart. Raises
    UserError where a column is not there or cannot be found, where more than a few items come twice, where a file has
    several methods or seeds, and where the items of two files differ, naming both and the first such item.
    """
    if len(paths) < 2:
        raise UserError(f"compare: {paths[0] if paths else 'nothing'} alone; name the files of two or more models")
    tables = same_spelling([read_item_file(path) for path in paths], KNOWN)
    columns = columns.of(tables[0])
    named = (*columns.item, *columns.correct, *columns.score, *columns.by, *filter(None, [columns.image]))
    for path, table in zip(paths, tables, strict=True):
        for name in named:
            if name not in table.columns:
                raise UserError(f"{path}: no column `{name}`, only {', '.join(table.columns)}; name one of these")
    notes: list[str] = []
    long = is_long(paths, tables)
    columns, apart = _without_places(columns, tables) if long else (columns, False)
    names = _named_items(paths, tables, columns, notes, (MEASURE,) if long else ())
    names = tuple(dict.fromkeys((BENCHMARK, *names))) if apart else names
    row_names = (*names, MEASURE) if long else names
    tables = [_one_writing(table, (*names, *columns.by, *filter(None, [columns.image]), *IMAGES)) for table in tables]
    measures = _measures(paths, tables, columns)
    values = {
        name: [outcomes_of(path, table, name, yes_no=yes_no) for path, table in zip(paths, tables, strict=True)]
        for name, yes_no in measures.items()
    }
    for path, table in zip(paths, tables, strict=True):
        check_one_run(path, table, row_names)
    keys = [_keys(path, table, row_names, notes) for path, table in zip(paths, tables, strict=True)]
    notes = list(dict.fromkeys(notes))
    order = [_order(paths[0], keys[0], path, key) for path, key in zip(paths, keys, strict=True)]
    ordered = [table.iloc[rows].reset_index(drop=True) for table, rows in zip(tables, order, strict=True)]
    _check_groups(paths, ordered, columns.by, names)
    first = ordered[0]
    paired = {
        name: np.stack([one[rows] for one, rows in zip(given, order, strict=True)], axis=1)
        for name, given in values.items()
    }
    if long:
        item, paired = by_measure(keys[0].droplevel(MEASURE), tuple(first[MEASURE]), paired)
        _check_same_group(paths[0], first, item, columns.by, names)
        first = first.iloc[np.unique(item, return_index=True)[1]].reset_index(drop=True)
    labels = [BENCHMARK, *columns.by] if apart else list(columns.by)
    group = tuple(", ".join(row) for row in first[labels].itertuples(index=False)) if columns.by else ()
    benchmark = tuple(first[BENCHMARK]) if apart else ()
    _check_names(paths[0], group, columns.by, benchmark or (ALL,))
    found = Paired(
        models=model_names(paths),
        items=first[list(dict.fromkeys([*names, *columns.by]))],
        values=paired,
        group=group,
        image=_images(first, tables, columns, notes),
        notes=(),
        long=long,
        benchmark=benchmark,
    )
    for name in sorted({name for _, name in found.retold()}):
        notes.append(f"`{name}` reads the scores of other measures once more, so it is shown and not tested")
    return replace(found, notes=tuple(notes))


def model_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """What the models are called: the files' names without ending, with as many folders as tell them apart.

    Raises UserError when one file is named twice.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"compare: {paths[-1]}: a file is named twice; name the files of different models")
    full = [path.resolve().with_suffix("").parts for path in paths]
    for depth in range(1, max(map(len, full)) + 1):
        names = ["/".join(parts[-depth:]) for parts in full]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(map(str, paths))


def _one_writing(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The table with the numbers in these columns written as other programs write them too."""
    return table.assign(**{name: without_fractions(table[name]) for name in found_columns(table.columns, names)})


def _without_places(columns: Columns, tables: Sequence[pd.DataFrame]) -> tuple[Columns, bool]:
    """The columns without those by which results in the long form are held apart anyway; and whether benchmarks are."""
    apart = compared_apart(tables, columns.item)
    by = tuple(name for name in columns.by if name != MEASURE and not (apart and name == BENCHMARK))
    return replace(columns, item=tuple(name for name in columns.item if name != MEASURE), by=by), apart


def _named_items(
    paths: Sequence[Path],
    tables: Sequence[pd.DataFrame],
    columns: Columns,
    notes: list[str],
    but: tuple[str, ...],
) -> tuple[str, ...]:
    """The columns that name an item, found where the user names none; `but` those, which name something else."""
    if columns.item:
        return columns.item
    names, empty = item_columns([table.drop(columns=list(but)) for table in tables])
    for name in empty:
        notes.append(f"column `{name}` holds addresses of objects, which name nothing, and is left out")
    if not names:
        path, there = _poorest(paths, tables, (*ITEM_IDS, *PARTS))
        raise UserError(
            f"{path}: no column that names an item in every file, only {there}; name the columns that do so together "
            "with --item"
        )
    return tuple(names)


def _measures(paths: Sequence[Path], tables: Sequence[pd.DataFrame], columns: Columns) -> dict[str, bool]:
    """Columns of outcomes, each with whether it says yes or no."""
    if columns.correct or columns.score:
        return dict.fromkeys(columns.correct, True) | dict.fromkeys(columns.score, False)
    common = set.intersection(*(set(table.columns) for table in tables))
    correct = found_columns(common, CORRECT)
    found = dict.fromkeys(correct, True) or dict.fromkeys(found_columns(common, SCORES), False)
    if not found:
        path, there = _poorest(paths, tables, (*CORRECT, *SCORES))
        raise UserError(
            f"{path}: no column says in every file whether an item was solved, only {there}; name it with --correct "
            "(0 or 1) or --score (a number from 0 to 1)"
        )
    return found


def _poorest(paths: Sequence[Path], tables: Sequence[pd.DataFrame], names: Sequence[str]) -> tuple[Path, str]:
    """The file that has the fewest of these columns, and its own in words."""
    path, table = min(zip(paths, tables, strict=True), key=lambda pair: len(found_columns(pair[1].columns, names)))
    other = other_separator(list(table.columns), "\t" if path.suffix.lower() == ".tsv" else ",")
    return path, ", ".join(table.columns) + (f" (it is separated by {other})" if other else "")


def _keys(path: Path, table: pd.DataFrame, names: Sequence[str], notes: list[str]) -> pd.MultiIndex:
    """Each row's item: its columns, and which row of that item it is."""
    turn = table.groupby(list(names)).cumcount()
    twice = int((turn == 1).sum())
    if twice:
        row = int(np.flatnonzero(turn == 1)[0])
        said = f"{twice} {'item comes' if twice == 1 else 'items come'} twice by {', '.join(names)}"
        where = f"({_shown(table.iloc[row][list(names)])}, row {row + 1})"
        if too_many(int((turn > 0).sum()), len(table), TOLERANCE):
            raise UserError(f"{path}: {said} {where}; name more columns with --item")
        notes.append(f"{said}{_told_apart(table, names)}; their rows are paired in the order of each file")
    return pd.MultiIndex.from_frame(table[list(names)].assign(**{"": turn}))


def _told_apart(table: pd.DataFrame, names: Sequence[str]) -> str:
    """Which other columns tell apart the items that come twice."""
    again = table[table.duplicated(list(names), keep=False)]
    known = [name for name in table.columns if name not in (*names, *CORRECT, *SCORES)]
    differ = again.groupby(list(names))[known].nunique().max()
    others = [name for name in known if differ[name] > 1 and not has_addresses(table[name])]
    if not others or again.duplicated([*names, *others]).any():
        return ""
    return f" (told apart by {', '.join(others)}, which --item can name too)"


def _order(first: Path, wanted: pd.MultiIndex, path: Path, key: pd.MultiIndex) -> np.ndarray:
    """The rows of a file in the order of the first."""
    for one, other, has, lacks in ((wanted, key, first, path), (key, wanted, path, first)):
        missing = one[~one.isin(other)]
        if len(missing) and (turn := int(str(missing[0][-1]))):
            raise UserError(
                f"{has}: has {_shown(pd.Series(missing[0][:-1]))} {turn + 1} times, and {lacks} {turn} times; compare "
                "results on the same items, or name more columns with --item"
            )
        if len(missing):
            raise UserError(
                f"{lacks}: lacks {len(missing):,} of the {len(one):,} items that {has} has, such as "
                f"{_shown(pd.Series(missing[0][:-1]))}; compare results on the same items, or name what they have in "
                "common with --item"
            )
    return np.asarray(key.get_indexer(wanted))


def _check_groups(
    paths: Sequence[Path], ordered: Sequence[pd.DataFrame], by: Sequence[str], names: Sequence[str]
) -> None:
    for name in set(by) - set(names):
        for path, table in zip(paths, ordered, strict=True):
            differs = np.flatnonzero(table[name] != ordered[0][name])
            if len(differs):
                item = _shown(ordered[0].iloc[int(differs[0])][list(names)])
                raise UserError(f"{path}: `{name}` of {item} is not that of {paths[0]}; group --by what is the same")


def _check_same_group(
    path: Path, rows: pd.DataFrame, item: np.ndarray, by: Sequence[str], names: Sequence[str]
) -> None:
    """Refuse groups that are not of the items but of their measures."""
    for name in by:
        several = rows.groupby(item)[name].transform("nunique") > 1
        if several.any():
            shown = _shown(rows.iloc[int(np.flatnonzero(several)[0])][list(names)])
            raise UserError(
                f"{path}: `{name}` of {shown} differs from measure to measure; group --by what is the same for an item"
            )


def _check_names(path: Path, group: Sequence[str], by: Sequence[str], whole: Sequence[str]) -> None:
    known = set(group)
    if len(known) > GROUPS:
        raise UserError(
            f"{path}: {len(known):,} groups by {', '.join(by)}, more than the {GROUPS} that are compared one by one; "
            "name a column with fewer values with --by"
        )
    if both := known.intersection(whole):
        what = "a benchmark is" if both != {ALL} else "all items are"
        raise UserError(
            f"{path}: `{', '.join(by)}` has a group called `{min(both)}`, as {what} called; rename it there"
        )


def _images(first: pd.DataFrame, tables: Sequence[pd.DataFrame], columns: Columns, notes: list[str]) -> tuple[str, ...]:
    """The image of every item of the first file; each item is its own where no column names one."""
    common = set.intersection(*(set(table.columns) for table in tables))
    names = [columns.image] if columns.image else found_columns(common, IMAGES)
    names = [name for name in names if not has_addresses(first[name])]
    if not names:
        notes.append("no column names the image of an item, so all items are taken as independent")
        return tuple(map(str, range(len(first))))
    return tuple(first[names[0]])


def _shown(cells: pd.Series) -> str:
    return one_line(ValueError(", ".join(map(str, cells))), 120)
