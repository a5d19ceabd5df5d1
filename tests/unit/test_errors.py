import pickle
import zlib

import pytest

from vialign.errors import UserError, not_the_file, one_line, reading

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (RecursionError(), "nested too deeply"),
        (MemoryError(), "more memory than there is"),
        (OverflowError("too\nlarge"), "OverflowError: too large"),
        (zlib.error("bad"), "error: bad"),
        (UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "invalid"), "not UTF-8 text (invalid at byte 1, line 1)"),
        (pickle.UnpicklingError("\x1b[1mbold\x1b[0m"), "UnpicklingError: bold"),
        (PermissionError(13, "Permission denied"), "cannot be read (Permission denied)"),
        (AssertionError(), "cannot be read (AssertionError); mend it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_while_a_file_is_read_is_one_line_that_names_it(tmp_path, error, words):
    file = tmp_path / "a.bin"
    file.write_bytes(b"content")
    with pytest.raises(UserError) as caught, reading(file, "mend it", "coco"):
        raise error
    assert str(caught.value).startswith(f"coco: {file}: ") and words in str(caught.value)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_a_users_error_passes_and_so_does_an_interrupt():
    with pytest.raises(UserError, match="^precise$"), reading("a"):
        raise UserError("precise")
    with pytest.raises(KeyboardInterrupt), reading("a"):
        raise KeyboardInterrupt


def test_a_file_that_is_not_there_is_named_by_its_own_name(tmp_path):
    with pytest.raises(UserError, match="b.bin: no such file"), reading(tmp_path / "a.bin"):
        (tmp_path / "b.bin").read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (POINTER, "git lfs pull"),
        (b"\n <!DOCTYPE html><p>404", "is a web page"),
        (b"<html lang=en>", "is a web page"),
        (b"<a> cat", None),
        (b"version of a cat", None),
    ],
)
def test_what_lies_in_place_of_a_file_is_said_instead_of_the_librarys_reason(tmp_path, content, words):
    file = tmp_path / "a.bin"
    file.write_bytes(content)
    assert (not_the_file(file) or "") == "" if words is None else words in not_the_file(file)
    with pytest.raises(UserError, match=words or "ValueError: half a sentence"), reading(file):
        raise ValueError("half a sentence")


def test_a_value_that_swallowed_half_a_file_is_cut_in_the_message():
    message = str(UserError(f"/data/a.csv, line 3: field id is '{'x' * 100_000}'; correct it"))
    assert message.startswith("/data/a.csv, line 3: field id is 'xxx") and message.endswith("x'; correct it")
    assert len(message) < 300


def test_a_long_message_is_cut():
    assert len(one_line(ValueError("x" * 10_000))) < 300
