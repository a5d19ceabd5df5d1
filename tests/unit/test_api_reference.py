"""docs/api.md is what the docstrings say, of everything that a user may call."""

import inspect
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location

import pytest


@pytest.fixture(scope="module")
def tool(repository):
    spec = spec_from_file_location("api_reference", repository / "docs/tools/api_reference.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
