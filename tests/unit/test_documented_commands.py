"""Every command that the README, the pages and the program itself name is run: long ones as a dry run."""

import os
import subprocess
from collections import defaultdict

import pandas as pd
import pytest
import yaml
from snakemake.cli import parse_args
from typer.main import get_command
from typer.testing import CliRunner

from documented import BLOCK, Told, told_commands, told_in_code, told_in_page
from vialign.cli.app import app
from vialign.config.experiment import load_config

CHEAP = (["config"], ["data", "notes"], ["benchmarks"], ["--version"], ["--help"])
"""What `vialign` does in a second and without the results of a run; these are carried out."""
GAP = "..."
"""What a page writes in the place of arguments that it leaves out."""


@pytest.fixture(scope="module")
def told(repository):
    return told_commands(repository)


def of(told, program):
    return [command for command in told if command.program == program]


def linked(tree, folder):
    """A folder that is like a fresh clone, but in which nothing of the tree can be changed by accident."""
    for name in ("Snakefile", "Makefile", "config.yaml", "configs", "profiles", "workflow", "src", "docs", "envs"):
        if (tree / name).exists():
            (folder / name).symlink_to(tree / name)
    return folder


def with_shown(folder, commands):
    """The YAML files that the pages show and their commands name, written where those look for them."""
    for name, content in {pair for command in commands for pair in command.shown}:
        if not (folder / name).exists():
            (folder / name).write_text(content, encoding="utf-8")


def experiments(commands):
    """What decides a dry run, the configuration and the profile, with all the targets that are asked of it.

    Everything else on the line is judged by Snakemake's own parser, which ends the test where it does not like it.
    """
    asked = defaultdict(set)
    for command in commands:
        arguments = [word for word in command.words[1:] if word != GAP]
        # A cluster's executor is a plugin of its own, which need not be installed to read the profile.
        _, given = parse_args([*_executor(arguments), *arguments])
        options = []
        for name in ("configfile", "config"):
            values = getattr(given, name) or ()
            options += [f"--{name}", *map(str, values)] if values else []
        if given.workflow_profile:
            options += ["--workflow-profile", str(given.workflow_profile)]
        asked[tuple(options)] |= set(given.targets)
    return asked


def _executor(arguments):
    return ["--executor", "local"] if "--workflow-profile" in arguments else []


def dry_run(python, folder, options, targets, source):
    return run(python, folder, ["-n", *options], targets, source)


def run(python, folder, options, targets, source):
    command = [python, "-m", "snakemake", "--executor", "local", "--quiet", "all", *options, "--", *sorted(targets)]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(source)}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)


def test_every_snakemake_command_of_the_pages_can_be_run(told, repository, warm, tmp_path):
    commands = [command for command in of(told, "snakemake") if not command.place.startswith("docs/extending/")]
    linked(repository, tmp_path)
    with_shown(tmp_path, commands)
    asked = experiments(commands)
    assert len(commands) > 20 and len(asked) > 3 and "compare_all" in asked[()]
    for options, targets in asked.items():
        done = dry_run(warm, tmp_path, options, targets, repository / "src")
        assert done.returncode == 0, f"{options} -- {targets}: {(done.stdout + done.stderr)[-2000:]}"


def test_every_command_of_the_worked_extensions_can_be_run_once_they_are_made(told, extended, warm, tmp_path):
    commands = [command for command in told if command.place.startswith("docs/extending/")]
    linked(extended, tmp_path)
    asked = experiments(of(commands, "snakemake"))
    assert len(asked) == 4
    for options, targets in asked.items():
        done = dry_run(warm, tmp_path, options, targets, extended / "src")
        assert done.returncode == 0, f"{options} -- {targets}: {(done.stdout + done.stderr)[-2000:]}"


def test_the_stage_of_the_worked_extensions_counts_the_captions_of_a_run(extended, warm, tmp_path):
    linked(extended, tmp_path)
    tiny = load_config(yaml.safe_load((extended / "configs/tiny.yaml").read_text(encoding="utf-8")))
    sizes = {split: 6 + place for place, split in enumerate(tiny.data.sizes)}
    (tmp_path / "few.yaml").write_text(yaml.safe_dump({"data": {"sizes": sizes}}), encoding="utf-8")
    options = ["--cores", "1", "--configfile", "configs/tiny.yaml", "few.yaml"]
    done = run(warm, tmp_path, options, ["lengths"], extended / "src")
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    table = pd.read_parquet(tmp_path / "results/lengths/captions.parquet").set_index("split")
    assert len(sizes) == 10 and table["captions"].to_dict() == {split: 5 * size for split, size in sizes.items()}
    assert (table["mean"] > 5).all() and (table["longest"] > table["mean"]).all()


