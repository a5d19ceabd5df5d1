import os
import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pytest

from vialign.config.experiment import Config, digest, load_config
from vialign.config.sections import EVERYTHING, WHO, Reads, UndeclaredSection, guarded, section_digests
from vialign.errors import UserError
from vialign.stage import Run, machine, stage
from vialign.training.job import TrainingJob


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    return SimpleNamespace(
        input=SimpleNamespace(),
        output=[str(tmp_path / "out.txt")],
        params=SimpleNamespace(code="abc", config=dict.fromkeys(EVERYTHING, "digest")),
        wildcards={"split": "test"},
        log=[str(tmp_path / "logs" / "rule.log")],
        threads=1,
        rule="prepare_data",
        config={"seed": 5, "results": str(tmp_path)},
    )


def log(snakemake) -> str:
    with open(snakemake.log[0]) as file:
        return file.read()


def test_the_run_carries_config_and_provenance(snakemake):
    with stage(snakemake) as run:
        assert run.config == Config(seed=5, results=snakemake.config["results"])
        assert str(run.results) == snakemake.config["results"]
        expected = {
            "rule": "prepare_data",
            "code_digest": "abc",
            "config_digest": digest(run.config),
            "seed": "5",
            "wildcard_split": "test",
        }
        assert expected.items() <= run.provenance.items()
        assert "version_torch" in run.provenance


@pytest.mark.parametrize(
    ("results", "output", "folder"),
    [
        ("results", "results/report/index.html", "results"),
        ("./runs/first", "runs/first/data/images.parquet", "runs/first"),
        ("/disk/results", "/disk/results/report/index.html", "/disk/results"),
        (
            "results",
            ".snakemake/storage/s3/bucket/results/a/results/b.parquet",
            ".snakemake/storage/s3/bucket/results/a/results",
        ),
        (
            "/disk/results",
            ".snakemake/storage/s3/bucket/disk/results/b.parquet",
            ".snakemake/storage/s3/bucket/disk/results",
        ),
        ("../results", ".snakemake/storage/s3/results/b.parquet", ".snakemake/storage/s3/results"),
    ],
)
def test_the_results_lie_where_the_outputs_do(results, output, folder):
    run = Run(None, [output], None, None, 1, Config(results=results), {})
    assert run.results.as_posix() == folder
    with pytest.raises(ValueError, match="does not lie in a folder"):
        _ = replace(run, output=["elsewhere/b.parquet"]).results


def test_what_is_printed_reaches_terminal_and_log(snakemake, capsys):
    before = sys.stdout, sys.stderr
    with stage(snakemake):
        print("to stdout")
        print("to stderr", file=sys.stderr)
    assert (sys.stdout, sys.stderr) == before
    read = f"prepare_data: read of the configuration: {', '.join(sorted(EVERYTHING))}\n"
    assert re.fullmatch(rf"to stdout\nto stderr\n{read}prepare_data: done in \d+\.\d s\n", log(snakemake))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("to stdout\n", "to stderr\n")


def test_a_section_that_the_rule_does_not_declare_is_an_error_and_what_is_read_is_logged(snakemake, capsys):
    snakemake.params.config = {"seed": "digest", "evaluation.level": "digest", "text": "digest"}
    with stage(snakemake) as run:
        assert (run.config.seed, run.config.evaluation.level) == (5, 0.05)
    assert "prepare_data: read of the configuration: evaluation.level, seed\n" in log(snakemake)
    for name, read in {
        "budget": lambda run: run.config.budget,
        "evaluation.bootstrap": lambda run: run.config.model_copy().evaluation.bootstrap,
        "evaluation.splits": lambda run: run.config.test_splits,
    }.items():
        with pytest.raises(SystemExit), stage(snakemake) as run:
            read(run)
        said = capsys.readouterr().err
        assert f"rule prepare_data read `{name}` of the configuration without declaring it" in said
        assert f'add "{name}" to section(...)' in said


def test_the_processes_of_a_training_stand_under_the_same_guard():
    view = guarded(Config(seed=3), Reads("train_early", ["seed", "evaluation.splits"]))
    job = TrainingJob(config=view, method="lora", seed=0, until="early", inputs={}, outputs={}, provenance={})
    other = TrainingJob.model_validate_json(job.model_dump_json()).config
    assert (other.seed, other.evaluation.splits) == (3, Config().evaluation.splits)
    for read in (lambda: other.budget, lambda: other.evaluation.level):
        with pytest.raises(UndeclaredSection, match="train_early"):
            read()


