"""docs/api.md is what the docstrings say, of everything that a user may call."""

import inspect
from importlib import import_module

import pytest

from scripts import load_script


@pytest.fixture(scope="module")
def tool(repository):
    return load_script(repository / "docs/tools/api_reference.py")


def test_the_page_is_what_the_docstrings_say(tool, repository):
    assert (repository / "docs/api.md").read_text(encoding="utf-8") == tool.page()


def test_everything_on_it_has_a_docstring(tool):
    for module, names in tool.MODULES.items():
        found = import_module(module)
        for name in names or found.__all__:
            thing = getattr(found, name)
            assert inspect.getdoc(thing), name
            inner = (
                [value for key, value in vars(thing).items() if not key.startswith("_")]
                if inspect.isclass(thing)
                else []
            )
            assert [value.__name__ for value in inner if inspect.isfunction(value) and not value.__doc__] == []
