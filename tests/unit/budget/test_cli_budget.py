"""`vialign budget`: methods by name at a tiny backbone's size, and a user's own pair of modules."""

import json
import re

import pytest
import spacy
import torch
import yaml
from typer.testing import CliRunner

from vialign.budget.ledger import count_parameters, count_stored
from vialign.cli.app import app
from vialign.config.experiment import load_config
from vialign.errors import UserError
from vialign.files.artifacts import read_provenance, read_table
from vialign.methods.build import build_method
from vialign.tables.gates import BUDGET
from vialign.training.efficiency import fresh_units
from vialign.training.standalone import (
    CALIBRATION,
    drawn_captions,
    find_nlp,
    largest_allowed,
    measure_alone,
    random_backbone,
)

run = CliRunner().invoke
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
FACTORY = """
import torch
from torch import nn
from vialign.budget import ModulePair

class With(nn.Module):
    def __init__(self, backbone, rank):
        super().__init__()
        self.backbone, self.down, self.up = backbone, nn.Linear(32, rank, bias=False), nn.Linear(rank, 32, bias=False)
    def forward(self, states):
        return self.backbone(states) + self.up(self.down(states))

def make(config):
    backbone = nn.Linear(32, 3200, bias=False)
    backbone = nn.Sequential(backbone, nn.Linear(3200, 32, bias=False)).requires_grad_(False)
    build = lambda rank: With(backbone, rank)
    return ModulePair(backbone, build(config.curriculum.rank), (torch.ones(4, 32),), at_rank=build)

def wrong(config):
    return config.name

def fails(config):
    raise ValueError("no width\\nat all")

def ends(config):
    raise SystemExit(3)

def narrow(config):
    return ModulePair(nn.Linear(32, 32), nn.Linear(3, 32), (torch.ones(4, 32),))

number = 3
"""


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "tiny-budget.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}))
    return {
        "backbone": {"architecture": "tiny-budget", "definition": str(path), "checkpoint": "not/there.safetensors"},
        "visual": {"atoms": 6, "prototypes": 2, "adapter_rank": 2},
        "text": {"width": 4, "units": 3},
        "budget": {"batch": 3},
        "language": {"epochs": 1},
        "curriculum": {"rank": 2},
    }


