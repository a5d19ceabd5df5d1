import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from vialign.catalogue import LEARNING_RATES
from vialign.cli.app import schema_text
from vialign.config.data import DataConfig
from vialign.config.experiment import Config, digest, expand_variables, load_config, read_config
from vialign.errors import UserError
from vialign.methods.build import learning_rate


def sections(model: type, path: str = "") -> list[str]:
    """Dotted names of all sections of a config model."""
    found = [path] if path else []
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            found += sections(field.annotation, f"{path}.{name}".strip("."))
    return found


def test_an_empty_mapping_gives_the_defaults():
    assert load_config({}) == Config()


@pytest.mark.parametrize("section", ["", *sections(Config)])
def test_an_unknown_key_is_an_error_that_names_it_in_every_section(section):
    tree: dict = {}
    node = tree
    for name in filter(None, section.split(".")):
        node = node.setdefault(name, {})
    node["sead"] = 1
    with pytest.raises(UserError, match=f"unknown key `{f'{section}.sead'.strip('.')}`"):
        load_config(tree)


def test_every_wrong_value_gets_its_own_line():
    with pytest.raises(UserError) as caught:
        load_config({"seed": "seven", "training": {"batch": 0}, "signal": {"variant": "cooked"}})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(any(key in line for line in lines) for key in ("`seed`", "`training.batch`", "`signal.variant`"))


def test_the_early_check_lies_inside_the_training():
    load_config({"training": {"early_steps": 100, "steps": 100}})
    with pytest.raises(UserError, match="early_steps must not exceed"):
        load_config({"training": {"early_steps": 101, "steps": 100}})


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        Config().seed = 3


def test_variables_come_from_the_environment_or_their_default(monkeypatch):
    monkeypatch.setenv("VIALIGN_TEST_FOLDER", "/photos")
    assert expand_variables("${VIALIGN_TEST_FOLDER}/a") == "/photos/a"
    assert expand_variables("${VIALIGN_TEST_NONE:-../b}/a") == "../b/a"
    config = load_config({"data": {"folder": "${VIALIGN_TEST_FOLDER}", "tune_list": "${VIALIGN_TEST_NONE:-x.txt}"}})
    assert (config.data.folder, config.data.tune_list) == ("/photos", "x.txt")
    with pytest.raises(UserError, match="VIALIGN_TEST_NONE is not set"):
        load_config({"data": {"folder": "${VIALIGN_TEST_NONE}"}})
    monkeypatch.setenv("VIALIGN_TEST_NONE", "")
    assert expand_variables("${VIALIGN_TEST_NONE:-data}/coco") == "data/coco"
    with pytest.raises(UserError, match="VIALIGN_TEST_NONE is empty; set it to the folder"):
        load_config({"data": {"folder": "${VIALIGN_TEST_NONE}/coco"}})


