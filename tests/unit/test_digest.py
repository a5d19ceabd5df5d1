import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vialign
from vialign import digest
from vialign.digest import code_digest, module_closure, script_digests

TREE = {
    "__init__.py": "",
    "base.py": '"""Base."""\nVALUE = 1\n',
    "typed.py": "VALUE = 1\n",
    "far/__init__.py": "from .near import thing\n",
    "far/near.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import vialign.typed\nthing = 1\n",
    "far/assets/weights.json": "{}",
    "far/assets/picture.png": "",
    "far/deep/__init__.py": "",
    "far/deep/notes.json": "{}",
    "room/__init__.py": "",
    "room/stage.py": "def run():\n    from vialign.far import near\n    return near\n",
    "room/twin.py": "from . import stage\nfrom ..base import VALUE\n",
    "room/names.py": 'READERS = {"x": "vialign.base:VALUE"}\n',
    "room/registry.py": "from importlib import import_module\nfrom vialign.room.names import READERS\n"
    "def read(name):\n    return import_module(READERS[name])\n",
    "room/reader.py": "from vialign.config.values import LIMIT\nfrom vialign.room.names import READERS\n",
    "config/__init__.py": "",
    "config/values.py": "from vialign.base import VALUE\nLIMIT = 1\n",
    "tables.py": 'T = Table("t", a=key("name"), b=category(("x", "y"), f"kind, {1}"))\n',
    "alone.py": "import math\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, content in TREE.items():
        path = tmp_path / "vialign" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "closure"),
    [
        ("alone", {"", "alone"}),
        ("room.stage", {"", "room", "room.stage", "far", "far.near"}),
        ("room.twin", {"", "room", "room.twin", "room.stage", "far", "far.near", "base"}),
        ("room.registry", {"", "room", "room.registry", "room.names", "base"}),
        ("room.names", {"", "room", "room.names"}),
        ("room.reader", {"", "room", "room.reader", "room.names"}),
        ("far", {"", "far", "far.near"}),
    ],
)
def test_the_closure_follows_every_way_of_importing(tree, module, closure):
    expected = sorted(f"vialign.{name}".rstrip(".") for name in closure)
    assert module_closure(f"vialign.{module}", root=tree) == expected


@pytest.mark.parametrize(
    ("name", "content", "changes"),
    [
        ("base.py", '"""Other words."""\n\n# a remark\nVALUE   =   1\n', False),
        ("base.py", '"""Base."""\nVALUE = 2\n', True),
        ("base.py", '"""Base."""\nVALUE = True\n', True),
        ("base.py", '"""Base."""\nVALUE = 1\nimport math\n', True),
        ("base.py", 'VALUE = 1\n"""A sentence about it."""\n', False),
        ("far/near.py", "thing = 2\n", True),
        ("far/assets/weights.json", '{"a": 1}', True),
        ("far/assets/more.csv", "a,b", True),
        ("far/assets/picture.png", "pixels", False),
        ("far/deep/notes.json", '{"a": 1}', False),
        ("far/__init__.py", "from .near import thing as other\n", True),
        ("typed.py", "VALUE = 2\n", False),
        ("alone.py", "import cmath\n", False),
    ],
)
def test_the_digest_changes_exactly_with_what_the_stage_uses(tree, name, content, changes):
    before = code_digest("vialign.room.twin", root=tree)
    assert code_digest("vialign.room.twin", root=tree) == before
    (tree / "vialign" / name).write_text(content)
    assert (code_digest("vialign.room.twin", root=tree) != before) is changes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("raise KeyError", "raise KeyError from None"),
        ("x = y", "x = 'y'"),
        ("f(a, b)", "f(a, *b)"),
        ("def f(a, b): pass", "def f(a, /, b): pass"),
        ("def f(a, *, b): pass", "def f(a, b): pass"),
        ("{1: 2}", "{1, 2}"),
        ("x = [a, [b]]", "x = [[a], b]"),
        ("x = -1", "x = +1"),
        ("x = f'{a}'", "x = f'{a!r}'"),
    ],
)
def test_code_that_means_something_else_has_another_digest(tree, one, other):
    found = set()
    for content in (one, other):
        (tree / "vialign/alone.py").write_text(content + "\n")
        found.add(code_digest("vialign.alone", root=tree))
    assert len(found) == 2


def test_the_digest_does_not_depend_on_where_the_package_lies_or_on_the_order_of_names(tree, tmp_path_factory):
    moved = shutil.copytree(tree, tmp_path_factory.mktemp("other") / "place")
    names = ("vialign.room.twin", "vialign.alone")
    assert code_digest(*names, root=tree) == code_digest(*reversed(names), root=moved)


def test_a_scripts_digest_is_that_of_the_modules_it_imports(tree):
    script = tree / "script.py"
    script.write_text("import math\nif math:\n    from vialign.room.twin import VALUE\n    from vialign import alone\n")
    names = ("vialign.room.twin", "vialign.alone")
    whole, part = code_digest(*names, root=tree), code_digest(names[0], root=tree)
    assert script_digests([script], root=tree) == {"script": whole} and whole != part


def test_an_unknown_module_is_an_error(tree):
    with pytest.raises(ValueError, match="no module vialign.nowhere"):
        code_digest("vialign.nowhere", root=tree)


