"""Every command tells what it does, with an example that its own parser accepts."""

import ast
import re
import shlex
import tomllib
from collections import Counter, defaultdict

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import vialign
from vialign.cli.app import app

EXAMPLE = re.compile(r"Example: `(vialign [^`]+)`")

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
OTHERS = {
    "snakemake": {"--cores", "--configfile", "--workflow-profile"},
    "torchrun": {"--nproc-per-node", "--standalone", "--nnodes", "--master-addr", "--master-port"},
    "srun": {"--nodes", "--ntasks-per-node", "--cpus-per-task", "--kill-on-bad-exit"},
    "pytest": {"--doctest-modules"},
    "the code of FSC-CLIP's authors": {"--sim-sparsify"},
    "colours of a page": {"--ink", "--muted", "--grid", "--series"},
}
"""Options of other programs that the sources name, and what else looks like one."""


def commands(command, path=()):
    """Every command that does something, by its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, found in inner.items():
        yield from commands(found, (*path, name))


COMMANDS = dict(commands(get_command(app)))


def test_every_tool_is_found():
    assert {("budget",), ("config", "reference"), ("data", "check"), ("signal", "score")} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_says_what_it_does_and_ends_in_an_example_that_parses(words, repository, monkeypatch):
    monkeypatch.chdir(repository)
    command = COMMANDS[words]
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0 and "Example: " in shown.output
    told = " ".join(command.help.split())
    assert told.endswith("`") and told.count("Example: ") == 1 and not told.startswith("Example")
    (example,) = EXAMPLE.findall(told)
    assert shlex.split(example)[1 : 1 + len(words)] == list(words)
    arguments = shlex.split(example.partition(" > ")[0])[1 + len(words) :]
    command.make_context(" ".join(words), arguments)
    with pytest.raises(Exception, match="[Nn]o such option"):
        command.make_context(" ".join(words), [*arguments, "--no-such-option"])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_argument_and_option_is_explained(words):
    unexplained = [parameter.name for parameter in COMMANDS[words].params if not getattr(parameter, "help", None)]
    assert unexplained == []


def options_of(command):
    """Every option of a command and of the commands below it."""
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(options_of(inner) for inner in getattr(command, "commands", {}).values()))


def options_told(source):
    """Every option that a text in some source names."""
    texts = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {option for text in texts if isinstance(text, str) for option in OPTION.findall(text)}


def test_every_option_that_a_message_names_is_one_of_some_command(repository):
    known = options_of(get_command(app)) | {"--help"}
    others = set().union(*OTHERS.values())
    told = {}
    for path in sorted((repository / "src").rglob("*.py")):
        for option in options_told(path.read_text(encoding="utf-8")):
            told.setdefault(option, path.relative_to(repository).as_posix())
    assert {"--out", "--pretrained", "--with-backbone"} <= set(told) & known
    assert {option: place for option, place in told.items() if option not in known | others} == {}
    assert others <= set(told) and not others & known, "an option that nothing names any more, or that vialign has"


def test_an_option_is_found_where_a_text_names_it():
    source = 'raise E(f"{x}: give --no-such FILE, or " "--other-one")  # --remark\nstyle("a--b")'
    assert options_told(source) == {"--no-such", "--other-one"}


OWN_MEANINGS = {"--batch", "--config", "--data", "--html", "--images", "--model", "--out", "--pipeline", "--pretrained"}
OWN_MEANINGS |= {"--published", "--results", "--seed", "--units"}
"""Options that mean different things to different commands; every other means the same wherever it stands."""


def test_an_option_means_the_same_wherever_it_stands():
    meant = defaultdict(set)
    for command in COMMANDS.values():
        for parameter in command.params:
            for flag in parameter.opts if parameter.param_type_name == "option" else ():
                meant[flag].add(parameter.help)
    assert {flag for flag, texts in meant.items() if len(texts) > 1} == OWN_MEANINGS
    assert {"--device", "--json", "--strict", "--tolerance"} <= set(meant)


def declared(source):
    """Every declaration of an argument or option in a module."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in calls if ast.unparse(call.func) in ("typer.Option", "typer.Argument")]


def test_nothing_is_declared_twice(repository):
    sources = [path.read_text(encoding="utf-8") for path in (repository / "src/vialign/cli").glob("*.py")]
    counted = Counter(call for source in sources for call in declared(source))
    assert len(counted) > 60 and [call for call, count in counted.items() if count > 1] == []
    assert declared("A = Annotated[int, typer.Option(min=1)]\n" * 2) == ["typer.Option(min=1)"] * 2


def test_the_first_page_names_every_tool_and_how_to_complete_it():
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert all(f" {words[0]} " in shown for words in COMMANDS)
    for option in ("--version", "--install-completion", "--show-completion"):
        assert option in shown


def test_the_version_is_that_of_the_project(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert CliRunner().invoke(app, ["--version"]).output == f"vialign {project['version']}\n"
    assert vialign.__version__ == project["version"]


@pytest.mark.parametrize(("typed", "completed"), [("vialign con", "config"), ("vialign signal sc", "score")])
def test_a_shell_completes_commands(typed, completed):
    count = len(typed.split()) - 1
    ask = {"_VIALIGN_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(count)}
    answer = CliRunner().invoke(app, [], env=ask, prog_name="vialign")
    assert completed in answer.output.split()
