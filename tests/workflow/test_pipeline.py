"""The real pipeline on configs/tiny.yaml: it runs, it is complete, it re-runs only what a change touches, it stops."""

import base64
import html
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

import vialign
from declared import declared_sections, leaves, read_sections, with_another
from job_files import Files
from vialign.aligner.export import aligner_of_run, run_config, write_export
from vialign.backbone import load_backbone
from vialign.benchmarking.measuring import measure
from vialign.cli.app import app
from vialign.config.experiment import Config, load_config
from vialign.config.sections import WHERE, WHO, section_digests
from vialign.data.base import TABLES, DatasetTables
from vialign.data.benchmarks.winoground import image_name, write_published
from vialign.data.folders import image_folders
from vialign.data.scenes.draw import draw_scene
from vialign.data.scenes.sampling import sample_scenes, twin
from vialign.evaluation.backbones_job import frozen_outcomes
from vialign.files.artifacts import read_provenance, read_table, read_tensors, write_table
from vialign.names import MEASURES, RECALLS
from vialign.report import figures
from vialign.report.build import render_report
from vialign.report.compare_all import build_compare_all
from vialign.report.evidence import FILE, Evidence, read_evidence
from vialign.stage import Run
from vialign.tables.evaluation import COMPARISONS, OUTCOMES, RESULTS
from vialign.tables.gates import VERDICT
from vialign.tables.training import SEARCH
from warm_python import FIRST_COLD

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.workflow
KNOWN = """
evaluation:
  expected:
    - {benchmark: test/text_to_image, metric: r1, percent: 99.9, tolerance: 0.05, source: nobody}
"""


Program = Callable[..., subprocess.CompletedProcess[str]]


COLD = {"prepare_data", "extract_features", "train", "report"}
"""Scripts whose first job starts in an interpreter that has nothing yet: between them they reach every library."""


