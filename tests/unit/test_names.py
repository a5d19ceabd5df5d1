import re
import subprocess
import sys

import pytest
import yaml

from vialign import names
from vialign.backbone.registry import BLIP, DEMO, PACKAGED
from vialign.catalogue import (
    AVERAGED,
    COMPARED,
    GUIDED,
    LEARNING_RATES,
    LONG,
    METHODS,
    REGION_METHODS,
    SUBSETS,
    TOWER_METHODS,
    UNTRAINED,
    family,
)
from vialign.config.experiment import load_config, read_config
from vialign.data.scenes.build import DEFAULT_SIZES
from vialign.errors import UserError
from vialign.tables.data import NEGATIVE_KINDS


def complaint(config: dict) -> str:
    with pytest.raises(UserError) as caught:
        load_config(config)
    return str(caught.value)


def test_the_names_are_those_of_the_tables_and_registries():
    assert names.splits_of("scenes") == tuple(DEFAULT_SIZES)
    assert names.NEGATIVES == NEGATIVE_KINDS
    assert set(METHODS) == {*UNTRAINED, *LEARNING_RATES, *LONG, *SUBSETS, GUIDED}
    assert (names.DEMO, names.BLIP) == (DEMO, BLIP)
    assert tuple(PACKAGED) == names.PACKAGED
    assert {*COMPARED, *TOWER_METHODS, *REGION_METHODS} <= {*METHODS, *AVERAGED}
    for name in METHODS:
        load_config({"training": {"methods": [name], "compare": [name]}})
        assert name in UNTRAINED or family(name) in LEARNING_RATES


def test_the_architectures_are_those_that_open_clip_lists():
    import open_clip

    shipped = {name for name in open_clip.list_models() if not name.startswith(("registry-", "test-"))}
    assert set(names.architectures()) - {DEMO} <= set(open_clip.list_models())
    assert {"ViT-B-32", "ViT-B-32-quickgelu", "ViT-S-32-alt", "coca_ViT-B-32"} <= set(names.architectures()) & shipped


def test_checking_a_config_imports_no_torch(repository):
    code = (
        "import sys; from vialign.config.experiment import read_config; read_config(*sys.argv[1:]); "
        "print([name for name in ('torch', 'open_clip', 'spacy', 'pandas') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(repository / "config.yaml"), str(repository / "configs/paper.yaml")]
    run = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(repository / "src"), "PATH": ""}
    )
    assert run.stdout == "[]\n", run.stderr


def test_planning_a_run_imports_no_torch(repository):
    """A call of Snakemake, and every job on a cluster, begins with what the rules import."""
    rules = [path.read_text(encoding="utf-8") for path in (repository / "workflow/rules").glob("*.smk")]
    needed = sorted(set(re.findall(r"^(?:from|import) (vialign\S*)", "\n".join(rules), re.MULTILINE)))
    code = f"import sys, {', '.join(needed)}; print([x for x in ('torch', 'scipy', 'matplotlib') if x in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(repository / "src"), "PATH": ""},
    )
    assert len(needed) > 8 and run.stdout == "[]\n", run.stderr