@pytest.fixture
def file(settings, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def test_a_method_is_measured_without_weights_and_written_as_the_declared_table(file, settings, tmp_path):
    out = tmp_path / "ledger.parquet"
    result = run(app, ["budget", "clip-adapter", file, "--out", str(out), "--rounds", "2"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("clip-adapter on tiny-budget (random weights)\n")
    assert f"{out}: written" in result.stdout
    frame = read_table(out, BUDGET).set_index("measure")
    assert frame.loc["parameters_extra", "value"] == 2 * 2 * 16 * 4
    assert {"inference_overhead", "training_overhead", "flops_image", "memory_peak"} <= set(frame.index)
    about = read_provenance(out)
    assert (about["rule"], about["model"]) == ("vialign budget", "clip-adapter")
    assert len(about["config"]) == 64


def test_a_method_with_regions_says_how_many_and_what_is_not_measured(file):
    result = run(app, ["budget", "vinvl", file, "--rounds", "1"])
    assert result.exit_code == 0, result.output
    assert "regions     36 an image, drawn; what finds them is not measured" in result.stdout
    told = json.loads(run(app, ["budget", "vinvl", file, "--rounds", "1", "--json"]).stdout)
    assert told["regions_drawn"] == 36 and told["largest"] is None and told["ledger"]


def test_the_full_model_pays_for_the_captions_that_are_parsed(settings, monkeypatch):
    monkeypatch.setattr("vialign.toolkit.parsing._SCENES", {"train": 6, "selection": 1})
    config = load_config(settings)
    backbone = random_backbone(config)
    nlp = find_nlp("vialign", config, None)
    assert {"tagger", "parser"} <= set(nlp.pipe_names)
    asked = []

    def measured(share):
        asked.clear()
        frame = measure_alone("vialign", config, backbone, nlp, parsed=share, rounds=1)
        return frame.set_index("measure")["value"], len(asked)

    pipe = nlp.pipe

    def counted(texts, **options):
        texts = list(texts)
        asked.extend(texts)
        return pipe(texts, **options)

    nlp.pipe = counted
    rows, parsed = measured(1.0)
    none, read_for_the_curve = measured(0.0)
    assert parsed > read_for_the_curve > 0
    assert none["flops_parser"] == 0 < rows["flops_parser"]
    assert none["inference_overhead_asked"] == none["inference_overhead"]
    assert rows["parameters_extra"] == none["parameters_extra"] > rows["parameters_trainable"]


@pytest.mark.parametrize("method", ["vialign", "lora"])
def test_the_largest_rank_is_the_last_that_a_built_model_keeps_under_the_limit(settings, method):
    settings["budget"]["parameters"] = 0.004  # a tiny backbone is nearly all token table
    config = load_config(settings)
    backbone = random_backbone(config)
    value, rank, extra = largest_allowed(method, config, backbone, spacy.blank("en"))
    section, field = value.split(".")

    def stored(at):
        """What a model holds that is built at a rank, where the budget no longer sizes it down."""
        free = {
            section: getattr(config, section).model_copy(update={field: at}),
            "budget": config.budget.model_copy(update={"parameters": 1.0}),
        }
        built = build_method(method, config.model_copy(update=free), backbone, CALIBRATION, 0)
        units = fresh_units(backbone, config, "auto") if method == "vialign" else {}
        parts = [backbone.model, built, *(unit for unit in units.values() if isinstance(unit, torch.nn.Module))]
        return count_stored(parts) - count_stored([backbone.model])

    assert 1 <= rank < backbone.dimension
    assert stored(rank) == extra < 0.004 * count_parameters([backbone.model]) <= stored(rank + 1)


def test_methods_without_a_rank_say_so(settings):
    config = load_config(settings)
    with pytest.raises(UserError, match="--size: bitfit has no rank; it sizes lora and vialign"):
        largest_allowed("bitfit", config, random_backbone(config), spacy.blank("en"))


def test_ones_own_pair_is_measured_and_sized(file, tmp_path, monkeypatch):
    (tmp_path / "mine_for_budget.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    result = run(app, ["budget", "mine_for_budget:make", file, "--size"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("make on Sequential\n")
    assert "128 beyond the backbone, 0.0625 % of it" in result.stdout
    assert "training" not in result.stdout
    assert re.search(r"largest rank inside the budget \(2 %\): 63, 4,032 extra parameters", result.stdout)


@pytest.mark.parametrize(
    ("arguments", "largest"),
    [((), None), (("--size",), {"sized": "rank", "size": 63, "parameters_extra": 4032, "limit": 0.02})],
)
def test_everything_is_told_as_json(file, tmp_path, monkeypatch, arguments, largest):
    (tmp_path / "mine_for_budget.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "ledger.parquet"
    result = run(app, ["budget", "mine_for_budget:make", file, "--json", "--out", str(out), *arguments])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["largest"] == largest and told["regions_drawn"] is None
    assert [row["measure"] for row in told["ledger"]] == read_table(out, BUDGET)["measure"].tolist()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("loar", "no method 'loar'; there are frozen, lora"),
        ("absent_module:make", "no module 'absent_module'"),
        ("mine_for_budget:absent", "module mine_for_budget has no function 'absent'"),
        ("mine_for_budget:wrong", "returned str; it must return a vialign.budget.ModulePair"),
        ("mine_for_budget:fails", "mine_for_budget:fails: failed with ValueError: no width at all ("),
        ("mine_for_budget:fails", "mine_for_budget.py, line "),
        ("mine_for_budget:ends", "failed with SystemExit: 3 ("),
        ("mine_for_budget:narrow", "failed with RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ("mine_for_budget:number", "is int, no function"),
        ("broken_for_budget:make", "failed with SyntaxError: "),
        (":", ":: is no package.module:factory; write the module, a colon"),
        ("..mine:make", "..mine:make: is no package.module:factory"),
    ],
)
def test_a_mistake_is_one_line(file, tmp_path, monkeypatch, model, message):
    (tmp_path / "mine_for_budget.py").write_text(FACTORY)
    (tmp_path / "broken_for_budget.py").write_text("def make(:\n")
    monkeypatch.chdir(tmp_path)
    result = run(app, ["budget", model, file])
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_captions_are_drawn_by_seed_and_differ_from_their_negatives():
    captions, others = drawn_captions(5, 3)
    assert drawn_captions(5, 3) == (captions, others) != drawn_captions(5, 4)
    assert len(captions) == len(others) == 5
    assert all(one != other for one, other in zip(captions, others, strict=True))
