"""What is written down twice about the project's make-up must agree."""

import re
import tomllib
from itertools import chain

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
    assert set(extras) == {"pipeline", "baselines", "bench", "cluster", "storage", "kubernetes", "test", "docs"}
    for requirement in map(Requirement, [*project["project"]["dependencies"], *chain(*extras.values())]):
        if requirement.name == "vialign":
            assert requirement.extras < set(extras)
        else:
            assert requirement.specifier.contains(constraints[canonicalize_name(requirement.name)]), str(requirement)


def test_what_runs_is_asked_for_as_ranges_and_pinned_in_the_constraints_alone(project, repository, constraints):
    extras = project["project"]["optional-dependencies"]
    for requirement in map(
        Requirement, [*project["project"]["dependencies"], *extras["pipeline"], *extras["baselines"]]
    ):
        assert {part.operator for part in requirement.specifier} <= {">=", "<"}, str(requirement)
    torch = constraints["torch"]
    tracked = ("Makefile", "Containerfile", "pyproject.toml", "envs/vialign.yaml", ".ci/run")
    tracked += (".github/workflows/test.yml", ".github/workflows/build.yml")
    assert [name for name in tracked if torch in (repository / name).read_text()] == []


def test_the_toolkit_asks_for_neither_snakemake_nor_peft(project):
    extras = project["project"]["optional-dependencies"]
    base = {Requirement(line).name for line in project["project"]["dependencies"]}
    assert not base & {"snakemake", "peft"}
    assert [Requirement(line).name for line in extras["pipeline"] + extras["baselines"]] == ["snakemake", "peft"]


def test_the_snakefile_asks_for_the_snakemake_that_the_package_asks_for(project, repository):
    (pipeline,) = map(Requirement, project["project"]["optional-dependencies"]["pipeline"])
    (asked,) = re.findall(r'^min_version\("(.+)"\)$', (repository / "Snakefile").read_text(), flags=re.MULTILINE)
    assert asked in {part.version for part in pipeline.specifier if part.operator == ">="}


def test_the_version_is_the_citations_and_the_changelogs(project, repository):
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    headings = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", (repository / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1] == (project["project"]["version"], citation["date-released"].isoformat())
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for _, date in headings[1:])
    assert citation["version"] == project["project"]["version"]
    assert citation["license"] == project["project"]["license"]
    assert citation["url"] == project["project"]["urls"]["Repository"]
    assert citation["keywords"] == project["project"]["keywords"]


def test_the_hooks_run_what_make_check_runs(repository):
    (targets,) = re.findall(
        r"--output-sync=target ([\w ]+)$", (repository / "Makefile").read_text(), flags=re.MULTILINE
    )
    hooks = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == [f"make {target}" for target in targets.split()]


def test_the_forms_and_workflows_of_github_are_yaml_with_what_it_asks_for(project, repository):
    folder = repository / ".github"
    for path in folder.glob("ISSUE_TEMPLATE/*.yml"):
        form = yaml.safe_load(path.read_text())
        if path.name != "config.yml":
            assert form["name"] and form["description"] and all(part["type"] for part in form["body"])
    jobs = {path.stem: yaml.safe_load(path.read_text())["jobs"] for path in folder.glob("workflows/*.yml")}
    tested = jobs["test"]["test"]
    versions = tested["strategy"]["matrix"]["python"]
    classifiers = project["project"]["classifiers"]
    assert [f"Programming Language :: Python :: {version}" for version in versions] == [
        name for name in classifiers if re.search(r":: 3\.\d+$", name)
    ]
    assert tested["steps"][-1] == {"run": "make test"}
    commands = [step["run"] for step in jobs["build"]["build"]["steps"] if "run" in step]
    assert commands == ["make docs wheel"]


def test_the_conda_environment_holds_the_same_requirements(project, repository):
    environment = yaml.safe_load((repository / "envs/vialign.yaml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = project["project"]["dependencies"] + extras["pipeline"] + extras["baselines"]
    assert environment["dependencies"][-1]["pip"] == wanted


def test_the_checked_layers_are_those_of_the_architecture_page(project, repository):
    contract = project["tool"]["importlinter"]["contracts"][0]
    layers = [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]
    page = (repository / "docs/architecture.md").read_text()
    rows = [set(re.findall(r"`(\w+)/?`", line.split("|")[1])) for line in page.splitlines() if line.startswith("| `")]
    assert [row for row in rows[: len(layers)]] == layers[::-1]


def test_the_profiles_name_only_rules_that_exist(repository):
    text = "".join(path.read_text() for path in (repository / "workflow/rules").glob("*.smk"))
    rules = set(re.findall(r"^ *(?:rule|checkpoint|use rule \w+ as) (\w+)(?: with)?:", text, flags=re.MULTILINE))
    profiles = list((repository / "profiles").glob("*/config.yaml"))
    assert len(profiles) == 3
    asking = {}
    for path in profiles:
        text = path.read_text()
        for with_gpus in (False, True):  # as docs/cluster.md turns the comments into requests
            profile = yaml.safe_load(re.sub(r"# (.*gpu: 1)", r"\1", text) if with_gpus else text)
            resources = profile.get("set-resources", {})
            named = {*profile.get("set-threads", {}), *resources}
            assert named <= rules, f"{path}: {named - rules}"
            asking[path.parent.name, with_gpus] = {rule for rule, asked in resources.items() if "gpu" in asked}
    assert not any(asking[name, False] for name in ("default", "slurm", "kubernetes"))
    assert asking["default", True] == asking["slurm", True] >= {"extract_features", "train_final", "stress", "ledger"}


def test_what_the_package_ships_beside_its_code_is_declared(project, repository):
    declared = project["tool"]["setuptools"]["package-data"]
    patterns = [(name.replace(".", "/"), glob) for name, globs in declared.items() for glob in globs]
    shipped = {path for folder, glob in patterns for path in (repository / "src" / folder).glob(glob)}
    present = {
        path
        for path in (repository / "src/vialign").rglob("*")
        if path.is_file() and path.suffix != ".py" and not path.name.startswith(".") and "__pycache__" not in path.parts
    }
    assert present == shipped
