"""A run that was stopped, killed or started twice: the next call goes on, or says in one line why it does not."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from vialign.names import splits_of
from workflow.stand_in import ANY, ROOT, Workflow, make_workflow

pytestmark = pytest.mark.workflow
TRIGGERS = {"default": [], "mtime": ["--rerun-triggers", "mtime"]}
FIRST_BEHIND = {"signal": "gates/budget.parquet", "budget": "gates/early.parquet", "early": "ablate/ablation.parquet"}
"""What is made first behind a gate."""
LAST = "compare/comparisons.parquet"


@pytest.fixture(scope="module")
def workflow(warm: str, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    return make_workflow(warm, tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def finished(workflow: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    shutil.copy(workflow.tree / "config.yaml", folder)
    run(workflow, folder)
    return folder


def run(workflow: Workflow, folder: Path, *arguments: str) -> str:
    done = workflow.call(folder, *arguments, "--", "all")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout + done.stderr


def shown(folder: Path) -> str:
    """The inputs of the report."""
    return (folder / "results/report/index.html").read_text(encoding="utf-8")


def nothing_to_do(workflow: Workflow, folder: Path, *arguments: str) -> bool:
    return "Nothing to be done" in run(workflow, folder, "--dry-run", *arguments)


def test_a_dry_run_writes_nothing(workflow: Workflow, tmp_path: Path) -> None:
    shutil.copy(workflow.tree / "config.yaml", tmp_path)
    run(workflow, tmp_path, "--dry-run")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("triggers", TRIGGERS)
@pytest.mark.parametrize("gate", FIRST_BEHIND)
def test_a_stopped_run_goes_on_in_one_call(
    workflow: Workflow, finished: Path, tmp_path: Path, gate: str, triggers: str
):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    behind = folder / "results" / FIRST_BEHIND[gate]
    stop = [*TRIGGERS[triggers], "--config", f"gates={{{gate}: {{action: stop}}}}"]
    run(workflow, folder, *stop)
    assert LAST not in shown(folder), "a gate that stops now shows the report of a stopped run"
    # As after a first run that stopped here: nothing behind the gate was ever made.
    behind.unlink()
    (folder / "results" / LAST).unlink()
    assert nothing_to_do(workflow, folder, *stop)
    run(workflow, folder, *TRIGGERS[triggers])
    assert LAST in shown(folder)
    assert behind.exists() and (folder / "results" / LAST).exists()
    assert nothing_to_do(workflow, folder, *TRIGGERS[triggers])


@pytest.mark.parametrize("triggers", ["mtime"])
def test_another_limit_or_a_smaller_method_takes_the_run_on(
    workflow: Workflow, finished: Path, tmp_path: Path, triggers: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    gates = "gates={budget: {action: stop}}"
    large = [*TRIGGERS[triggers], "--config", gates, "budget={parameters: 0.9}", "curriculum={head_rank: 3000}"]
    run(workflow, folder, *large)
    assert LAST not in shown(folder)
    small = [*TRIGGERS[triggers], "--config", gates, "budget={parameters: 0.9}"]
    run(workflow, folder, *small)
    assert LAST in shown(folder)
    tight = [*TRIGGERS[triggers], "--config", gates]
    run(workflow, folder, *tight)
    assert LAST not in shown(folder)
    run(workflow, folder, *small)
    assert LAST in shown(folder)


WAITING = (
    ANY
    + """
