"""The image of a job, and the profile that runs it, as far as both can be held without an engine or a cluster."""

import importlib.util
import re
import shlex
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from snakemake.cli import get_argument_parser, parse_args

PLUGIN = "snakemake_executor_plugin_kubernetes"


def instructions(text):
    """The instructions of a Containerfile, each with its words; a line that ends in a backslash goes on."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line and not line.startswith("#")]


def copied(text):
    """What is copied from the tree: not what one stage takes from another."""
    words = [rest.split() for name, rest in instructions(text) if name == "COPY" and not rest.startswith("--from=")]
    return [source for line in words for source in line[:-1]]


def complaints(text, project, tree, carried):
    """What does not hold of a Containerfile."""
    found = [f"{source} is not in the tree" for source in copied(text) if not (tree / source).exists()]
    needed = [*carried, project["readme"], *project["license-files"], "pyproject.toml", "setup.py", "src"]
    there = {source.split("/")[0] for source in copied(text)}
    found += [f"the wheel needs {name}" for name in needed if name.split("/")[0] not in there]
    runs = [rest for name, rest in instructions(text) if name == "RUN"]
    (asked,) = [re.search(r"\[([\w,]+)\]\"$", line) for line in runs if ".whl" in line]
    unknown = set(asked.group(1).split(",")) - set(project["optional-dependencies"])
    found += [f"no extra {name}" for name in sorted(unknown)]
    packages = [word for line in runs for word in re.findall(r"pip install [-\w ]*?((?: (?!-)[\w]+)+)$", line)]
    known = {Requirement(line).name for line in project["dependencies"]}
    found += [f"{word} is no dependency" for word in " ".join(packages).split() if word not in known]
    names = [name for name, _ in instructions(text)]
    user = next(rest for name, rest in reversed(instructions(text)) if name == "USER")
    if not (user.isdigit() and int(user) > 0 and "RUN" not in names[names.index("USER") :]):
        found.append("the user must be a number, not root, and set after what root installs")
    command = yaml.safe_load(dict(instructions(text))["CMD"])
    if command[0] not in project["scripts"]:
        found.append(f"no program {command[0]}")
    (python,) = re.findall(r"^ARG BASE=\S*/python:(\d\.\d+)-slim$", text, flags=re.MULTILINE)
    if f"Programming Language :: Python :: {python}" not in project["classifiers"]:
        found.append(f"Python {python} is not tested")
    return found


@pytest.fixture(scope="module")
def container(repository):
    return (repository / "Containerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def carried(repository):
    source = (repository / "setup.py").read_text(encoding="utf-8")
    return re.findall(r'^    "(\S+)",$', source, flags=re.MULTILINE)


def test_the_image_is_made_of_what_is_there(container, project, repository, carried):
    assert len(carried) > 5 and len(copied(container)) > 8
    assert complaints(container, project, repository, carried) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("COPY workflow workflow\n", "", "the wheel needs workflow/rules"),
        ("COPY src src", "COPY sources src", "sources is not in the tree"),
        ("baselines,kubernetes", "baselines,kubernets", "no extra kubernets"),
        ("torch torchvision", "torch torchvisoin", "torchvisoin is no dependency"),
        ("USER 1000", "USER root", "the user must be a number"),
        ('CMD ["vialign"', 'CMD ["vialing"', "no program vialing"),
        ("python:3.12", "python:3.10", "Python 3.10 is not tested"),
    ],
)
def test_what_is_not_there_is_noticed(container, project, repository, carried, old, new, said):
    assert container.count(old) == 1
    found = complaints(container.replace(old, new), project, repository, carried)
    assert any(line.startswith(said) for line in found)


def test_the_page_and_the_workflow_build_the_image_by_the_same_command(repository):
    page = (repository / "docs/cluster.md").read_text(encoding="utf-8")
    steps = yaml.safe_load((repository / ".github/workflows/build.yml").read_text())["jobs"]["image"]["steps"]
    commands = [shlex.split(line) for step in steps if "run" in step for line in step["run"].splitlines()]
    builds = [words for words in commands if words[:2] == ["docker", "build"]]
    assert [words[words.index("--file") + 1] for words in builds] == ["Containerfile"]
    assert "docker build --file Containerfile --tag IMAGE ." in page


def unknown_options(profile, parser):
    """The keys of a profile that Snakemake has no option for."""
    known = {option for action in parser._actions for option in action.option_strings}
    return [key for key in profile if f"--{key}" not in known]


def test_every_key_of_the_profiles_is_an_option_of_snakemake(repository):
    parser = get_argument_parser()
    for path in sorted((repository / "profiles").glob("*/config.yaml")):
        profile = yaml.safe_load(path.read_text(encoding="utf-8"))
        executor = profile.get("executor")
        if executor and importlib.util.find_spec(f"snakemake_executor_plugin_{executor}") is None:
            pytest.skip(f"the plugin of {executor} is not installed")
        assert unknown_options(profile, parser) == [], path
        assert unknown_options({**profile, "set-treads": {}}, parser) == ["set-treads"]


def test_no_profile_asks_for_more_threads_than_its_cores(repository):
    """Snakemake gives a rule no more than `cores`, whatever `set-threads` says, and says nothing."""
    profiles = [yaml.safe_load(path.read_text()) for path in (repository / "profiles").glob("*/config.yaml")]
    limited = [profile for profile in profiles if "cores" in profile]
    assert limited and all(max(profile["set-threads"].values()) <= profile["cores"] for profile in limited)


def test_snakemake_reads_the_profile_of_kubernetes_as_it_stands(repository):
    pytest.importorskip(PLUGIN, reason="the extra `kubernetes` is not installed")
    storage = ["--default-storage-provider", "s3", "--default-storage-prefix", "s3://bucket/vialign"]
    folder = repository / "profiles/kubernetes"
    _, given = parse_args(["--workflow-profile", str(folder), "--container-image", "image", *storage, "--", "all"])
    said = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert given.executor == "kubernetes" and given.jobs == said["jobs"] and given.retries == said["retries"]
    assert given.set_threads == said["set-threads"]
    asked = {
        rule: {name: given.set_resources[rule][name].value for name in of} for rule, of in said["set-resources"].items()
    }
    assert asked == said["set-resources"]
    assert given.targets == {"all"} or list(given.targets) == ["all"]
