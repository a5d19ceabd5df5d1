import errno
import os
import signal
import stat
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from vialign.errors import UserError
from vialign.files.artifacts import (
    atomic_path,
    check_contract,
    read_provenance,
    read_table,
    read_table_in_parts,
    read_tensors,
    tensors_in_parts,
    write_table,
    write_tensors,
    write_text,
)
from vialign.tables.data import CAPTIONS, PROBLEMS, RELATIONS
from vialign.toolkit.writing import stream_table

FRAME = pd.DataFrame({"file": ["a", "b"], "row": ["1", "2"], "problem": ["x", "y"]})
PROVENANCE = {"rule": "r", "seed": "3", "architecture": "ViT-B-32"}


def test_a_table_comes_back_with_its_provenance(tmp_path):
    path = tmp_path / "deep" / "problems.parquet"
    write_table(FRAME, PROBLEMS, path, PROVENANCE)
    assert_frame_equal(read_table(path, PROBLEMS), FRAME, check_dtype=False)
    assert read_provenance(path) == {"table": "problems", **PROVENANCE}


@pytest.mark.parametrize("rows", [1, 3, 5, 100])
def test_a_table_in_parts_is_the_table(tmp_path, rows):
    frame = pd.DataFrame({name: [f"{name} {number}" for number in range(10)] for name in FRAME})
    write_table(frame, PROBLEMS, tmp_path / "problems.parquet", PROVENANCE)
    parts = list(read_table_in_parts(tmp_path / "problems.parquet", PROBLEMS, rows))
    assert max(map(len, parts)) == min(rows, 10)
    assert_frame_equal(pd.concat(parts, ignore_index=True), frame, check_dtype=False)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_table(FRAME, PROBLEMS, tmp_path / f"{name}.parquet", PROVENANCE)
        write_tensors({"w": torch.arange(3.0)}, tmp_path / f"{name}.safetensors", PROVENANCE)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_tensors_come_back_with_their_provenance_and_shared_storage_is_no_obstacle(tmp_path):
    base = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
    path = tmp_path / "w.safetensors"
    write_tensors({"whole": base, "column": base[:, 1], "again": base}, path, PROVENANCE)
    found = read_tensors(path)
    assert set(found) == {"whole", "column", "again"}
    assert torch.equal(found["whole"], base)
    assert torch.equal(found["column"], base[:, 1])
    assert read_provenance(path) == PROVENANCE


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "note.txt"
    write_text("old", path)
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_wrong_frame_never_reaches_a_file(tmp_path):
    with pytest.raises(ValueError, match="missing columns"):
        write_table(FRAME.drop(columns="row"), PROBLEMS, tmp_path / "p.parquet", {})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["x.parquet", "x.safetensors"])
def test_missing_and_broken_files_get_one_line(tmp_path, name):
    path = tmp_path / name
    read = read_tensors if name.endswith("safetensors") else lambda found: read_table(found, PROBLEMS)
    with pytest.raises(UserError, match="no such file"):
        read(path)
    path.write_bytes(b"not what it says it is" * 10)
    with pytest.raises(UserError, match="not a (Parquet|safetensors) file"):
        read(path)


def test_another_table_is_refused(tmp_path):
    write_table(CAPTIONS.empty(), CAPTIONS, tmp_path / "c.parquet", {})
    with pytest.raises(UserError, match="holds table 'captions', expected 'relations'"):
        read_table(tmp_path / "c.parquet", RELATIONS)


def test_another_table_is_refused_in_parts_too(tmp_path):
    write_table(FRAME, PROBLEMS, tmp_path / "problems.parquet", PROVENANCE)
    with pytest.raises(UserError, match="holds table 'problems', expected 'captions'"):
        next(read_table_in_parts(tmp_path / "problems.parquet", CAPTIONS))


