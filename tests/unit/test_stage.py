import re
import sys
from types import SimpleNamespace

import pytest

from vialign.config import Config, digest
from vialign.errors import UserError
from vialign.stage import machine, stage


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return SimpleNamespace(
        input=SimpleNamespace(),
        output=[str(tmp_path / "out.txt")],
        params=SimpleNamespace(code="abc"),
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


def test_what_is_printed_reaches_terminal_and_log(snakemake, capsys):
    before = sys.stdout, sys.stderr
    with stage(snakemake):
        print("to stdout")
        print("to stderr", file=sys.stderr)
    assert (sys.stdout, sys.stderr) == before
    assert re.fullmatch(r"to stdout\nto stderr\nprepare_data: done in \d+\.\d s\n", log(snakemake))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("to stdout\n", "to stderr\n")


def test_a_user_error_is_one_line_and_status_one(snakemake, capsys):
    with pytest.raises(SystemExit) as ended, stage(snakemake):
        raise UserError("data: folder x: no such folder")
    assert ended.value.code == 1
    assert log(snakemake) == capsys.readouterr().err == "vialign: data: folder x: no such folder\n"


def test_a_bug_keeps_its_traceback_in_the_log(snakemake):
    with pytest.raises(SystemExit) as ended, stage(snakemake):
        raise ZeroDivisionError("a bug")
    assert ended.value.code == 1
    assert "Traceback" in log(snakemake)
    assert "ZeroDivisionError: a bug" in log(snakemake)


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