SCENES = ", ".join(names.EMBEDDED_SPLITS)
WRONG = [
    ("data.dataset", "coc", {"data": {"dataset": "coc"}}, "coco"),
    ("data.benchmarks", "winogrund", {"data": {"benchmarks": {"winogrund": {"folder": "x"}}}}, "winoground"),
    ("data.sizes", "trian", {"data": {"sizes": {"trian": 5}}}, "train"),
    ("evaluation.splits", "tset", {"evaluation": {"splits": ["tset"]}}, "test"),
    ("evaluation.splits", "train", {"evaluation": {"splits": ["test", "train"]}}, None),
    (
        "evaluation.splits",
        "test_domain",
        {"data": {"dataset": "coco"}, "evaluation": {"splits": ["test_domain"]}},
        None,
    ),
    ("language.negatives", "swap_role", {"language": {"negatives": ["swap_role"]}}, "swap_roles"),
    ("training.methods", "Lora", {"training": {"methods": ["frozen", "Lora"]}}, "lora"),
    ("training.compare", "clip_adapter", {"training": {"compare": ["clip_adapter"]}}, "clip-adapter"),
    ("training.methods", "vialign-correct-reweight", {"training": {"methods": ["vialign-correct-reweight"]}}, None),
    ("training.learning_rates", "adaptor", {"training": {"learning_rates": {"adaptor": 1e-3}}}, "adapter"),
    ("training.learning_rates", "frozen", {"training": {"learning_rates": {"frozen": 1e-3}}}, None),
    ("training.learning_rates", "vialign-none", {"training": {"learning_rates": {"vialign-none": 1}}}, "vialign"),
    ("backbone.architecture", "ViT-B32", {"backbone": {"architecture": "ViT-B32", "checkpoint": None}}, "ViT-B-32"),
    ("backbone.architecture", "blib", {"backbone": {"architecture": "blib", "checkpoint": None}}, "blip"),
    ("budget.reference", "vit_b_32", {"budget": {"reference": "vit_b_32"}}, "ViT-B-32"),
    ("budget.reference", "blip", {"budget": {"reference": "blip"}}, None),
]


@pytest.mark.parametrize(("key", "value", "config", "meant"), WRONG, ids=lambda value: str(value)[:30])
def test_a_name_that_is_none_is_one_line_with_key_value_and_the_nearest_right_name(key, value, config, meant):
    said = complaint(config)
    assert said.startswith(f"config: `{key}`: {value!r} is unknown; ") and "\n" not in said
    assert "choose of " in said or "there are " in said
    if meant is not None:
        assert f"did you mean {meant!r}?" in said


def test_sizes_of_a_layer_that_fits_any_data_set_pass():
    sizes = {"test_domain": 5, "train": 9}
    assert load_config({"data": {"dataset": "coco", "folder": "x", "sizes": sizes}}).data.sizes == sizes


def test_the_names_that_there_are_are_said():
    sources = "disentangle, disentangle_selection, probe"
    assert complaint({"data": {"sizes": {"x": 1}}}).endswith(f"choose of {SCENES}, {sources}")
    assert "choose of test" in complaint({"data": {"dataset": "vg200"}, "evaluation": {"splits": ["test_domain"]}})


@pytest.mark.parametrize("key", ["seeds", "compare_seeds"])
def test_seeds_are_whole_numbers_each_once_and_at_least_one(key):
    assert f"`training.{key}`: 3 stands twice in [3, 1, 3]; give each once" in complaint({"training": {key: [3, 1, 3]}})
    assert f"`training.{key}`: " in complaint({"training": {key: []}})
    assert f"`training.{key}.0`: " in complaint({"training": {key: [-1]}})
    assert f"`training.{key}.1`: " in complaint({"training": {key: [0, 1.5]}})
    assert getattr(load_config({"training": {key: [7]}}).training, key) == (7,)


TWICE = [
    ("language", "negatives", ["shuffle", "shuffle"]),
    ("text", "typos", [0.1, 0.1]),
    ("signal", "severities", [1, 1]),
    ("signal", "epsilons", [1, 1.0]),
    ("signal", "stress_typos", [5, 5]),
    ("signal", "stress_word_order", [20, 20]),
    ("training", "methods", ["lora", "lora"]),
    ("training", "compare", ["lora", "lora"]),
    ("evaluation", "splits", ["test", "test"]),
    ("uses", "labels", [50, 50]),
    ("baselines", "averaging_shares", [0.5, 0.5]),
]


@pytest.mark.parametrize(("section", "key", "values"), TWICE)
def test_a_list_holds_something_and_nothing_twice(section, key, values):
    assert "stands twice" in complaint({section: {key: values}})
    assert f"`{section}.{key}`" in complaint({section: {key: []}})
    load_config({section: {key: values[:1]}})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("section", "key"), [("signal", "temperature"), ("text", "typos"), ("budget", "inference"), ("visual", "purity")]
)
def test_numbers_are_finite(section, key, number):
    assert f"`{section}.{key}" in complaint({section: {key: [number] if key == "typos" else number}})
    assert "minimum_gain" in complaint({"gates": {"signal": {"minimum_gain": number}}})