def test_a_target_that_is_taken_for_a_configuration_is_noticed(repository, warm, tmp_path):
    linked(repository, tmp_path)
    asked = experiments(told_in_code("`snakemake --cores 2 --configfile configs/tiny.yaml all`", "x"))
    assert asked == {("--configfile", "configs/tiny.yaml", "all"): set()}
    assert dry_run(warm, tmp_path, *next(iter(asked.items())), repository / "src").returncode != 0


def test_every_target_of_make_is_there(told, repository):
    commands = of(told, "make")
    assert len({tuple(command.words) for command in commands}) > 5
    for words in sorted({tuple(command.words[1:]) for command in commands}):
        done = subprocess.run(["make", "-n", *words], cwd=repository, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"make {' '.join(words)}: {done.stderr}"


def test_every_script_that_is_to_be_run_is_there(told, repository):
    commands = [*of(told, "python"), *of(told, "pytest")]
    named = {(command.place, word) for command in commands for word in command.words if word.endswith(".py")}
    assert named and [name for name in named if not (repository / name[1]).is_file()] == []


def tools(command, path=()):
    """Every command and group of `vialign`, by its words."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from tools(inner, (*path, name))


TOOLS = dict(tools(get_command(app)))


def complaint(command):
    """What the parser of `vialign` says against a command, or None; of one with gaps, only its options count."""
    words = command.words[1:]
    path = next(tuple(words[:count]) for count in (2, 1, 0) if tuple(words[:count]) in TOOLS)
    tool, arguments = TOOLS[path], words[len(path) :]
    if hasattr(tool, "commands") and arguments and not arguments[0].startswith("--") and arguments != [GAP]:
        return f"no tool {arguments[0]!r} in {path}"
    # Of a mention, only the tool and the options must be there; so too of options that act as soon as they are read.
    if GAP in arguments or not arguments or not path:
        known = {"--help"} | {option for parameter in tool.params for option in parameter.opts}
        unknown = [word for word in arguments if word.startswith("--") and word not in known]
        return f"unknown: {unknown}" if unknown else None
    try:
        tool.make_context(" ".join(path), arguments)
    except Exception as error:  # whatever the parser has to say; Exit is how it answers --help
        return None if type(error).__name__ == "Exit" else str(error) or type(error).__name__
    return None


def test_every_command_of_vialign_has_its_parsers_consent(told, repository, monkeypatch):
    monkeypatch.chdir(repository)
    commands = [command for command in of(told, "vialign") if command.words[1:] != [GAP]]
    assert len({command.place for command in commands}) > 8 and len(commands) > 40
    assert [(command.place, command.line, said) for command in commands if (said := complaint(command))] == []


@pytest.mark.parametrize(
    "line",
    ["vialign confg check", "vialign config check", "vialign signal fit ... --uot units", "vialign explain a --out b"],
)
def test_a_wrong_command_of_vialign_is_noticed(line):
    if line == "vialign config check":  # a mention of the tool, not a call
        assert complaint(Told("x", line)) is None
        line += " --no-such-option"
    assert complaint(Told("x", line))


def test_the_cheap_commands_of_vialign_are_carried_out(told, repository, tmp_path, monkeypatch):
    commands = [command for command in of(told, "vialign") if not command.place.startswith("docs/extending/")]
    linked(repository, tmp_path)
    with_shown(tmp_path, commands)
    monkeypatch.chdir(tmp_path)
    lines = {tuple(command.words[1:]) for command in commands}
    cheap = [list(words) for words in sorted(lines) if any(list(words[: len(part)]) == part for part in CHEAP)]
    calls = [words for words in cheap if complaint(Told("x", " ".join(["vialign", *words]))) is None]
    ran = [words for words in calls if words[:2] != ["config", "check"] or len(words) > 2]
    assert ["config", "check", "config.yaml", "mine.yaml"] in ran and len(ran) > 4
    for words in ran:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"vialign {' '.join(words)}: {done.output}"


def test_every_configuration_that_a_page_shows_is_one(repository, monkeypatch):
    monkeypatch.delenv("VIALIGN_DATA", raising=False)
    pages = [repository / "README.md", *sorted((repository / "docs").rglob("*.md"))]
    blocks = [
        (page.name, block)
        for page in pages
        for language, block in BLOCK.findall(page.read_text(encoding="utf-8"))
        if language == "yaml"
    ]
    assert len(blocks) > 3
    for page, block in blocks:
        assert load_config(yaml.safe_load(block)), page


def test_commands_are_found_where_they_stand():
    page = "```yaml\nseed: 1\n```\n\n```sh\nA=b vialign config check \\\n    my.yaml > x  # so\n```\n\n"
    page += "`make\nrun`, `vialign`\n"
    first, second = told_in_page(page, "p.md")
    assert first.words == ["vialign", "config", "check", "my.yaml"] and first.shown == (("my.yaml", "seed: 1\n"),)
    assert second.words == ["make", "run"]
    (only,) = told_in_code("`snakemake {target}` and <code>snakemake --cores 2 -- all</code>", "p.py")
    assert only.words[-1] == "all" and only.program == "snakemake"
