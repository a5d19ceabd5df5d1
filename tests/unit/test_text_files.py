import ast
import gzip
import io
import json
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.backbone.byte_pairs import read_merges
from vialign.config.experiment import load_config, read_config
from vialign.data.regions.indexed_tsv import index_rows, read_row
from vialign.data.treebanks.penn import read_trees
from vialign.data.treebanks.universal_dependencies import read_conllu
from vialign.errors import UserError
from vialign.files.text import MARK, NotJson, parse_json, read_json, read_text, read_yaml, text_lines, unix_ends
from vialign.stage import _Tee

ENDS = (b"\n", b"\r\n", b"\r", b"\r\r\n")
CONLLU = "# text = dogs run\n1\tdogs\tdog\tNOUN\tNNS\t_\t2\tnsubj\t_\t_\n2\trun\trun\tVERB\tVBP\t_\t0\troot\t_\t_\n\n"
READERS = {
    "lines": ("one\ntwo é\n\nfour\n", lambda path: list(text_lines(path, "x"))),
    "json": ('{"rows":\n[1, "é"]}\n', lambda path: read_json(path, "x")),
    "yaml": ("name: é\ndata:\n  strict: true\n", read_config),
    "brackets": ("(S (NP (NNS dogs))\n(VP (VBP run)))\n", read_trees),
    "conllu": (CONLLU, read_conllu),
    "merges": ("#version: 0.2\na b\nab é\n", read_merges),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mark", [b"", MARK])
def test_every_reader_takes_a_byte_order_mark_and_the_line_ends_of_any_system(tmp_path, name, end, mark):
    text, read = READERS[name]
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.write_bytes(text.encode())
    other.write_bytes(mark + text.encode().replace(b"\n", end))
    assert read(other) == read(plain)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_text_that_is_not_utf_8_is_one_line_with_byte_and_line(tmp_path, name, end):
    path = tmp_path / "latin.txt"
    path.write_bytes(end.join([b"a b", b"caf\xe9 b", b"c d"]))
    byte = 3 + len(end) + 3
    with pytest.raises(UserError) as caught:
        READERS[name][1](path)
    said = str(caught.value)
    assert f"{path}: is not UTF-8 text (invalid continuation byte at byte {byte}, line 2); save it as UTF-8" in said
    assert "\n" not in said


@pytest.mark.parametrize("form", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", READERS)
def test_utf_16_is_named(tmp_path, name, form):
    path = tmp_path / "wide.txt"
    path.write_bytes(READERS[name][0].encode(form))
    with pytest.raises(UserError, match="wide.txt: is UTF-16 text; save it as UTF-8"):
        READERS[name][1](path)


@given(st.text(st.sampled_from("ab\n\r\u2028\x0b\x85")))
def test_lines_end_where_the_system_of_the_file_ends_them_and_nowhere_else(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("lines") / "x.txt"
    path.write_bytes(text.encode())
    found = [line for _, line in text_lines(path)]
    if "\n" in text:
        with path.open(encoding="utf-8", newline="\n") as file:
            assert found == [line.rstrip("\r\n") for line in file]
    else:
        assert found == text.split("\r")[: -1 if text.endswith("\r") or not text else None]
    assert unix_ends(unix_ends(text)) == unix_ends(text)


def test_a_region_file_may_have_a_mark_but_no_line_ends_that_it_cannot_be_indexed_by(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_bytes(MARK + b"a.jpg\t1\r\nb.jpg\t2\r\n")
    places = index_rows(path)
    assert list(places) == ["a.jpg", "b.jpg"]
    assert read_row(path, places, "a.jpg").cells == [b"a.jpg", b"1"]
    path.write_bytes(b"a.jpg\t1\rb.jpg\t2\r")
    with pytest.raises(UserError, match="x.tsv, line 1: has a carriage return inside; end lines by newlines"):
        index_rows(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_broken_json_is_named_by_line_and_column_of_the_file(tmp_path, end):
    path = tmp_path / "x.json"
    path.write_bytes(end.join(["{", '"a": 1,', '  "b": oops}']).encode())
    with pytest.raises(UserError, match=r"coco: .*x.json: line 3, column 8: is not JSON \(.*\); .* download it again"):
        read_json(path, "coco")


def test_a_key_that_stands_twice_in_an_object_is_refused_unless_asked_for(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"rows": [{"id": 7, "x": 1, "x": 2}], "x": 3}')
    with pytest.raises(UserError, match=r'x.json: has the key "x" twice in one object \(the object with "id": 7\)'):
        read_json(path)
    assert read_json(path, unique=False)["rows"] == [{"id": 7, "x": 2}]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_of_json_is_refused_in_settings_and_left_to_the_row_in_data(number):
    assert not parse_json(f"[{number}]")[0] < 1e308 or number == "-Infinity"
    with pytest.raises(NotJson, match=f"holds {number}, which is no number of JSON"):
        parse_json(f"[{number}]", finite=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"image,caption", mtime=0), "is packed with gzip"),
        (b"PK\x03\x04\x14\0\0\0\x08\0\xff", "is a zip archive or a workbook of Excel"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is a workbook of Excel; save the table as CSV"),
        (b"PAR1\x15\x04\x15\xff", "is a Parquet file"),
    ],
)
def test_a_packed_table_in_place_of_text_is_named(tmp_path, content, said):
    path = tmp_path / "captions.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_text(path)


def test_a_pointer_or_a_page_in_place_of_text_is_named(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(UserError, match="x.txt: is a Git LFS pointer"):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("seed: 1\nname: x\nseed: 2\n", "seed", (1, 3)),
        ("data:\n  strict: true\n  folder: a\n  strict: true\n", "strict", (2, 4)),
        ("evaluation:\n  expected:\n  - {metric: r1, metric: r5}\n", "metric", (3, 3)),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  x: 2\n  'x': 3\n", "x", (4, 5)),
    ],
)
def test_a_yaml_key_that_stands_twice_is_named_with_both_lines(tmp_path, text, key, lines):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    words = f"key `{key}` stands twice in one section, on line {lines[0]} and line {lines[1]}; keep one of them"
    assert str(caught.value) == f"config: {path}: {words}"


def test_a_merged_yaml_key_may_be_laid_over(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}\nc: {<<: *a, x: 3}\n")
    assert read_yaml(path)["b"] == {"x": 2, "y": 1}


@pytest.mark.parametrize("content", [b"a: &a [*a]", b"name: 2020-13-45", b"? [a]\n: 1", b"[" * 20_000, b"\x00", b"- 1"])
def test_whatever_a_config_holds_is_one_line(tmp_path, content):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="is a folder"):
        read_config(tmp_path)


@pytest.mark.parametrize("levels", [65, 3000])
def test_a_yaml_file_deeper_than_any_config_is_refused_where_it_gets_so(tmp_path, levels):
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 64 + "]" * 64)
    assert read_yaml(path) is not None
    path.write_text("[" * levels + "]" * levels)
    with pytest.raises(UserError, match=r"nested more than 64 levels deep .*line 1, column 65"):
        read_yaml(path)


