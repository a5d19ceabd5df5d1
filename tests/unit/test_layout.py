"""The make-up of the tree: short files, scripts that only connect, and the counts that docs/measurements.md gives."""

import re

import pytest

SCRIPT = re.compile(
    r"from vialign\.stage import stage\n\n"
    r"with stage\(snakemake\) as run:\n"
    r"    from vialign\.[\w.]+ import (\w+)\n\n"
    r"    \1\(run\)\n"
)
"""The imports and the one call that a script is: no loop, no branch, no function, no file and no value of its own."""
CONNECTS = """from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.a.b_job import c

    c(run)
"""


def test_every_script_of_a_rule_is_imports_and_one_call(repository):
    scripts = sorted((repository / "workflow/scripts").glob("*.py"))
    assert len(scripts) > 40
    assert [path.name for path in scripts if not SCRIPT.fullmatch(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "body",
    [
        *("for i in run.input: c(i)", "c(run) if run else 1", "[c(i) for i in run]", "run and c(run)", "def d(): 1"),
        *("c(run)\n    c(run)", "a = 1\n    c(run)", "import d\n    c(run)", "a = c(run)", "c", ""),
        *("c(run.config)", "c(run, 1)", "c(run=run)", "c()", "d(run)", "c(run).e"),
    ],
)
def test_a_script_of_another_shape_is_noticed(body):
    assert SCRIPT.fullmatch(CONNECTS)
    assert not SCRIPT.fullmatch(CONNECTS.replace("c(run)\n", f"{body}\n"))


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
