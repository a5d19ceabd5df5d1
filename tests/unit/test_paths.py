import os
from pathlib import Path

import pytest

from vialign.errors import UserError
from vialign.files.paths import ANY, PAGE, Output, check_paths, check_space


@pytest.fixture
def folder(tmp_path):
    """A folder of pictures, one of them a link to a blob, and a file of captions."""
    for name in ("photos/a.png", "photos/more/b.png", "blobs/1f", "captions.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "photos/c.png").symlink_to("../blobs/1f")
    (tmp_path / "photos/round").symlink_to(".")
    return tmp_path


def check(folder, name, begins=b"PAR1"):
    inputs = {"--images": folder / "photos", "--captions": folder / "captions.csv", "--units": None, "--gone": "gone"}
    check_paths([Output("--out", folder / name, begins)], inputs)


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["captions.csv", "photos/../captions.csv", "link.csv", "hard.csv"])
def test_an_output_that_is_an_input_is_refused_under_any_name(folder, name):
    (folder / "link.csv").symlink_to("captions.csv")
    os.link(folder / "captions.csv", folder / "hard.csv")
    before = everything(folder)
    with pytest.raises(UserError, match="^--out: .*csv: is --captions too, an input of this run; choose another name$"):
        check(folder, name)
    assert everything(folder) == before


@pytest.mark.parametrize("name", ["photos/a.png", "photos/more/b.png", "blobs/1f", "photos/c.png", "hard.png"])
def test_a_picture_of_an_input_folder_is_refused_under_any_name(folder, name):
    os.link(folder / "photos/more/b.png", folder / "hard.png")
    with pytest.raises(UserError, match=r"is a file in .*photos \(--images\), an input of this run"):
        check(folder, name)


def test_what_replaces_nothing_is_let_through_and_leaves_no_trace(folder):
    (folder / "photos/scores.parquet").write_bytes(b"PAR1 of an earlier run")
    (folder / "photos/page.html").write_bytes(b"<!DOCTYPE html> of an earlier run")
    (folder / "old.parquet").write_text("anything outside")
    (folder / "dead").symlink_to("nowhere")
    before = sorted(folder.rglob("*"))
    for name in ("photos/new.parquet", "photos/scores.parquet", "old.parquet", "deep/er/x.parquet", "dead"):
        check(folder, name)
    check(folder, "photos/page.html", PAGE)
    check(folder, "photos/units", None)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "begins", "message"),
    [
        ("photos", b"PAR1", "is a folder, and the name of a file is wanted"),
        ("captions.csv/x.parquet", b"PAR1", "captions.csv is not a folder, so nothing can lie below it"),
        ("captions.csv/deep/units", None, "captions.csv is not a folder, so nothing can lie below it"),
        ("dead/x.parquet", b"PAR1", "dead is not a folder, so nothing can lie below it"),
        ("blobs/1f", None, "is a file, and a folder is wanted"),
        ("/dev/null", b"PAR1", "is a device or a pipe, and a file is wanted"),
        ("/proc/x.parquet", b"PAR1", "nothing can be written to /proc"),
        ("n" * 250, b"PAR1", "File name too long"),
        ("n" * 300 + "/x", ANY, "File name too long"),
        ("photos", None, "is --images too"),
        ("scores.csv", b"PAR1", "is written as Parquet; name it scores.parquet"),
    ],
)
def test_a_place_that_cannot_work_is_one_line_that_names_it(folder, name, begins, message):
    if name.startswith("/") and not Path(name).parent.is_dir():
        pytest.skip("not on this system")
    (folder / "dead").symlink_to("nowhere")
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match=f"^--out: {folder / name}: .*{message}") as error:
        check(folder, name, begins)
    assert "\n" not in str(error.value)
    assert sorted(folder.rglob("*")) == before


def test_a_tilde_that_the_shell_left_is_refused():
    with pytest.raises(UserError, match=r"~/x.parquet: begins with a `~` that the shell left .* write \$HOME"):
        check_paths([Output("--out", Path("~/x.parquet"))], {})


def test_a_folder_without_the_right_to_write_is_refused(folder, monkeypatch):
    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(UserError, match="nothing can be written to .*photos .Permission denied.; choose another place"):
        check(folder, "photos/x.parquet")


def test_two_outputs_in_one_place_are_refused(folder):
    (folder / "photos2").symlink_to("photos")
    two = [Output("--out", folder / "photos/x"), Output("--save-units", folder / "photos2/x", None)]
    with pytest.raises(UserError, match="--save-units: .*: is --out too; give each its own name"):
        check_paths(two, {})


def test_a_disk_that_is_too_small_is_said_with_numbers(tmp_path):
    check_space(tmp_path / "not" / "there", 1, "features")
    with pytest.raises(UserError, match=r"there: features take about 1048576.0 GiB, and .* GiB are free on that disk"):
        check_space(tmp_path / "not" / "there", 2**50, "features")
