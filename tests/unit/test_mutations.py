"""Every known fault of tests/mutations.py is noticed by its test, and a fault that is not would be named."""

from dataclasses import replace

import pytest

from mutations import FAULTS, unnoticed


def test_every_fault_is_noticed_by_its_test(warm):
    assert unnoticed(FAULTS, warm) == []


def test_what_goes_unnoticed_is_named(warm):
    harmless = replace(FAULTS[0], name="the same in other words", wrong="variance = parts.seed + parts.item")
    broken = replace(FAULTS[0], name="no Python", wrong="variance = (((")
    first, second = unnoticed((harmless, broken), warm)
    assert first == f"the same in other words: {harmless.test} passes all the same"
    assert second.startswith("no Python:") and "SyntaxError" in second


def test_a_fault_whose_code_has_changed_is_refused():
    with pytest.raises(ValueError, match="holds 'no such code' 0 times, not once"):
        unnoticed((replace(FAULTS[0], right="no such code"),))