def test_a_change_in_signal_reaches_the_signal_stage_and_not_the_features(tmp_path):
    shutil.copytree(Path(vialign.__file__).parent, tmp_path / "vialign", ignore=shutil.ignore_patterns("__pycache__"))
    stages = ("vialign.signal.pairs", "vialign.features.extract")
    before = [code_digest(stage, root=tmp_path) for stage in stages]
    with (tmp_path / "vialign/signal/score.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    after = [code_digest(stage, root=tmp_path) for stage in stages]
    assert before[0] != after[0]
    assert before[1] == after[1]
    with (tmp_path / "vialign/features/extract.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    assert code_digest(stages[1], root=tmp_path) != before[1]


def test_the_static_closure_covers_what_python_really_imports():
    module = "vialign.data.datasets.flickr8k"
    script = f"import sys, {module}; print(*(name for name in sys.modules if name.split('.')[0] == 'vialign'))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "vialign.data.base" in loaded
    watched = {name for name in loaded if not name.startswith("vialign.config")}
    assert watched <= set(module_closure(module))


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        ('T = Table("t", a=key("what it is called"), b=category(("x", "y"), f"sort, {2}"))\n', False),
        ('T = Table("t", a=key("name"), b=category(("x", "z"), f"kind, {1}"))\n', True),
        ('T = Table("t", a=key("name"), b=category(("x", "y"), f"kind, {1}", optional=True))\n', True),
        ('T = Table("t", a=key("name"), c=category(("x", "y"), f"kind, {1}"))\n', True),
        ('T = Table("u", a=key("name"), b=category(("x", "y"), f"kind, {1}"))\n', True),
    ],
)
def test_the_meaning_of_a_column_is_for_people_and_the_rest_of_it_is_not(tree, content, changes):
    before = code_digest("vialign.tables", root=tree)
    (tree / "vialign/tables.py").write_text(content)
    assert (code_digest("vialign.tables", root=tree) != before) is changes


COLUMN = 'new=flag("new"),'
EDITS = {
    "the meaning of a column": ("tables/failures.py", 'key("', "in other words, ", 0),
    "a default of the configuration": ("config/methods.py", "batch: Count = ", "1", 0),
    "a column of the failures": ("tables/failures.py", '"failures",', COLUMN, 4),
    "a column of the theory": ("tables/theory.py", '"theory",', COLUMN, 4),
    "a column of the training": ("tables/training.py", '"search",', COLUMN, 15),
    "a column of a verdict": ("tables/gates.py", '"verdict",', COLUMN, 20),
    "a column of the results": ("tables/evaluation.py", '"results",', COLUMN, 22),
    "a method": ("catalogue.py", "", "NEW = 1", 19),
    "a baseline": ("methods/baselines/lora.py", "", "NEW = 1", 14),
    "a reader": ("data/datasets/coco.py", "", "NEW = 1", 3),
    "the rule of a gate": ("gates/budget.py", "", "NEW = 1", 1),
    "the toolkit": ("toolkit/scoring.py", "", "NEW = 1", 0),
}
"""File, what stands before the new text (nothing: the end), the new text, and how many digests change with it."""
SCRIPTS = 53
"""Of the rules when these were counted. Whoever adds one need not count again: it may be one more of each."""


def test_an_edit_reruns_the_scripts_that_use_it_and_no_others(repository, tmp_path):
    shutil.copytree(Path(vialign.__file__).parent, tmp_path / "vialign", ignore=shutil.ignore_patterns("__pycache__"))
    scripts = sorted((repository / "workflow/scripts").glob("*.py"))
    before = script_digests(scripts, tmp_path)
    print(f"\n{'edit':<34} digests of {len(scripts)} that change")
    for what, (name, before_it, new, count) in EDITS.items():
        path = tmp_path / "vialign" / name
        content = path.read_text()
        assert before_it in content, what
        path.write_text(content.replace(before_it, before_it + new, 1) if before_it else f"{content}{new}\n")
        after = script_digests(scripts, tmp_path)
        changed = [script for script, digest in before.items() if after[script] != digest]
        print(f"{what:<34} {len(changed)}")
        assert count <= len(changed) <= count + bool(count) * (len(scripts) - SCRIPTS), (what, changed)
        path.write_text(content)


def test_what_a_source_says_is_kept_by_its_contents_and_read_off_it_once(tree, tmp_path, monkeypatch):
    place = tmp_path / "kept" / "digests.json.gz"
    monkeypatch.setattr(digest, "_kept_in", lambda: place)
    monkeypatch.setattr(digest, "_unsaved", set())

    def found():
        """As a new process finds it."""
        digest._known.cache_clear()
        digest._parse.cache_clear()
        return code_digest("vialign.room.registry", root=tree)

    read_anew = found()
    kept = place.read_bytes()
    monkeypatch.setattr(digest.ast, "parse", lambda *arguments, **named: pytest.fail("read again"))
    assert found() == read_anew and place.read_bytes() == kept
    (tree / "vialign/base.py").write_text("VALUE = 2\n")
    with pytest.raises(pytest.fail.Exception, match="read again"):
        found()
    monkeypatch.undo()
    monkeypatch.setattr(digest, "_kept_in", lambda: place)
    assert found() != read_anew
    (tree / "vialign/base.py").write_text(TREE["base.py"])
    packed = [gzip.compress(text) for text in (b"", b"{}", b"[[1, 2]]", b'[["a", 1]]', b"\xff")]
    for broken in (b"", b"{}", kept[:-9], kept[:40] + b"x" + kept[41:], *packed):
        place.write_bytes(broken)
        assert found() == read_anew
    digest._known.cache_clear()
    digest._parse.cache_clear()


def test_nothing_is_kept_where_python_keeps_nothing(monkeypatch):
    for kept in (True, False):
        monkeypatch.setattr(sys, "dont_write_bytecode", not kept)
        digest._kept_in.cache_clear()
        assert (digest._kept_in() is not None) == kept
    digest._kept_in.cache_clear()
