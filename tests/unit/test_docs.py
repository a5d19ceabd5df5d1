"""The documentation says what is so: generated pages are fresh, examples run, diffs apply, lists are whole."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from documentation import build, faults, read_page
from vialign import results
from vialign.catalogue import METHODS
from vialign.config.experiment import Config
from vialign.config.reference import reference_page, type_words
from vialign.errors import UserError
from vialign.files.text import with_block
from vialign.methods import listing
from vialign.report.evidence import read_evidence
from vialign.report.sections import SECTIONS, opening

NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*")
INTERVAL = re.compile(r"\[[^]]*\d[^]]*\]\*?")


def without_numbers(page):
    """The page with the numbers, stars and verdicts on times out of what its cells printed, which no two runs share."""
    parts = re.split(r"(```text\n.*?```)", page, flags=re.DOTALL)
    for place, part in enumerate(parts):
        if part.startswith("```text"):
            lines = (INTERVAL.sub("[]", line) for line in part.splitlines())
            lines = (re.sub("kept|BROKEN", "?", line) if "beyond the reference" in line else line for line in lines)
            parts[place] = "\n".join(" ".join(NUMBER.sub("#", line).split()) for line in lines)
    return "".join(parts)


def aucs(table, kind):
    """AUC and star of each score in the row of a kind of wrong caption."""
    (row,) = re.findall(rf"^{kind} .*$", table, re.MULTILINE)
    return [(float(value), star) for value, star in re.findall(r"(\d\.\d\d) \[[^]]*\](\*?)", row)]


def environment(**changes):
    return {**os.environ, "OMP_NUM_THREADS": "1", "NO_MKDOCS_2_WARNING": "1", **changes}


@pytest.fixture(scope="module")
def rendered(repository, warm, tmp_path_factory):
    """The page of an example script, made now."""
    made = {}

    def render(name):
        if name not in made:
            page = tmp_path_factory.mktemp("examples") / f"{name}.md"
            folder = repository / "docs" / "examples"
            command = [warm, str(folder / "render.py"), str(folder / f"{name}.py"), str(page)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
            assert done.returncode == 0, done.stderr[-3000:]
            made[name] = page.read_text(encoding="utf-8")
        return made[name]

    return render


@pytest.mark.parametrize("name", ["measure_budget", "verify_signal"])
def test_an_example_page_is_what_its_script_prints(repository, rendered, name):
    page = (repository / "docs" / "examples" / f"{name}.md").read_text(encoding="utf-8")
    assert without_numbers(rendered(name)) == without_numbers(page), "run `make examples`"


def test_the_examples_show_what_their_text_claims(rendered):
    allowed, control = re.findall(r"```text\nAUC.*?```", rendered("verify_signal"), re.DOTALL)
    assert "Verdict: do not use agreement here. It is not shown that agreement adds to s_global" in allowed
    assert "Verdict: do not use agreement here." in control
    agreement, _, s_global = aucs(allowed, "swap_attributes")[:3]
    assert 0.6 < agreement[0] <= s_global[0] and agreement[1] == s_global[1] == "*"
    for kind in ("random", "swap_roles", "swap_attributes", "replace_relation", "shuffle"):
        assert all(star == "" for _, star in aucs(control, kind)[:5]), "a score that looks at the image keeps its star"
    budget = rendered("measure_budget")
    assert re.search(r"4,096 beyond the backbone, 0.196 % of it +limit 2 %: kept", budget)
    assert "largest rank inside the budget: 163, with 41,728 extra parameters" in budget
    assert "15.9 % extra parameters, limit 2 %: it is broken" in budget


def test_masked_numbers_hide_no_word():
    assert without_numbers("a 1\n```text\nAUC 0.5 [0.1, 0.9]* kept\n```") == "a 1\n```text\nAUC # [] kept\n```"
    assert without_numbers("```text\n1 % beyond the reference  limit 10 %: BROKEN\n```").count("?") == 1


def test_the_configuration_page_is_the_generated_one_and_explains_every_key(repository):
    page = (repository / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == reference_page(), "run `make schema`"
    rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in page.splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows if len(row) != 4] == [], "a key without a docstring under it in vialign.config"
    keys = {row[0].strip("`"): row[1:] for row in rows}
    assert len(keys) == len(rows)
    assert keys["signal.bootstrap"][:2] == ["integer ≥ 1", "`2000`"]
    assert keys["gates.signal.minimum_auc"][:2] == ["number in [0, 1]", "`0.5`"]
    assert keys["data.benchmarks.NAME.folder"][:2] == ["text", "required"]
    assert keys["evaluation.expected[].percent"][:2] == ["number in [0, 100]", "required"]
    assert {"name", "training.monitor.window", "baselines.filip_pooled"} <= set(keys)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"type": "integer", "minimum": 2}, "integer ≥ 2"),
        ({"type": "number", "exclusiveMinimum": 0}, "number > 0"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number in (0, 1]"),
        ({"type": "number", "exclusiveMaximum": 1}, "number < 1"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"enum": ["a", "b"], "type": "string"}, '`"a"` or `"b"`'),
        ({"type": "array", "items": {"type": "boolean"}}, "list of true or false"),
        ({"type": "array", "prefixItems": [{"type": "integer"}] * 2}, "list of 2: integer, integer"),
        (
            {"type": "object", "additionalProperties": {"type": "integer", "maximum": 9}},
            "mapping of names to integer ≤ 9",
        ),
    ],
)
def test_types_are_told_in_words(node, words):
    assert type_words(node) == words


def test_every_method_has_its_place_on_the_page(repository):
    page = (repository / "docs/methods.md").read_text(encoding="utf-8")
    told = {
        name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`([a-z-]+)`", row)
    }
    assert told == set(METHODS)


@pytest.mark.parametrize(("page", "made"), [("methods", listing), ("architecture", results)])
def test_generated_lists_are_fresh(repository, page, made):
    text = (repository / f"docs/{page}.md").read_text(encoding="utf-8")
    assert with_block(text, page, made.MARKS, made.listing()) == text, "run `make schema`"
    with pytest.raises(UserError, match="has not the lines"):
        with_block("no marks", page, made.MARKS, "")


def test_every_result_is_an_output_of_the_rule_that_it_names(repository):
    rules = "".join(path.read_text() for path in (repository / "workflow/rules").glob("*.smk"))
    parts = re.split(r"^(?:rule|checkpoint|use rule \w+ as) (\w+)(?: with)?:$", rules, flags=re.MULTILINE)
    bodies = dict(zip(parts[1::2], parts[2::2], strict=True))
    # Rules that stand twice, for one seed and for all of them, name their files once, in a table.
    for table, files in re.findall(r"^(EARLY|FINAL) = {(.*?)^}", rules, flags=re.MULTILINE | re.DOTALL):
        paths = [f'f"{{RESULTS}}/train/{{{{method}}}}/{{{{seed}}}}/{name}"' for name in re.findall(r': "(.+)"', files)]
        assert paths
        bodies = {rule: body.replace(f"**trained({table})", "\n".join(paths)) for rule, body in bodies.items()}
    made = 'f"{RESULTS}/evaluate/{{method}}/{{seed}}/{name}.parquet"'
    assert made in rules
    for name in ("outcomes", "reranking", "ranks"):
        path = made.replace("{name}", name)
        bodies["evaluate_method"] = bodies["evaluate_method"].replace(f'EVALUATED["{name}"]', path)
    for result in results.RESULTS_OF_A_RUN:
        if result.rule:
            path = result.path.replace("{", "{{").replace("}", "}}")
            assert f'f"{{RESULTS}}/{path}"' in bodies[result.rule], result.name
    assert len(results.NAMED) == len(results.RESULTS_OF_A_RUN)


def test_every_section_of_the_report_is_explained_in_its_order(repository, tmp_path):
    evidence = read_evidence(tmp_path, Config())
    titles = [make(evidence, Config()).title for make in (opening, *SECTIONS)]
    headings = re.findall(r"^## (.+)$", (repository / "docs/report.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [titles[0], "Design review", *titles[1:]]


def test_the_pages_ask_the_network_for_nothing(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = re.findall(
            r'<(?:script|img|link|iframe)[^>]*?(?:src|href)="?([^" >]+)', page.read_text(encoding="utf-8")
        )
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == [], page
    assert not list(site.rglob("*.diff")) and (site / "examples/verify_signal.py").is_file()
    assert not (site / "tools").exists() and not (site / "examples/render.py").exists()


def test_no_page_is_empty_keeps_a_fence_or_leads_nowhere(site):
    assert faults(site) == []


def test_a_fence_that_swallows_the_page_and_a_dead_link_are_noticed(site, tmp_path):
    page = "<article><p>```yaml quick.yaml\n</p><a href='#no'>1</a><a href='no.html'>2</a><a href='?'>3</a></article>"
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    assert [fault.partition(": ")[2] for fault in faults(tmp_path)] == [
        "this is left of a block: ```yaml quick.yaml",
        "says nothing",
        "#no names no part of that page",
        "no.html leads nowhere",
        "? leads nowhere",
    ]


@pytest.fixture
def pages(repository, tmp_path):
    """A copy of the pages that a test may spoil."""
    for needed in ("material", "latex2mathml"):
        pytest.importorskip(needed, reason="the extra `docs` is not installed")
    shutil.copytree(repository / "docs", tmp_path / "docs")
    shutil.copy(repository / "mkdocs.yml", tmp_path)
    return tmp_path


def test_a_broken_link_and_a_page_without_a_place_break_the_build(pages):
    (pages / "docs/orphan.md").write_text("nobody links here", encoding="utf-8")
    with (pages / "docs/index.md").open("a", encoding="utf-8") as file:
        file.write("\n[gone](gone.md) [nowhere](concepts.md#nowhere) [outside](../README.md)\n")
    done = build(pages, pages / "site")
    assert done.returncode == 1
    for broken in ("gone.md", "#nowhere", "../README.md", "orphan.md"):
        assert broken in done.stderr


def test_formulas_are_drawn_without_a_script_and_a_wrong_one_breaks_the_build(site, pages):
    html = (site / "method.html").read_text(encoding="utf-8")
    assert html.count("<math") > 20 and "arithmatex" not in html and "\\text" not in html
    with (pages / "docs/theory.md").open("a", encoding="utf-8") as file:
        file.write("\n$$\n\\nosuchcommand{x}\n$$\n")
    done = build(pages, pages / "site")
    assert done.returncode == 1 and "theory.md: the formula" in done.stderr and "nosuchcommand" in done.stderr


def test_the_map_is_drawn_from_the_rules_as_they_are(repository, warm, tmp_path):
    script = repository / "docs/tools/draw_map.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "map.svg")], check=True)
    drawn = (tmp_path / "map.svg").read_text(encoding="utf-8")
    assert drawn == (repository / "docs/images/map.svg").read_text(encoding="utf-8"), "run `make examples`"
    shown = set(", ".join(re.findall(r'class="rule">([^<]*?),?<', drawn)).split(", "))
    stages = set(re.findall(r'class="stage">([^<]*)<', drawn))
    command = [warm, "-m", "snakemake", "--list-rules", "--config", f"results={tmp_path}/results"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, env=environment(), check=True)
    rules = set(done.stdout.split())
    assert len(shown) > 30 and shown <= rules
    assert rules - shown <= stages | {"all", "search"}, "only targets without a file are left out"


CITED = re.compile(r"docs/method\.md(?:#([\w-]+))?")
TREES = ("src", "tests", "workflow", "docs", "configs")


def cited_sections(repository):
    """Sections of docs/method.md that anything in the tree names, with the file that does; empty for the whole page."""
    kinds = {".py", ".smk", ".md", ".yaml", ".rst", ".json"}
    files = [path for tree in TREES for path in (repository / tree).rglob("*") if path.suffix in kinds]
    found = {}
    for path in (path for path in files if path.name != "test_docs.py"):
        for anchor in CITED.findall(path.read_text(encoding="utf-8")):
            found.setdefault(anchor, path.relative_to(repository).as_posix())
    return found


def test_every_section_of_the_method_that_is_cited_is_there(repository, site):
    cited = cited_sections(repository)
    assert len(cited) > 6 and "src/vialign/signal/score.py" in cited.values()
    there = read_page(site / "method.html").anchors
    assert {anchor: file for anchor, file in cited.items() if anchor not in there} == {}


def test_every_citation_of_the_method_names_a_section(repository):
    assert cited_sections(repository).get("") is None, "a citation of the whole page, which shows nobody the place"
    assert CITED.findall("docs/method.md#24-sizes, (docs/method.md) and docs/method.md.") == ["24-sizes", "", ""]


def test_nothing_cites_a_document_that_is_not_in_the_repository(repository):
    outside = re.compile(
        r"(?<!docs/)(?<!\()(?<!\.\./)\bmethod\.md|\b(?:the|research) proposal\b|proposal \d", re.IGNORECASE
    )
    kinds = {".py", ".smk", ".yaml", ".md"}
    files = [path for tree in TREES for path in (repository / tree).rglob("*") if path.suffix in kinds]
    found = [
        f"{path.relative_to(repository)}: {line.strip()}"
        for path in [repository / "README.md", *files]
        if path.name != "test_docs.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if outside.search(line)
    ]
    assert found == []


def test_a_profile_named_as_the_page_says_sets_its_resources(repository, warm, tmp_path):
    page = (repository / "docs/cluster.md").read_text(encoding="utf-8")
    assert "snakemake --workflow-profile profiles/slurm -- all" in page
    profile = yaml.safe_load((repository / "profiles/slurm/config.yaml").read_text())
    command = [warm, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--executor", "local"]
    command += ["--dry-run", "--config", f"results={tmp_path}", "--", f"{tmp_path}/features/train/images"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    # Jobs of a group are indented.
    resources = re.findall(
        r"^ *rule (\w+):.*?^ +resources: (.*?)$", done.stdout + done.stderr, re.MULTILINE | re.DOTALL
    )
    of = {rule: dict(item.split("=", 1) for item in found.split(", ")) for rule, found in resources}
    assert of["prepare_data"]["mem_mb"] == str(profile["default-resources"]["mem_mb"])
    assert of["prepare_data"]["runtime"] == str(profile["default-resources"]["runtime"])
    assert of["extract_features"]["mem_mb"] == str(profile["set-resources"]["extract_features"]["mem_mb"])


def test_what_the_worked_diffs_add_passes_its_tests(extended, warm):
    chosen = ["unit/baselines/test_conformance.py", "unit/data/test_own.py", "unit/data/test_checking.py"]
    chosen += ["unit/curriculum/test_temper.py", "unit/test_docs.py", "unit/data/test_pairs.py"]
    chosen += ["unit/analysis/test_lengths.py", "unit/evaluation/test_agreement_rho.py", "unit/signal/test_harmonic.py"]
    names = "linear or vialign-temper or correct-temper or test_own or (data and own) or test_temper"
    names += " or test_pairs or test_lengths or test_agreement_rho or test_harmonic or output_of_the_rule"
    command = [warm, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    command += [*(f"tests/{path}" for path in chosen), "-k", names]
    settings = environment(PYTHONPATH=str(extended / "src"))
    done = subprocess.run(command, cwd=extended, capture_output=True, text=True, env=settings, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 80


def test_the_new_code_of_the_diffs_is_in_the_house_style(extended):
    diffs = "".join(path.read_text(encoding="utf-8") for path in (extended / "docs/extending").glob("*.diff"))
    new = re.findall(r"^--- /dev/null\n\+\+\+ b/(\S+\.py)$", diffs, re.MULTILINE)
    assert len(new) == 12
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, *new]
        done = subprocess.run(command, cwd=extended, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
