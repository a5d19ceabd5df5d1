"""From a method's name to its objective. A new baseline is one file, one line here and one entry in the config."""

from importlib import import_module
from itertools import combinations
from typing import TYPE_CHECKING

from vialign.config import Config, TrainingConfig, family
from vialign.curriculum.method import GUIDED, MODULES, CurriculumMethod, method_name
from vialign.errors import UserError
from vialign.objective import Objective
from vialign.signal.calibration import SignalCalibration
from vialign.training.sizing import sized_rank

if TYPE_CHECKING:
    from vialign.backbone import Backbone

SUBSETS = {method_name(modules): modules for size in range(len(MODULES) + 1) for modules in combinations(MODULES, size)}
"""The curriculum methods: name to active modules, from none to all."""
CURRICULUM = {**SUBSETS, GUIDED: MODULES}
"""All methods of `vialign.curriculum`: the subsets, and all modules with a guided learning rate."""
BASELINES = {
    "frozen": "vialign.baselines.frozen",
    "lora": "vialign.baselines.lora",
    "adapter": "vialign.baselines.adapter",
    "clip-adapter": "vialign.baselines.clip_adapter",
    "bitfit": "vialign.baselines.bitfit",
    "prompt": "vialign.baselines.prompt",
    "coop": "vialign.baselines.coop",
    "filip": "vialign.baselines.filip",
    "vinvl": "vialign.baselines.vinvl",
    "uniter": "vialign.baselines.uniter",
}
"""Name in the config to the module with `build(config, backbone, seed)`."""
METHODS = (*BASELINES, *CURRICULUM)


def learning_rate(name: str, config: TrainingConfig) -> float:
    """The peak learning rate of a method; 0 for the frozen backbone.

    Raises UserError when the config gives none.
    """
    if name == "frozen":
        return 0.0
    if family(name) not in config.learning_rates:
        raise UserError(f"config: training.learning_rates has no entry {family(name)!r}, which method {name!r} needs")
    return config.learning_rates[family(name)]


def build_method(
    name: str, config: Config, backbone: "Backbone", calibration: SignalCalibration, seed: int
) -> Objective:
    """A method at its start; `seed` decides its random initial values.

    Raises UserError when no method has that name.
    """
    method = _build(name, config, backbone, calibration, seed)
    method.hardest_share = config.training.hardest
    return method


def _build(name: str, config: Config, backbone: "Backbone", calibration: SignalCalibration, seed: int) -> Objective:
    if name in BASELINES:
        method: Objective = import_module(BASELINES[name]).build(config, backbone, seed)
        return method
    if name in CURRICULUM:
        # One rank for all subsets, so that a comparison of subsets never is one of sizes.
        rank = sized_rank(config, backbone, calibration)
        return CurriculumMethod(
            CURRICULUM[name],
            backbone.dimension,
            backbone.logit_scale,
            calibration,
            config.curriculum.model_copy(update={"rank": rank}),
            config.signal,
            config.training.negatives,
            seed,
            guided=name == GUIDED,
        )
    raise UserError(f"config: training.methods names {name!r}; known methods: {', '.join(METHODS)}")