import time
(Path(snakemake.output[0]).parent / "at_work").touch()
time.sleep(600)
"""
)


def test_a_second_run_is_told_and_a_killed_one_needs_no_unlock(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    # Processes as everywhere, since they are killed here.
    workflow = make_workflow(sys.executable, tmp_path / "tree")
    folder, other = tmp_path / "run", tmp_path / "other"
    for place in (folder, other):
        place.mkdir()
        shutil.copy(workflow.tree / "config.yaml", place)
    script = workflow.tree / "workflow/scripts/prepare_data.py"
    script.write_text(WAITING, encoding="utf-8")
    results = ["--config", f"results={folder / 'results'}"]
    wanted = ["--", str(folder / "results/data/images.parquet")]
    first = subprocess.Popen(
        workflow.command(folder, *results, *wanted),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not (folder / "results/data/at_work").exists():
            assert first.poll() is None
            time.sleep(0.1)
        for place in (folder, other):
            second = workflow.call(place, *results, *wanted)
            told = [line for line in second.stderr.splitlines() if line.startswith("vialign: ")]
            assert second.returncode != 0 and len(told) == 1
            assert "another run is at work in this results folder" in told[0] and "Traceback" not in second.stderr
            assert workflow.call(place, "--dry-run", *results, *wanted).returncode == 0
        first.kill()
        first.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)
    script.write_text(ANY, encoding="utf-8")
    assert list((folder / ".snakemake/locks").iterdir()), "the killed run left its lock"
    part = folder / "results/data/.images.parquet.abcd1234.part"
    part.touch()
    done = workflow.call(folder, "--rerun-incomplete", *results, *wanted)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not part.exists()


PREPARE = {"parse_texts", "extract_features", "encode_split", "regions"}
"""Rules that make what others read of a split, of every split alike."""
TRAIN = {"search_rate", "train_early", "train_early_seeds", "train_final", "train_final_seeds"}
EVALUATE = {"evaluate_method", "evaluate_method_seeds"}
USES = {"encode_few_labels", "use_noise", "use_order", "use_labels"}
LABELS = {"encode_few_labels", "use_labels"}
"""What leads to a choice: how many labelled images the dictionary needs."""
READERS = {
    "train": {
        "fit_visual",
        "fit_text",
        "ablate_losses",
        "encode_dictionaries",
        "train_replaced",
        "score_references",
        "blind_benchmarks",
        "gradients",
        *TRAIN,
        *USES,
    },
    "calibration": {"calibrate_signal", "score_controls", "ledger", "ledger_methods"},
    "diagnosis": {"score_pairs", "score_controls", "score_references", "probe", "stress"},
    "diagnosis_domain": {"stress"},
    "selection": {"fit_visual", "fit_text", "ablate_losses", "failures", "trust", *TRAIN, *LABELS},
    "gate": {"early_outcomes"},
    "confirmation": {"confirm", "spend", "trust", "encode_dictionaries", "train_replaced", *(USES - LABELS)},
    "test": {*EVALUATE, "compare_backbones", "reproduce", "agreement", "blind_benchmarks", "failures"},
    "test_combination": {*EVALUATE, "compare_backbones", "blind_benchmarks", "failures"},
    "test_domain": {*EVALUATE, "compare_backbones", "blind_benchmarks", "failures"},
}
"""Split to the rules that may read it, beside those that prepare it."""
SPLITLESS = {
    "average_weights",
    "check_data",
    "compare_all_page",
    "compare_methods",
    "extract_images",
    "point_phrases",
    "pretrain_backbone",
    "regions",
    "text_domains",
}
"""Rules that no run below asks for; none but `regions`, which prepares a split, has a file of one among its inputs."""


def readers(folder: Path) -> dict[str, set[str]]:
    """Split to the rules whose jobs had a file of it among their inputs, as the stand-ins' logs say."""
    found: dict[str, set[str]] = {split: set() for split in READERS}
    logs = folder / "results/logs"
    for log in logs.rglob("*.log"):
        inputs = log.read_text(encoding="utf-8")
        read = re.findall(r"results/(?:language|features|disentangle|regions)/(\w+)[/.]", inputs)
        for split in found.keys() & set(read):
            found[split].add(log.relative_to(logs).parts[0].removesuffix(".log"))
    return found


def test_no_rule_reads_a_split_that_is_not_for_it(workflow: Workflow, finished: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    assert workflow.call(folder, "--", "ablate_losses", "uses", "results/compare_all/ledger.parquet").returncode == 0
    assert {split: rules - PREPARE for split, rules in readers(folder).items()} == READERS
    assert set(READERS) == set(splits_of("scenes"))
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    bodies = re.split(r"^(?:rule|checkpoint|use rule \w+ as) (\w+)(?: with)?:$", rules, flags=re.MULTILINE)[1:]
    scripted = {name for name, body in zip(bodies[::2], bodies[1::2], strict=True) if "    log:" in body}
    assert scripted - {path.stem for path in (folder / "results/logs").iterdir()} == SPLITLESS


def test_nothing_behind_the_confirmation_is_read_but_by_the_report(finished: Path):
    logs = finished / "results/logs"
    read = {log.stem for log in logs.rglob("*.log") if "compare/confirmation.parquet" in log.read_text()}
    assert read == {"report"}