def test_the_home_folder_is_found_and_what_is_no_variable_is_refused(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert load_config({"results": "~/out"}).results == "/home/ada/out"
    for text in ("$HOME/out", "${HOME", "${no pe}/x"):
        with pytest.raises(UserError, match=r"is no variable; write \$\{NAME\}"):
            load_config({"results": text})
    assert load_config({"title": "5 $ a picture"}).title == "5 $ a picture"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {sizes: {train: yes}}", "`data.sizes.train`: True is no number"),
        ("seed: on", "`seed`: True is no number"),
        ("training: {seeds: [0, off]}", "`training.seeds.1`: False is no number"),
        ("data: {sizes: {train: 0100}}", "'0100' is another number in YAML"),
        ("data: {sizes: {train: 1:30}}", "'1:30' is another number in YAML"),
        ("training:", "`training`: must be a section of keys and values"),
        ("training: {methods: lora}", "`training.methods`: must be a list"),
        ("training: {seeds: []}", "`training.seeds`: must have at least one item"),
        ("name: ''", "`name`: must not be empty"),
        ("name: no", "`name`: must be text; .* stands in quotes"),
        ("no: 1", "is no name of a key; .* stands in quotes"),
    ],
)
def test_what_yaml_takes_for_something_else_is_refused_in_words_of_yaml(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 20261130120000", "`seed`: 20261130120000 is too large; no number here may be larger than 2147483647"),
        ("seed: -99999999999999999999", "`seed`: -9+ is too large"),
        ("visual: {batch: 1000000000000}", "`visual.batch`: 1000000000000 is too large"),
        ("data: {sizes: {train: '99999999999'}}", "`data.sizes.train`: 99999999999 is too large"),
        ("training: {seeds: [0, 4294967296]}", "`training.seeds.1`: 4294967296 is too large"),
        ("visual: {temperature: 1.0e-320}", "`visual.temperature`: 1e-320 cannot be computed with; give 0 or a number"),
        ("evaluation: {level: 0}", "`evaluation.level`: Input should be greater than 0"),
        ("gates: {signal: {level: 1.0}}", "`gates.signal.level`: Input should be less than 1"),
        (
            "curriculum: {weight_range: [4.0, 0.25]}",
            "`weight_range` goes from the lower number to the higher, not from 4.0 to 0.25",
        ),
        ("shards: 100000", "`shards`: Input should be less than or equal to 1000"),
        ("gates: {signal: {beyond_text: -1.0e+300}}", "`gates.signal.beyond_text`: -1e[+]300 cannot be computed with"),
    ],
)
def test_a_number_that_would_fall_over_hours_later_is_refused(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title: "\\uD800"', "`title`: holds U[+]D800, which no file and no path can hold"),
        ('data: {folder: "a\\0b"}', "`data.folder`: holds U[+]0000"),
        ("data: {folder: ''}", "`data.folder`: is empty; give it a value, or leave the key out"),
        ("data: {order_files: [a.parquet, '  ']}", "`data.order_files.1`: is empty"),
        ('data: {sizes: {"\\uDC00": 3}}', r"`data.sizes.\\udc00`: holds U[+]DC00"),
    ],
)
def test_text_that_no_file_or_path_can_hold_is_refused(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_config(path)
    str(caught.value).encode()


def test_numbers_and_truths_of_yaml_are_still_themselves(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "seed: 0\ndata: {strict: yes, tolerance: 0.10, sizes: {train: 1_000}}\nvisual: {learning_rate: 1e-3}\n"
    )
    found = read_config(path)
    assert found.data.strict and found.data.sizes == {"train": 1000} and found.visual.learning_rate == 0.001


def test_files_are_laid_over_each_other_key_by_key(tmp_path):
    base, overlay = tmp_path / "base.yaml", tmp_path / "overlay.yaml"
    base.write_text("seed: 1\ndata: {sizes: {train: 10, test: 5}}\n")
    overlay.write_text("data: {sizes: {test: 7}, strict: true}\n")
    config = read_config(base, overlay)
    assert config.seed == 1
    assert config.data == DataConfig(sizes={"train": 10, "test": 7}, strict=True)


def test_what_is_wrong_in_files_is_told_with_their_names(tmp_path):
    base, overlay = tmp_path / "base.yaml", tmp_path / "over\\1.yaml"
    base.write_text("seed: one\n")
    overlay.write_text("data: {fodler: x}\n")
    with pytest.raises(UserError) as caught:
        read_config(base, overlay)
    assert len(str(caught.value).splitlines()) == 2
    assert all(line.startswith(f"config: {base}, {overlay}: ") for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), ("a: [1", "not valid YAML"), ("- 1\n- 2", "top level must be a mapping")],
)
def test_a_file_that_cannot_be_read_gets_one_line(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_the_digest_ignores_the_order_of_keys_and_sees_every_value():
    one = load_config({"seed": 1, "data": {"sizes": {"train": 10, "test": 5}}})
    same = load_config({"data": {"sizes": {"test": 5, "train": 10}}, "seed": 1})
    other = load_config({"seed": 1, "data": {"sizes": {"train": 10, "test": 6}}})
    assert digest(one) == digest(same) != digest(other)


def test_the_schema_in_the_repository_is_the_generated_one(repository):
    assert (repository / "workflow/schemas/config.schema.json").read_text() == schema_text(), "run `make schema`"


def test_the_schema_accepts_the_shipped_configs_and_refuses_an_unknown_key(repository):
    schema = json.loads(schema_text())
    files = [repository / "config.yaml", *sorted((repository / "configs").glob("*.yaml"))]
    assert files[0].exists()
    for path in files:
        jsonschema.validate(yaml.safe_load(Path(path).read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"training": {"epocs": 1}}, schema)


def test_a_learning_rate_that_is_given_leaves_the_others_at_their_defaults():
    training = load_config({"training": {"learning_rates": {"vialign": 1.0}}}).training
    assert [learning_rate(name, training) for name in ("vialign-correct", "lora")] == [1.0, LEARNING_RATES["lora"]]