def test_a_config_that_holds_itself_is_one_line():
    loop: dict = {}
    loop["data"] = loop
    with pytest.raises(UserError, match="holds itself"):
        load_config(loop)


def test_a_config_that_aliases_make_larger_than_it_is_is_one_line(tmp_path):
    path = tmp_path / "x.yaml"
    lines = [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise("abcdef")]
    path.write_text("\n".join(["a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", *lines]))
    with pytest.raises(UserError, match=r"holds more than 100,000 values through YAML aliases \(`\*name`\)"):
        read_config(path)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("command", ["config reference", "config schema", "data notes", "--help", "data notes --help"])
def test_pages_are_utf_8_and_help_reaches_a_console_of_any_encoding(repository, encoding, command):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(repository / "src")}
    run = subprocess.run(
        [sys.executable, "-m", "vialign.cli.app", *command.split()], capture_output=True, env=environment
    )
    assert run.returncode == 0, run.stderr.decode(errors="replace")[-500:]
    text = run.stdout.decode("utf-8")
    if command == "config reference":
        assert text == (repository / "docs/configuration.md").read_text(encoding="utf-8") and "≥" in text


def test_what_a_job_prints_reaches_a_console_without_the_signs_and_the_log_as_it_is():
    console, log = io.TextIOWrapper(io.BytesIO(), encoding="ascii"), io.StringIO()
    tee = _Tee(console, log)
    print("a ≥ b", file=tee)
    tee.flush()
    assert console.buffer.getvalue() == b"a \\u2265 b\n"
    assert log.getvalue() == "a ≥ b\n"


OWN = {
    "stage.py": "/proc, which may hold any bytes",
    "files/locks.py": "Snakemake's list of what it locked",
    "backbone/pretrain.py": "a definition of the package itself",
    "cli/init.py": "the template of the package itself",
    "evaluation/published_values.py": "a table of the package itself",
    "report/build.py": "templates of the package itself",
    "report/failure_sheet.py": "templates of the package itself",
    "report/search.py": "styles of the package itself",
}


def test_no_other_module_opens_text_itself(repository):
    """Text is opened by `.read_text(...)` of a path or by `open` without "b" (or "w"): both only where said why."""
    found = set()
    package = repository / "src" / "vialign"
    for path in package.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if isinstance(call.func, ast.Attribute) and name == "read_text":
                found.add(path.relative_to(package).as_posix())
            if name == "open" and any(k.arg == "encoding" for k in call.keywords) and "w" not in modes:
                found.add(path.relative_to(package).as_posix())
            if isinstance(call.func, ast.Attribute) and name == "load" and getattr(call.func.value, "id", "") == "json":
                found.add(path.relative_to(package).as_posix())
    assert found == OWN.keys()


def test_json_of_any_kind_is_read_as_the_library_reads_it():
    value = {"a": [1, 2.5, None, True, "é\u2028"], "b": {}}
    assert parse_json(json.dumps(value)) == parse_json(MARK + json.dumps(value).encode()) == value
