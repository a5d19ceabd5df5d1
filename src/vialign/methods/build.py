"""From a method's name to its objective."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from vialign.catalogue import (
    CURRICULUM,
    GUIDED,
    LEARNING_RATES,
    METHODS,
    TOWER_METHODS,
    UNTRAINED,
    family,
    trained_as,
)
from vialign.config.experiment import Config
from vialign.config.methods import TrainingConfig
from vialign.config.pairs import recipe_of
from vialign.errors import UserError
from vialign.features import BackboneFacts, read_images
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.ground import word_width
from vialign.methods.objective import Objective
from vialign.methods.sizing import sized_rank
from vialign.signal.calibration import SignalCalibration

if TYPE_CHECKING:
    from vialign.backbone import Backbone


def learning_rate(name: str, config: TrainingConfig) -> float:
    """The peak learning rate of a method: the config's, or the catalogue's; 0 where nothing is trained."""
    if name in UNTRAINED:
        return 0.0
    return config.learning_rates.get(family(name), LEARNING_RATES[family(name)])


def open_backbone(name: str, config: Config, images: str | Path) -> "Backbone | BackboneFacts":
    """What `build_method` needs for a method: the backbone where it runs the towers, else what is known of it.

    `images` is a store of image features, which carries the facts. Raises UserError when either cannot be read.
    """
    if trained_as(name) in TOWER_METHODS:
        from vialign.backbone import load_backbone

        return load_backbone(config.backbone, config.seed)
    return BackboneFacts.from_provenance(read_images(images).provenance, images)


def build_method(
    name: str, config: Config, backbone: "Backbone | BackboneFacts", calibration: SignalCalibration, seed: int
) -> Objective:
    """A method at its start, by its own recipe; `seed` decides its random initial values. An average is the method that
    it averages.

    Raises UserError when no method has that name, TypeError when it runs the towers and is given facts alone.
    """
    trained = trained_as(name)
    own = config.model_copy(update={"training": recipe_of(trained, config)})
    method = _build(trained, own, backbone, calibration, seed)
    method.name = name
    method.hardest_share = config.training.hardest
    return method


def _build(
    name: str, config: Config, backbone: "Backbone | BackboneFacts", calibration: SignalCalibration, seed: int
) -> Objective:
    if name not in METHODS:
        raise UserError(f"config: training.methods names {name!r}; known methods: {', '.join(METHODS)}")
    if name in TOWER_METHODS:
        if isinstance(backbone, BackboneFacts):
            raise TypeError(f"{name} runs the towers; load the backbone for it")
        return _build_baseline(name, config, backbone, seed)
    facts = backbone if isinstance(backbone, BackboneFacts) else BackboneFacts.of(backbone)
    if name not in CURRICULUM:
        return _build_baseline(name, config, facts, seed)
    # One rank for all subsets, so that a comparison of subsets never is one of sizes.
    rank = sized_rank(config, facts, calibration)
    return CurriculumMethod(
        CURRICULUM[name],
        facts.dimension,
        facts.logit_scale,
        calibration,
        config.curriculum.model_copy(update={"rank": rank}),
        config.signal,
        config.training.negatives,
        seed,
        guided=name == GUIDED,
        word_width=word_width(facts),
    )


def _build_baseline(name: str, config: Config, backbone: "Backbone | BackboneFacts", seed: int) -> Objective:
    method: Objective = import_module(METHODS[name].module).build(config, backbone, seed)
    return method
