from importlib import import_module
from pkgutil import iter_modules

import pandas as pd
import pyarrow as pa
import pytest

import vialign.tables
from vialign.tables.schema import Column, Table, category, flag, key, number, number_key, texts, unit_interval, whole

EXAMPLE = Table(
    "example",
    name=key("name"),
    round=number_key("round"),
    kind=category(("a", "b"), "kind"),
    count=whole("items", low=0, optional=True),
    share=unit_interval("share"),
    words=texts("words"),
    good=flag("good"),
)

DECLARED = [
    table
    for info in iter_modules(vialign.tables.__path__)
    for table in vars(import_module(f"vialign.tables.{info.name}")).values()
    if isinstance(table, Table)
]


def rows(**changes) -> pd.DataFrame:
    frame = {
        "name": ["x", "y"],
        "round": [0, 0],
        "kind": ["a", "b"],
        "count": [1, 2],
        "share": [0.0, 1.0],
        "words": [["p", "q"], []],
        "good": [True, False],
    }
    return pd.DataFrame({**frame, **changes})


def test_a_good_frame_passes_in_the_declared_order():
    shuffled = rows()[["good", "share", "name", "words", "kind", "count", "round"]]
    assert list(EXAMPLE.check(shuffled).columns) == list(EXAMPLE.columns)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": ["a", "c"]}, r"row 1: kind = 'c' is not one of"),
        ({"share": [0.5, 1.1]}, r"row 1: share = .* is outside"),
        ({"share": [0.5, None]}, r"row 1: share = .* is missing"),
        ({"count": [-1, 2]}, r"row 0: count = .* is outside \[0, inf\]"),
        ({"name": ["x", "x"]}, r"row 1: key .* appears twice"),
        ({"extra": [1, 2]}, r"undeclared columns \['extra'\]"),
    ],
)
def test_a_broken_frame_is_refused_with_row_and_column(changes, message):
    with pytest.raises(ValueError, match=message):
        EXAMPLE.check(rows(**changes))


def test_a_missing_column_is_refused():
    with pytest.raises(ValueError, match=r"missing columns \['share'\]"):
        EXAMPLE.check(rows().drop(columns="share"))


def test_an_optional_value_may_be_missing_and_keeps_its_type():
    arrow = EXAMPLE.to_arrow(EXAMPLE.check(rows(count=pd.array([None, 2], dtype="Int64"))))
    assert arrow.schema.field("count").type == pa.int64()
    assert arrow["count"].to_pylist() == [None, 2]


def test_both_parts_make_the_key():
    EXAMPLE.check(rows(name=["x", "x"], round=[0, 1]))


@pytest.mark.parametrize("table", DECLARED, ids=lambda table: table.name)
def test_every_declared_table_accepts_its_own_empty_frame_and_says_what_it_holds(table):
    assert list(table.check(table.empty()).columns) == list(table.columns)
    assert table.to_arrow(table.empty()).schema == table.schema()
    assert all(isinstance(column, Column) and column.meaning for column in table.columns.values())


def test_table_names_are_unique():
    names = [table.name for table in DECLARED]
    assert len(names) == len(set(names)) > 15


def test_a_column_may_be_called_name():
    assert list(Table("t", name=number("value")).columns) == ["name"]
