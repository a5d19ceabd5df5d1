import subprocess
import sys

import pytest

from planted import CALIBRATION
from vialign.backbone import load_backbone
from vialign.catalogue import METHODS, TOWER_METHODS
from vialign.config.data import BackboneConfig
from vialign.config.experiment import load_config
from vialign.errors import UserError
from vialign.features import BackboneFacts
from vialign.methods.build import build_method


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(BackboneConfig())


def test_facts_are_those_of_the_backbone_and_come_back_from_a_store(backbone):
    facts = BackboneFacts.of(backbone)
    assert (facts.dimension, facts.grid, facts.logit_scale) == (
        backbone.dimension,
        backbone.grid,
        backbone.logit_scale,
    )
    unique = {id(parameter): parameter.numel() for parameter in backbone.model.parameters()}
    assert facts.parameters == sum(unique.values())
    width = backbone.token_embeddings(backbone.tokenize(["a"]).ids).shape[-1]
    assert facts.state_width == backbone.dimension + width
    assert BackboneFacts.from_provenance(facts.provenance(), "store") == facts


@pytest.mark.parametrize("broken", [{"grid": "7"}, {"logit_scale": "high"}, {"parameters": None}])
def test_a_store_without_them_is_named(backbone, broken):
    provenance = {**BackboneFacts.of(backbone).provenance(), **broken}
    provenance = {name: value for name, value in provenance.items() if value is not None}
    with pytest.raises(UserError, match="images: does not say what its backbone is like .* extract again"):
        BackboneFacts.from_provenance(provenance, "images")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_without_towers_is_the_same_from_facts_alone(backbone, name):
    config, facts = load_config({}), BackboneFacts.of(backbone)
    if name in TOWER_METHODS:
        with pytest.raises(TypeError, match=f"{name} runs the towers"):
            build_method(name, config, facts, CALIBRATION, 0)
        return
    loaded, alone = (build_method(name, config, source, CALIBRATION, 0).state() for source in (backbone, facts))
    assert loaded.keys() == alone.keys()
    assert all(bool((loaded[key] == alone[key]).all()) for key in loaded)


def test_training_on_frozen_features_loads_no_tower_library():
    code = (
        "import sys, vialign.training.job, vialign.training.loop, vialign.methods.build, vialign.methods.inputs, "
        "vialign.evaluation.run; print(sorted({'open_clip', 'torchvision', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