def test_who_is_trained_belongs_to_no_section_and_is_declared_by_name():
    """So one more method in a comparison, or one more seed, does not train all others again."""
    reads = Reads("train_final", ["training"])
    walled = guarded(Config(), reads)
    assert walled.training.batch == Config().training.batch and reads.seen == {"training"}
    for key in WHO:
        with pytest.raises(UndeclaredSection, match=f"read `{key}` of the configuration"):
            getattr(walled.training, key.rpartition(".")[2])
        told = Reads("compare", [key])
        assert getattr(guarded(Config(), told).training, key.rpartition(".")[2]) is not False
        assert told.seen == {key}
    with pytest.raises(UndeclaredSection, match="training.compare"):
        _ = walled.training.compared
    whole = Config(seed=4)
    assert guarded(whole, Reads("report", EVERYTHING)) is whole
    assert guarded(whole, Reads("report", Config.model_fields)) is not whole
    before, other, longer = (
        section_digests(load_config(given).model_dump(mode="json"), "training", "training.compare")
        for given in ({}, {"training": {"compare": ["lora"], "seeds": [7]}}, {"training": {"steps": 300}})
    )
    assert before["training"] == other["training"] != longer["training"]
    assert before["training.compare"] != other["training.compare"]


def test_a_user_error_is_one_line_and_status_one(snakemake, capsys):
    with pytest.raises(SystemExit) as ended, stage(snakemake):
        raise UserError("data: folder x: no such folder")
    assert ended.value.code == 1
    assert log(snakemake) == capsys.readouterr().err == "vialign: data: folder x: no such folder\n"


def test_a_bug_is_one_line_and_keeps_its_traceback_in_the_log_alone(snakemake, capsys):
    with pytest.raises(SystemExit) as ended, stage(snakemake):
        raise ZeroDivisionError("a bug")
    assert ended.value.code == 1
    assert "Traceback" in log(snakemake) and "ZeroDivisionError: a bug" in log(snakemake)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vialign: {snakemake.rule}: unforeseen error at ") and "ZeroDivisionError: a bug" in line
    assert line.endswith(f"its traceback is in {snakemake.log[0]}")


def test_what_lies_behind_a_users_error_is_in_the_log_alone(snakemake, capsys):
    with pytest.raises(SystemExit), stage(snakemake):
        raise UserError("x.json: is not JSON; get it again") from ValueError("the library's own words")
    assert capsys.readouterr().err == "vialign: x.json: is not JSON; get it again\n"
    assert "ValueError: the library's own words" in log(snakemake)


def test_a_bad_config_stops_before_the_stage_starts(snakemake):
    snakemake.config["sead"] = 1
    with pytest.raises(SystemExit), stage(snakemake):
        pytest.fail("the stage must not start")
    assert log(snakemake).startswith("vialign: config: unknown key `sead`")


def test_the_machine_tells_what_the_system_tells(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Some CPU\n")
    assert machine(tmp_path).startswith("Some CPU @ 2 GHz, ") and "processors" in machine(tmp_path)
    for place, text in enumerate(("Model: \t Some GPU\nIRQ: 4\n", "IRQ: 5\n")):
        (tmp_path / f"driver/nvidia/gpus/{place}").mkdir(parents=True)
        (tmp_path / f"driver/nvidia/gpus/{place}/information").write_text(text)
    assert machine(tmp_path).endswith(", Some GPU, GPU")
    assert "Some" not in machine(tmp_path / "nothing here") and "processors" in machine(tmp_path / "nothing here")


@pytest.mark.parametrize("chosen", ["", "mimalloc"])
def test_tables_are_freed_at_once_unless_the_user_chose_how(snakemake, monkeypatch, chosen):
    before = pa.default_memory_pool()
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", chosen)
    if not chosen:
        monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL")
    pa.set_memory_pool(pa.mimalloc_memory_pool())
    try:
        with stage(snakemake):
            assert pa.default_memory_pool().backend_name == (chosen or "system")
    finally:
        pa.set_memory_pool(before)


def test_threads_wait_without_keeping_a_core_unless_the_user_says_otherwise(snakemake, monkeypatch):
    with stage(snakemake):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("1", "PASSIVE")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with stage(snakemake):
        assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