@pytest.mark.parametrize("text", ["1: x", "data: {sizes: {1: 5}}", "null: x", "data: {yes: x}", "training: {1.5: x}"])
def test_a_key_that_is_no_text_is_one_line(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_config(path)
    assert str(caught.value).startswith("config: ") and "\n" not in str(caught.value)


def test_a_key_that_is_misspelt_is_shown_the_nearest_one_of_its_section():
    assert "unknown key `training.epocs`; remove" in complaint({"training": {"epocs": 1}})
    assert "unknown key `training.sees`; did you mean `seeds`?" in complaint({"training": {"sees": [1]}})
    assert "unknown key `trainig`; did you mean `training`?" in complaint({"trainig": {}})


def test_a_definition_has_the_name_of_its_architecture_and_package_weights_their_own():
    own = {"architecture": "mine", "definition": "models/mine.json", "checkpoint": "a.pt"}
    assert load_config({"backbone": own}).backbone.architecture == "mine"
    for definition in ("models/other.json", "models/mine.yaml"):
        said = complaint({"backbone": {**own, "definition": definition}})
        assert said.startswith("config: `backbone.architecture`: 'mine' is not the name of") and "\n" not in said
    load_config({"backbone": {"architecture": "blip", "definition": "a folder", "checkpoint": "a.pt"}})
    said = complaint({"backbone": {"architecture": "ViT-B-32"}})
    assert "`backbone.checkpoint`: 'package' holds the weights of vialign-scenes, not of ViT-B-32" in said


def test_test_splits_that_are_not_given_are_those_of_the_data_set():
    assert load_config({}).evaluation.splits == ("test", "test_combination", "test_domain")
    other = load_config({"data": {"dataset": "coco", "folder": "x"}})
    assert other.evaluation.splits == ("test",) and load_config(other.model_dump()) == other
    assert load_config({"evaluation": {"splits": ["test_domain"]}}).evaluation.splits == ("test_domain",)


def value(benchmark: str, metric: str) -> dict:
    return {"benchmark": benchmark, "metric": metric, "percent": 10, "source": "x"}


@pytest.mark.parametrize(
    ("benchmark", "metric", "words"),
    [
        ("image_to_text", "r1", "has no split; write it as in the results, such as 'test/image_to_text'"),
        ("tset/image_to_text", "r1", "`evaluation.expected.0.benchmark`: 'tset' is unknown; did you mean 'test'?"),
        ("test/image_to_text", "R1", "`evaluation.expected.0.metric`: 'R1' is unknown; did you mean 'r1'?"),
        ("test/text_to_image", "accuracy", "choose of r1, r5, r10"),
        ("test/image_to_txt", "accuracy", "'image_to_txt' is unknown; did you mean 'image_to_text'?"),
        ("winoground/winoground", "group", "'winoground' is unknown"),
    ],
)
def test_an_expected_value_names_a_split_a_benchmark_and_a_measure_that_are_evaluated(benchmark, metric, words):
    said = complaint({"evaluation": {"expected": [value(benchmark, metric)]}})
    assert words in said and "\n" not in said


def test_expected_values_of_every_form_are_taken():
    forms = [("test/image_to_text", "r10"), ("winoground/winoground", "group"), ("test/negatives", "accuracy")]
    forms += [("aro/aro_relation", "accuracy"), ("test/vqa", "soft_accuracy")]
    config = {
        "data": {"benchmarks": {name: {"folder": "x"} for name in ("winoground", "aro")}},
        "evaluation": {"expected": [value(*form) for form in forms]},
    }
    assert len(load_config(config).evaluation.expected) == len(forms)
    config["data"]["order_files"] = ["mine.jsonl"]
    config["evaluation"]["expected"] = [value("test/my_order", "accuracy")]
    load_config(config)


def test_every_shipped_config_is_valid(repository):
    for path in [repository / "config.yaml", *sorted((repository / "configs").glob("*.yaml"))]:
        read_config(repository / "config.yaml", path)
        assert yaml.safe_load(path.read_text())
