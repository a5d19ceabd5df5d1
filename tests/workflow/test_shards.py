"""Several jobs that share a split: which jobs there are, what they leave behind, and what their number runs again."""

import re
import shutil
from pathlib import Path

import pytest

from workflow.stand_in import Workflow, make_workflow

pytestmark = pytest.mark.workflow
SPLITS = {"extract_features": 5, "encode_split": 3, "stress": 1}
"""Jobs of the stages that are scattered, where one does a split."""
ONE_EACH = (
    "prepare_data",
    "train_language",
    "readout",
    "fit_visual",
    "fit_text",
    "calibrate_signal",
    "score_pairs",
    "score_controls",
    "score_references",
    "diagnose",
    "probe",
    "signal_gate",
    "signal",
)
ALONE = {**dict.fromkeys(ONE_EACH, 1), "parse_texts": 5, **SPLITS}
"""The jobs up to the signal gate with one job a split."""
GATHERED = {"extract_features": "gather_features", "encode_split": "gather_encoded", "stress": "gather_stress"}


@pytest.fixture(scope="module")
def workflow(warm: str, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    return make_workflow(warm, tmp_path_factory.mktemp("tree"))


def planned(workflow: Workflow, folder: Path, *arguments: str, target: str = "signal") -> dict[str, int]:
    """The jobs of a dry run; of none where nothing is to be done."""
    done = workflow.call(folder, "--dry-run", *arguments, "--", target)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    said = done.stdout + done.stderr
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE)}
    assert jobs or "Nothing to be done" in said
    jobs.pop("total", None)
    return jobs


def started(workflow: Workflow, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    shutil.copy(workflow.tree / "config.yaml", folder)
    return folder


def test_one_job_a_split_is_all_there_is_unless_more_are_asked_for(workflow: Workflow, tmp_path: Path) -> None:
    folder = started(workflow, tmp_path)
    assert planned(workflow, folder) == ALONE
    rules = workflow.call(folder, "--list-rules").stdout.split()
    assert "encode_split" in rules and not [name for name in rules if re.search("shard|gather", name)]


def test_three_jobs_share_each_split_and_one_puts_it_together(workflow: Workflow, tmp_path: Path) -> None:
    shared = {f"{rule}_shard": 3 * count for rule, count in SPLITS.items()}
    gathered = {GATHERED[rule]: count for rule, count in SPLITS.items()}
    others = {rule: count for rule, count in ALONE.items() if rule not in SPLITS}
    found = planned(workflow, started(workflow, tmp_path), "--config", "shards=3")
    assert found == {**others, **shared, **gathered}


def test_images_without_texts_are_shared_too(workflow: Workflow, tmp_path: Path) -> None:
    folder, target = started(workflow, tmp_path), "results/features/probe/images"
    alone = planned(workflow, folder, target=target)
    shared = planned(workflow, folder, "--config", "shards=2", target=target)
    assert alone.pop("extract_images") == 1
    assert shared == {**alone, "extract_images_shard": 2, "gather_images": 1}


def test_shards_leave_what_one_job_leaves_and_another_number_runs_nothing_again(
    workflow: Workflow, tmp_path: Path
) -> None:
    target, files = "results/features/calibration/texts", {}
    for shards in (1, 2):
        folder = started(workflow, tmp_path / str(shards))
        done = workflow.call(folder, "--config", f"shards={shards}", "--", target)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
        found = (path.relative_to(folder) for path in folder.glob("results/**/*"))
        files[shards] = {path for path in found if path.parts[1] not in ("logs", "benchmarks", "shards")}
        assert planned(workflow, folder, "--config", f"shards={shards}", target=target) == {}
        by_times = ["--rerun-triggers", "mtime", "--config", f"shards={3 - shards}"]
        assert planned(workflow, folder, *by_times, target=target) == {}
    assert files[1] == files[2]
    assert not [path for path in (tmp_path / "2").glob("results/shards/**/*") if path.is_file()]


def test_a_backbone_that_the_run_trains_itself_is_made_first(workflow: Workflow, tmp_path: Path) -> None:
    folder, weights = started(workflow, tmp_path), "results/backbone/vialign-scenes.safetensors"
    own = ["--config", f"backbone={{checkpoint: {weights}}}"]
    assert planned(workflow, folder, *own) == {**ALONE, "pretrain_backbone": 1}
    # Weights of its own are data: other ones run again what read them, and a path elsewhere is nothing to be made.
    assert "pretrain_backbone" not in planned(workflow, folder, "--config", "backbone={checkpoint: my.safetensors}")
    assert workflow.call(folder, *own, "--", "results/features/readout.parquet").returncode == 0
    assert not planned(workflow, folder, *own, target="results/features/readout.parquet")
    (folder / weights).write_text("other weights", encoding="utf-8")
    again = planned(workflow, folder, *own, "--rerun-triggers", "mtime", target="results/features/readout.parquet")
    assert again == {"readout": 1}
