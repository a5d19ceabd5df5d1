"""The make-up of the tree: short files, scripts that only connect, and the counts that docs/measurements.md gives."""

import ast
import re

import pytest

DECIDES = (
    *(ast.For, ast.While, ast.If, ast.IfExp, ast.Try, ast.Match, ast.BoolOp, ast.Lambda, ast.FunctionDef),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


def deciding(source):
    """Lines of a script that hold a loop, a branch or a function."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, DECIDES)]


def test_no_script_of_a_rule_holds_a_loop_a_branch_or_a_function(repository):
    scripts = sorted((repository / "workflow/scripts").glob("*.py"))
    assert len(scripts) > 40
    assert {path.name: lines for path in scripts if (lines := deciding(path.read_text()))} == {}


@pytest.mark.parametrize(
    "line", ["for i in x: i", "a = 1 if b else 2", "a = [b for b in c]", "a = b or c", "def f(): 1"]
)
def test_what_decides_is_noticed(line):
    assert deciding(line) and not deciding("with a as b:\n    from c import d\n    d(b, e=f[g == h])")


@pytest.fixture(scope="module")
def counted(repository):
    """The table of docs/measurements.md: task or count to its last cell."""
    page = (repository / "docs/measurements.md").read_text(encoding="utf-8")
    table = page.partition("| task | before |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]
    return {row[0]: row[-1] for row in rows}


@pytest.mark.parametrize(
    ("task", "diff"),
    [
        ("a baseline", "baseline"),
        ("a fourth curriculum module", "module"),
        ("a data set", "dataset"),
        ("a benchmark", "benchmark"),
        ("a stage with its part of the report", "stage"),
        ("a change of the signal C", "signal"),
        ("a column", "column"),
    ],
)
def test_a_change_touches_as_many_files_as_the_page_says(repository, counted, task, diff):
    files = re.findall(r"^diff --git", (repository / f"docs/extending/{diff}.diff").read_text(), flags=re.MULTILINE)
    assert counted[task].startswith(f"{len(files)} + ")


def test_files_are_short_and_few_modules_stand_at_the_top(repository, counted):
    package = repository / "src/vialign"
    longest = max(len(path.read_text(encoding="utf-8").splitlines()) for path in package.rglob("*.py"))
    assert longest < 400
    assert len([path for path in package.glob("*.py") if path.name != "__init__.py"]) == 11
    assert counted["longest Python file in `src`"] == "under 400"
    assert counted["top-level modules of the package"] == "11"