@pytest.fixture(scope="module")
def snakemake(warm: str, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """`call_snakemake` by the Python that starts in no time, but for the first job of the scripts in `COLD`."""
    started = tmp_path_factory.mktemp("first")
    for script in (ROOT / "workflow/scripts").glob("*.py"):
        if script.stem not in COLD:
            (started / script.name).touch()
    return partial(call_snakemake, warm, started)


def call_snakemake(
    python: str, first: Path, folder: Path, *arguments: str, code: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in `folder`; `code` replaces the package that it imports."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", FIRST_COLD: str(first)}
    if code is not None:
        environment["PYTHONPATH"] = str(code)
    command = [python, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", "2", "--configfile", str(ROOT / "configs" / "tiny.yaml")]
    command += [str(file) for file in folder.glob("benchmarks.yaml")] + list(arguments)
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=folder)


@pytest.fixture(scope="module")
def run(snakemake: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(ROOT / "config.yaml", folder)
    publish_winoground(folder / "winoground")
    (folder / "benchmarks.yaml").write_text("data: {benchmarks: {winoground: {folder: winoground}}}\n")
    done = snakemake(folder, "--", "all")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return folder


def publish_winoground(folder: Path) -> None:
    """A benchmark with images of its own, in its published form: pairs of drawn scenes."""
    rows, number = [], 0
    for scene, _ in sample_scenes(np.random.default_rng(3), 40):
        other = twin(np.random.default_rng(number), scene, "roles")
        if other is None:
            continue
        for place, shown in enumerate((scene, other)):
            path = folder / "images" / f"{image_name(number, place)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_scene(shown).save(path)
        names = [image_name(number, place) for place in (0, 1)]
        texts = [f"{of.things[1].colour} beside {of.things[0].colour}" for of in (scene, other)]
        rows.append({"item_id": f"winoground/{number}", "images": names, "texts": texts, "tag": "Relation"})
        number += 1
    write_published(rows, {name: f"{name}.png" for row in rows for name in row["images"]}, folder)


def listed_rules(dry_run: str) -> set[str]:
    """Rules in the job table of a dry run."""
    return set(re.findall(r"^(\w+) +\d+$", dry_run, flags=re.MULTILINE)) - {"total"}


def test_the_report_is_written_and_a_second_run_has_nothing_to_do(snakemake: Program, run: Path) -> None:
    assert (run / "results/report/index.html").stat().st_size > 100_000
    again = snakemake(run, "--dry-run", "--", "all")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def shown_beside_inputs(folder: Path, page: str, build: Callable[[Config], object]) -> set[str]:
    """Tables that a page shows and that its rule does not ask for: with a bucket they would not be there."""
    place = base64.urlsafe_b64encode(page.encode()).decode()
    given = json.loads((folder / ".snakemake/metadata" / place).read_text(encoding="utf-8"))["input"]
    config = load_config(yaml.safe_load((folder / "results/report/config.yaml").read_text(encoding="utf-8")))
    shown: set[str] = set()
    get = Evidence.get

    def noted(evidence: Evidence, name: str) -> pd.DataFrame | None:
        frame = get(evidence, name)
        shown.update(() if frame is None else frame[FILE])
        return frame

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evidence, "get", noted)
        patch.chdir(folder)
        patch.setattr(figures, "_svg", lambda *_: "")  # half of the time, and it reads nothing
        build(config)
    assert len(shown) > 10
    return {f"results/{file}" for file in shown} - set(given)


def reported_beside_inputs(folder: Path) -> set[str]:
    """The same of the report."""

    def build(config: Config) -> None:
        render_report(read_evidence(folder / "results", config), config, {})

    return shown_beside_inputs(folder, "results/report/index.html", build)


def test_the_report_shows_nothing_but_what_its_rule_asks_for(run: Path) -> None:
    assert reported_beside_inputs(run) == set()


def test_the_other_demo_backbone_stands_beside_the_runs_own(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = read_table(run / "results/compare/backbones.parquet", RESULTS)
    shown = read_table(run / "results/compare/results.parquet", RESULTS)
    values = ["benchmark", "measure", "convention", "value", "items"]
    frozen, own = shown[shown["method"] == "frozen"], results[results["method"] == "package"]
    pd.testing.assert_frame_equal(own[values].reset_index(drop=True), frozen[values].reset_index(drop=True))
    other = results[results["method"] == "package-truthful"]
    assert set(other["benchmark"]) == set(own["benchmark"]) and set(other["value"]) != set(own["value"])
    # The run's own backbone, taken for the other, gives the run's own outcomes.
    monkeypatch.chdir(run)
    config = load_config(yaml.safe_load(Path("results/report/config.yaml").read_text(encoding="utf-8")))
    files = {"test_texts": "language/test/texts.parquet"}
    files |= {name: f"data/{name}.parquet" for name in ("images", "choices", "questions")}
    given = Files({name: f"results/{file}" for name, file in files.items()})
    backbone = load_backbone(config.backbone, config.seed)
    again = frozen_outcomes(Run(given, [], None, None, 1, config, {}), backbone, "test")
    write_table(again, OUTCOMES, tmp_path / "again.parquet", {})
    kept = read_table("results/evaluate/frozen/0/outcomes.parquet", OUTCOMES)
    kept = kept[kept["benchmark"].str.startswith("test/")].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_table(tmp_path / "again.parquet", OUTCOMES), kept)


def test_every_method_has_outcomes_on_every_split_and_is_compared(run: Path) -> None:
    outcomes = pd.concat(read_table(path, OUTCOMES) for path in run.glob("results/evaluate/*/*/outcomes.parquet"))
    assert {"frozen", "lora", "vialign"} <= set(outcomes["method"])
    splits = outcomes["benchmark"].str.split("/").str[0]
    assert set(splits) == {"test", "test_combination", "test_domain", "winoground"}
    assert set(outcomes.loc[splits == "winoground", "benchmark"]) == {"winoground/winoground"}
    names = set(outcomes.loc[splits == "test", "benchmark"].str.split("/").str[1])
    expected = {"image_to_text", "text_to_image", "winoground", "aro_relation", "aro_attribution", "aro_order"}
    assert expected | {"replace_relation"} <= names
    assert any(name.startswith("vqa") for name in names)
    results = read_table(run / "results/compare/results.parquet", RESULTS)
    assert set(results["method"]) == set(outcomes["method"])
    assert {"frozen", "lora"} <= set(read_table(run / "results/compare/comparisons.parquet", COMPARISONS)["reference"])


def outcomes_of(run: Path, method: str, split: str) -> pd.DataFrame:
    """What the pipeline says of every item of a split; rule-made negatives are its own, and no benchmark has them."""
    found = read_table(run / f"results/evaluate/{method}/0/outcomes.parquet", OUTCOMES)
    own = found["benchmark"].str.startswith(f"{split}/") & (found["benchmark"] != f"{split}/negatives")
    return by_item(found[own])


def by_item(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Outcomes by what they are of, without who was measured."""
    own = outcomes.drop(columns=["method", "seed"]).set_index(["benchmark", "measure", "item_id"]).sort_index()
    return own.astype({name: object for name in ("tag", "chosen", "image_id")}).where(own.notna(), None)


@pytest.mark.parametrize("method", ["lora", "vialign"])
def test_an_exported_method_has_the_same_outcome_on_every_item_of_every_form(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """As `vialign evaluate` measures it: the features, the units and the scores are made anew, from the images on."""
    monkeypatch.chdir(run)
    config = run_config(Path("results"), None)
    write_export(aligner_of_run(config, method), tmp_path / method, with_backbone=False, folded=False)
    aligner = vialign.load(tmp_path / method)
    tables = {name: read_table(run / f"results/data/{name}.parquet", table) for name, table in TABLES.items()}
    for name in ("images", "choices", "questions"):
        tables[name] = tables[name][tables[name]["split"] == "test"].reset_index(drop=True)
    shown = tables["captions"]["image_id"].isin(tables["images"]["image_id"])
    tables["captions"] = tables["captions"][shown].reset_index(drop=True)
    data = run / "results/data"
    embedded = SimpleNamespace(name="test", folders=image_folders(config.data, data))
    measured = measure(aligner, embedded, DatasetTables(**tables, image_folder=data), "m", 64)  # type: ignore[arg-type]
    expected = outcomes_of(run, method, "test")
    measures = set(expected.index.get_level_values("measure"))
    assert measures == {*MEASURES, *RECALLS} and len(expected) > 400
    pd.testing.assert_frame_equal(by_item(measured), expected)


def test_evaluate_gives_two_models_the_pipelines_outcomes_in_one_call(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    made = CliRunner().invoke(app, ["export", "results", "--method", "vialign", "--out", str(tmp_path / "tuned")])
    assert made.exit_code == 0, made.output
    named = ["--model", "vialign-scenes", "--model", str(tmp_path / "tuned"), "--benchmark", "winoground"]
    done = CliRunner().invoke(app, ["evaluate", *named, "--data", str(run), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and "tuned less vialign-scenes package" in done.stdout, done.output
    for method, folder in (("frozen", "vialign-scenes-package"), ("vialign", "tuned")):
        found = read_table(tmp_path / f"out/outcomes/{folder}/winoground.parquet", OUTCOMES)
        pd.testing.assert_frame_equal(by_item(found), outcomes_of(run, method, "winoground"))


def test_every_method_is_compared_on_a_page_of_its_own(snakemake: Program, run: Path, tmp_path: Path) -> None:
    done = snakemake(run, "--", "compare_all", "uses")
    assert done.returncode == 0, done.stderr[-3000:]
    page = (run / "results/report/compare_all.html").read_text(encoding="utf-8")
    comparisons = read_table(run / "results/compare_all/comparisons.parquet", COMPARISONS)
    assert {"frozen", "negclip", "fsc-clip", "filip"} <= set(comparisons["reference"])
    shown = (
        "NegCLIP",
        "FSC-CLIP",
        "FILIP",
        "LABCLIP",
        "NegCLIP, averaged",
        "LoRA, averaged",
        "Crop matching",
        "Tip-Adapter",
    )
    for name in (*shown, "Search for the learning rate"):
        assert name in page
    place = "results/report/compare_all.html"

    def build(config: Config) -> None:
        made = [str(run / "results/report/again.html")]
        build_compare_all(Run(None, made, None, None, 1, config, {}))

    assert shown_beside_inputs(run, place, build) == set()
    searches = {path.stem: read_table(path, SEARCH) for path in run.glob("results/search/*.parquet")}
    assert set(searches) == {"lora", "filip", "labclip", "negclip", "fsc-clip", "vialign"}
    assert all(len(table) == 2 and table["chosen"].sum() == 1 for table in searches.values())
    assert not list(run.glob("results/train/**/.*unfinished*"))
    page = (run / "results/report/uses.html").read_text(encoding="utf-8")
    for name in ("Noisy captions", "small loss", "Curriculum in time", "high C first", "50 labelled images"):
        assert name in page
    for target in ("all", "compare_all", "uses"):
        again = snakemake(run, "--dry-run", "--", target)
        assert "Nothing to be done" in again.stdout + again.stderr, target


def test_two_processes_train_what_one_does(snakemake: Program, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    shutil.copytree(run, folder, symlinks=True)
    checkpoint = "results/train/lora/0/early.safetensors"
    (folder / checkpoint).unlink()
    (folder / "shared.yaml").write_text("training: {processes: 2}\n")
    done = snakemake(folder, str(folder / "shared.yaml"), "--rerun-triggers", "mtime", "--", checkpoint)
    assert done.returncode == 0, done.stderr[-3000:]
    alone, shared = read_tensors(run / checkpoint), read_tensors(folder / checkpoint)
    assert alone.keys() == shared.keys()
    for name, expected in alone.items():
        torch.testing.assert_close(
            shared[name], expected, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_every_artifact_says_what_made_it(run: Path) -> None:
    artifacts = [*run.glob("results/**/*.parquet"), *run.glob("results/**/*.safetensors")]
    assert len(artifacts) > 50
    for path in artifacts:
        found = read_provenance(path)
        assert {"rule", "config_digest", "code_digest", "seed"} <= set(found), path


def test_logs_are_written(run: Path) -> None:
    logs = list(run.glob("results/logs/**/*.log"))
    assert len(logs) > 30
    assert (run / "results/logs/train_early_seeds/vialign.log").stat().st_size > 0


def test_regions_are_made_only_for_the_methods_that_read_them(snakemake: Program, tmp_path: Path) -> None:
    shutil.copy(ROOT / "config.yaml", tmp_path)
    asked = {
        method: listed_rules(
            snakemake(tmp_path, "--dry-run", "--", f"results/evaluate/{method}/0/outcomes.parquet").stdout
        )
        for method in ("vinvl", "filip")
    }
    asked = {method: {rule.removesuffix("_seeds") for rule in rules} for method, rules in asked.items()}
    assert asked["vinvl"] - asked["filip"] == {"regions"} and "evaluate_method" in asked["filip"]


def test_a_change_in_the_signal_reruns_the_signal_and_what_follows_only(
    snakemake: Program, run: Path, tmp_path: Path
) -> None:
    code = tmp_path / "src"
    shutil.copytree(ROOT / "src", code, ignore=shutil.ignore_patterns("__pycache__"))
    unchanged = snakemake(run, "--dry-run", "--", "all", code=code)
    assert "Nothing to be done" in unchanged.stdout + unchanged.stderr
    score = code / "vialign/signal/score.py"
    score.write_text(score.read_text(encoding="utf-8") + "\n\nCHANGED = 1\n", encoding="utf-8")
    rules = listed_rules(snakemake(run, "--dry-run", "--", "all", code=code).stdout)
    assert {"calibrate_signal", "score_pairs", "signal_gate", "report"} <= rules
    assert not rules & {"prepare_data", "parse_texts", "extract_features", "fit_visual", "fit_text", "encode_split"}


LISTED = {
    **dict.fromkeys(("average_weights", "train_early", "train_final", "evaluate_method"), {"curriculum"}),
    "agreement": {"backbone"},
    **dict.fromkeys(
        ("ablation", "confirm", "early_gate", "early_outcomes", "gradients", "reproduce", "spend"), {"training.seeds"}
    ),
    "ledger": {"training.methods"},
    "ledger_methods": {"training.compare"},
    "compare": {"training.methods", "training.seeds"},
    "compare_methods": {"training.compare", "training.compare_seeds"},
    "failures": {"training.methods", "training.seeds"},
    "monitoring": {"training.methods", "training.seeds"},
}
"""What is declared although the tiny run does not read it: what decides which files or methods a rule reads, what some
averaged method is built by, and the backbone of the comparison with people's ratings, which the embedded world has none
of."""
NOT_RUN = {
    "ablate_losses": {"backbone", "data", "name", "seed", "text", "visual"},
    "check_data": {"data", "language", "seed", "signal.folds"},
    "extract_images": {"backbone", "data", "features.batch", "features.pixels", "features.shard", "seed"},
    "point_phrases": {"backbone", "data", "features.batch", "seed"},
    "pretrain_backbone": {"backbone", "data.seen_relations", "seed"},
    "regions": {"backbone", "data", "seed"},
    "text_domains": {"backbone", "language", "seed", "text"},
}
"""What the rules read that no tiny run asks for."""


def test_a_change_of_any_key_reruns_exactly_the_rules_that_read_it(run: Path) -> None:
    declared, read = declared_sections(ROOT, run), read_sections(run)
    assert set(declared) == set(read) | set(NOT_RUN), "every rule is read off its logs, or stands in NOT_RUN"
    expected = {rule: names | LISTED.get(rule, set()) for rule, names in {**NOT_RUN, **read}.items()}
    # What a method needs to be built depends on the method; a rule that builds any may build all.
    trainings = [
        names for rule, names in read.items() if rule.startswith(("train_early", "train_final", "search_rate"))
    ]
    building = set().union(*trainings) - {"evaluation.reproduction"}
    expected |= {rule: names | building for rule, names in expected.items() if "curriculum" in names}
    tree = load_config(yaml.safe_load((ROOT / "configs/tiny.yaml").read_text(encoding="utf-8"))).model_dump(mode="json")
    names = sorted(set().union(*declared.values()))
    before = section_digests(tree, *names)
    for path in leaves(tree):
        after = section_digests(with_another(tree, path), *names)
        again = {rule for rule, sections in declared.items() if any(before[name] != after[name] for name in sections)}
        key = ".".join(path)
        left_out = key in (WHERE, *WHO)
        reading = {
            rule
            for rule, sections in expected.items()
            if key in sections
            or (not left_out and any(f"{key}.".startswith(f"{n}.") or n.startswith(f"{key}.") for n in sections))
        }
        assert again == reading, f"{key}: {sorted(again ^ reading)}"


@pytest.mark.parametrize("triggers", [[], ["--rerun-triggers", "mtime"]])
def test_a_changed_key_is_seen_by_a_dry_run(snakemake: Program, run: Path, triggers: list[str]) -> None:
    change = ["--config", "analysis={margin: 0.5}", "report={examples: 3}"]
    assert listed_rules(snakemake(run, "--dry-run", *triggers, *change, "--", "all").stdout) == {
        "all",
        "failures",
        "report",
    }


@pytest.mark.parametrize(
    ("gate", "verdict", "broken", "not_made"),
    [
        ("signal", "signal/verdict.parquet", "tells aligned captions", "gates/budget.parquet"),
        ("budget", "gates/budget.parquet", "parameters", "train/vialign/0/early.safetensors"),
        ("early", "gates/early.parquet", "lora", "ablate/ablation.parquet"),
    ],
)
def test_a_gate_stops_the_run_with_exit_0_and_a_design_review(
    snakemake: Program,
    warm: str,
    run: Path,
    tmp_path: Path,
    gate: str,
    verdict: str,
    broken: str,
    not_made: str,
) -> None:
    folder = tmp_path / gate
    shutil.copytree(run, folder, symlinks=True)
    shutil.rmtree((folder / "results" / not_made).parent)
    done = snakemake(folder, str(ROOT / f"configs/stop_{gate}.yaml"), "--", "all")
    assert done.returncode == 0, done.stderr[-3000:]
    table = read_table(folder / "results" / verdict, VERDICT)
    assert set(table["action"]) == {"stop"}
    failed = table[table["required"] & ~table["met"]]
    assert failed["criterion"].str.lower().str.contains(broken).any()
    report = (folder / "results/report/index.html").read_text(encoding="utf-8")
    assert "esign review" in report and f"{gate} gate" in report.lower()
    assert not (folder / "results" / not_made).exists()
    assert reported_beside_inputs(folder) == set()
    command = shlex.split(html.unescape(re.findall(r"<pre>(snakemake .*?)</pre>", report, re.DOTALL)[0]))
    goes_on = [warm, "-m", *command[:-2], "--dry-run", *command[-2:]]
    planned = subprocess.run(goes_on, capture_output=True, text=True, check=False, cwd=folder)
    assert planned.returncode == 0 and f"{gate}_gate" in listed_rules(planned.stdout), planned.stderr[-3000:]
    if gate == "budget":
        # tests/workflow/test_recovery.py goes on to the end from every gate.
        again = snakemake(folder, "--dry-run", "--", "all")
        assert again.returncode == 0 and "budget_gate" in listed_rules(again.stdout), again.stderr[-3000:]


def test_nothing_is_trained_on_a_backbone_that_misses_its_known_numbers(
    snakemake: Program, run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "refused"
    shutil.copytree(run, folder, symlinks=True)
    (folder / "known.yaml").write_text(KNOWN, encoding="utf-8")
    wanted = "results/train/lora/0/early.safetensors"
    refused = snakemake(folder, str(folder / "known.yaml"), "--", wanted)
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert "reproduction: test/text_to_image, r1: measured" in said and "published 99.90 %" in said
    assert "Traceback" not in said
    warned = snakemake(
        folder, str(folder / "known.yaml"), "--config", "evaluation={reproduction: {action: warn}}", "--", wanted
    )
    assert warned.returncode == 0 and "training goes on" in warned.stdout + warned.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data={sizs: {train: 3}}", "unknown key `data.sizs`"),
        ("data={dataset: flickr8k, folder: missing}", "missing"),
        ("backbone={architecture: ViT-B-32, checkpoint: package}", "package"),
    ],
)
def test_bad_input_is_one_clear_line_and_nothing_half_written(
    snakemake: Program, tmp_path: Path, override: str, message: str
) -> None:
    shutil.copy(ROOT / "config.yaml", tmp_path)
    target = "results/features/readout.parquet" if "backbone" in override else "results/data/images.parquet"
    done = snakemake(tmp_path, "--config", override, "--", target)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"vialign: {'config' if 'sizs' in override else ''}" in said and message in said
    assert "Traceback (most recent call last)" not in said
    assert not (tmp_path / target).exists()
    assert not list(tmp_path.glob("results/**/*.part"))
