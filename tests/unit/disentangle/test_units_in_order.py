"""Units met text by text while they are read in parts."""

import pandas as pd
import pytest

from vialign.disentangle.units_in_order import UnitsInOrder, in_order
from vialign.errors import UserError
from vialign.tables.language import UNITS


def units(names):
    numbers: dict[str, int] = {}
    rows = []
    for place, name in enumerate(names):
        numbers[name] = numbers.get(name, -1) + 1
        rows.append((name, numbers[name], "entity", place, place + 1, place, place + 1, -1, -1))
    return pd.DataFrame(rows, columns=list(UNITS.columns))


NAMES = list("aaabccdddde")


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("texts", [1, 2, 3, 5])
def test_each_block_gets_its_own_units_however_they_are_cut(rows, texts):
    table, ids = units(NAMES), list("abcde")
    met = UnitsInOrder(table.iloc[start : start + rows] for start in range(0, len(table), rows))
    for start in range(0, len(ids), texts):
        block = ids[start : start + texts]
        expected = table[table["text_id"].isin(block)]
        pd.testing.assert_frame_equal(met.of(block), expected)
    met.require_end()


def test_a_text_without_units_gets_none():
    met = UnitsInOrder([units("aac")])
    assert len(met.of(["a"])) == 2 and met.of(["b"]).empty and len(met.of(["c"])) == 1
    met.require_end()
    assert met.of(["d"]).empty


@pytest.mark.parametrize("names", ["ba", "abx", "aab"])
def test_units_that_no_text_met_are_refused(names):
    met = UnitsInOrder([units(names)])
    found = [met.of([name]) for name in "a"]
    with pytest.raises(UserError, match="is not among the texts"):
        met.require_end()
    assert sum(map(len, found)) == (0 if names == "ba" else names.count("a"))


def test_units_are_put_in_the_order_of_the_texts_and_others_left_out():
    table = units("caxabca")
    found = in_order(table, list("abc"))
    assert found["text_id"].tolist() == list("aaabcc")
    assert found["start"].tolist() == [1, 3, 6, 4, 0, 5]