@pytest.mark.parametrize("name", ["p.parquet", "p.safetensors"])
def test_another_contract_is_refused_by_the_field_that_differs(tmp_path, name):
    path = tmp_path / name
    if name.endswith("parquet"):
        write_table(FRAME, PROBLEMS, path, PROVENANCE)
    else:
        write_tensors({"w": torch.zeros(1)}, path, PROVENANCE)
    check_contract(path, {"architecture": "ViT-B-32"})
    with pytest.raises(UserError, match="architecture 'ViT-B-32', this run has 'RN50'"):
        check_contract(path, {"architecture": "RN50"})
    with pytest.raises(UserError, match="activation None"):
        check_contract(path, {"activation": "gelu"})


def test_tensors_written_part_by_part_are_the_same_file_as_read(tmp_path):
    path = tmp_path / "parts.safetensors"
    layout = {"boxes": (np.float32, (3, 2)), "features": (np.float16, (3, 5)), "present": (np.bool_, (3,))}
    with tensors_in_parts(layout, path, PROVENANCE) as arrays:
        assert not path.exists()
        for row in (2, 0):
            arrays["boxes"][row], arrays["features"][row] = [row, 0.5], np.arange(5) + row
            arrays["present"][row] = True
    found = read_tensors(path)
    assert read_provenance(path) == PROVENANCE
    assert found["boxes"].tolist() == [[0, 0.5], [0, 0], [2, 0.5]] and found["boxes"].dtype == torch.float32
    assert found["features"][2].tolist() == [2, 3, 4, 5, 6] and found["features"].dtype == torch.float16
    assert found["present"].tolist() == [True, False, True]
    with pytest.raises(RuntimeError), tensors_in_parts(layout, path, PROVENANCE):
        raise RuntimeError
    assert torch.equal(read_tensors(path)["boxes"], found["boxes"]) and os.listdir(tmp_path) == [path.name]


@contextmanager
def full_disk():
    """A limit on the size of files stands for a disk that fills up: writing beyond it is the system's error.

    No longer than the write that is tested: pytest's own output may be a file that is longer.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("kind", ["text", "table", "tensors", "parts", "stream"])
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path, kind):
    path, noise = tmp_path / f"x.{kind}", [os.urandom(20).hex() for _ in range(2000)]
    frame = pd.DataFrame({"file": noise, "row": noise, "problem": noise})

    def write():
        if kind == "text":
            write_text("".join(noise), path)
        elif kind == "table":
            write_table(frame, PROBLEMS, path, {})
        elif kind == "tensors":
            write_tensors({"w": torch.rand(9000)}, path, {})
        elif kind == "stream":
            with stream_table(PROBLEMS, path, {}) as file:
                file.append(frame)
        else:
            with tensors_in_parts({"w": (np.float32, (9000,))}, path, {}) as arrays:
                arrays["w"][:] = 1

    with (
        pytest.raises(UserError, match=rf"^{path}: cannot be written \(.*too large.*\); make room or") as error,
        full_disk(),
    ):
        write()
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_below_a_file_is_one_line_and_an_error_elsewhere_stays_what_it_is(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match="x.txt: cannot be written .(Not a directory|File exists).; make room or choose"
    ):
        write_text("x", tmp_path / "file" / "x.txt")
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic_path(tmp_path / "x"):
        os.stat("/elsewhere/is/nothing")
    with pytest.raises(OSError, match="of a library"), atomic_path(tmp_path / "x"):
        raise OSError("of a library")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["folder.parquet", "folder.safetensors"])
def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path, name):
    (tmp_path / name).mkdir()
    read = read_tensors if name.endswith("safetensors") else lambda path: read_table(path, PROBLEMS)
    for reader in (read_provenance, read):
        with pytest.raises(UserError, match=f"{name}: is a folder, where a file is wanted; name a file in it"):
            reader(tmp_path / name)


def test_the_room_of_tensors_in_parts_is_taken_before_they_are_filled(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    message, layout = "w: cannot be written .No space left on device.; make room", {"w": (np.float32, (9,))}
    with pytest.raises(UserError, match=message), tensors_in_parts(layout, tmp_path / "w", {}):
        pytest.fail("the arrays were handed out")
    assert list(tmp_path.iterdir()) == []
