"""What is written down twice about the project's make-up must agree."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def constraints(repository):
    lines = (repository / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), (
        "only name==version, no host, no local version"
    )
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_every_requirement_is_pinned_inside_its_range(project, constraints):
    extras = project["project"]["optional-dependencies"]
    assert set(extras) == {"test", "docs"}
    for requirement in map(Requirement, [*project["project"]["dependencies"], *extras["test"], *extras["docs"]]):
        assert requirement.specifier.contains(constraints[canonicalize_name(requirement.name)]), str(requirement)


def test_the_conda_environment_holds_the_same_requirements(project, repository):
    environment = yaml.safe_load((repository / "envs/vialign.yaml").read_text())
    assert environment["dependencies"][-1]["pip"] == project["project"]["dependencies"]


def test_the_checked_layers_are_those_of_the_architecture_page(project, repository):
    contract = project["tool"]["importlinter"]["contracts"][0]
    layers = [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]
    page = (repository / "docs/architecture.md").read_text()
    rows = [set(re.findall(r"`(\w+)/?`", line.split("|")[1])) for line in page.splitlines() if line.startswith("| `")]
    assert [row for row in rows[: len(layers)]] == layers[::-1]


def test_the_profiles_name_only_rules_that_exist(repository):
    text = "".join(path.read_text() for path in (repository / "workflow/rules").glob("*.smk"))
    rules = set(re.findall(r"^(?:rule|checkpoint) (\w+):", text, flags=re.MULTILINE))
    profiles = list((repository / "profiles").glob("*/config.yaml"))
    assert len(profiles) == 3
    for path in profiles:
        profile = yaml.safe_load(path.read_text())
        named = {*profile.get("set-threads", {}), *profile.get("set-resources", {})}
        assert named <= rules, f"{path}: {named - rules}"


def test_what_the_package_ships_beside_its_code_is_declared(project, repository):
    declared = project["tool"]["setuptools"]["package-data"]
    patterns = [(name.replace(".", "/"), glob) for name, globs in declared.items() for glob in globs]
    shipped = {path for folder, glob in patterns for path in (repository / "src" / folder).glob(glob)}
    present = {
        path
        for path in (repository / "src/vialign").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and not path.name.startswith(".")
    }
    assert present == shipped
