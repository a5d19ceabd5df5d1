"""Ways to an aligner: an exported folder, a model by its name, and a method on a model in memory."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import torch
from torch import nn

from vialign.aligner.about import CONFIG, read_about
from vialign.aligner.aligner import Aligner
from vialign.aligner.folder import METHOD, checked, named_backbone, open_folder_backbone
from vialign.backbone import load_backbone
from vialign.backbone.adopting import adopt_model
from vialign.catalogue import CURRICULUM, METHODS, TOWER_METHODS
from vialign.config.data import BackboneConfig
from vialign.config.experiment import Config
from vialign.disentangle import TextDisentangler, VisualDisentangler
from vialign.disentangle.sizing import largest_visual
from vialign.errors import UserError, reading
from vialign.features import BackboneFacts, contract_provenance
from vialign.files.artifacts import read_provenance, read_tensors
from vialign.files.text import read_json
from vialign.methods.build import build_method
from vialign.names import BLIP, DEMO, architectures
from vialign.signal.calibration import SignalCalibration
from vialign.tables.signal import SIGNAL_CALIBRATION, TOOLKIT_IMAGES
from vialign.toolkit.captions import warn
from vialign.toolkit.encoder import Encoder
from vialign.toolkit.models import RANDOM, moved
from vialign.toolkit.parsing import find_parser
from vialign.toolkit.signal import TENSORS, VISUAL, Signal, load_signal

if TYPE_CHECKING:
    from vialign.backbone import Backbone


BLIP_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What the weights are called in the folder of a BLIP."""


def load(
    source: str | Path,
    pretrained: str | Path | None = None,
    *,
    backbone: "nn.Module | str | Path | None" = None,
    signal: "str | Path | None" = None,
    device: str = "cpu",
) -> Aligner:
    """An aligner from an exported folder, from the name (or JSON) of an open_clip model, or from the folder of a BLIP.

    An exported folder that refers to its backbone finds it by the name that is written there (`package`, an open_clip
    tag, a file), or takes `backbone`: a model in memory, a file, or a tag; another one than the folder was made with is
    refused. A name takes `pretrained` as `vialign signal fit` does (`vialign-scenes` is the demo and needs none; a BLIP
    has its weights in its folder) and, to explain and judge, `signal`: a folder that `vialign signal fit` wrote. Raises
    UserError naming what is missing or differs.

    >>> import vialign
    >>> vialign.load("vialign-scenes").method.name
    'frozen'
    """
    path = Path(source)
    if not is_blip(path) and ((path / CONFIG).is_file() or (path.is_dir() and pretrained is None)):
        return moved(load_folder(path, backbone), device)
    if not (is_blip(path) or (path.suffix == ".json" and path.is_file()) or str(source) in architectures()):
        raise UserError(
            f"load: {str(source)!r} is neither an exported folder (with a {CONFIG}) nor the name of an open_clip model"
        )
    weights = own_weights(source) if pretrained is None else str(pretrained)
    if weights is None:
        raise UserError(f"load: {source}: name its weights: pretrained=FILE, or an open_clip tag")
    return moved(named_aligner(named_config(source, weights), signal), device)


def named_config(source: str | Path, weights: str) -> BackboneConfig:
    """A plain model as a configuration names it: an open_clip name or JSON, or the folder of a BLIP."""
    path = Path(source)
    named = is_blip(path) or path.suffix == ".json"
    definition = str(path) if named else None
    architecture = (BLIP if is_blip(path) else path.stem) if named else str(source)
    checkpoint = None if weights == RANDOM else weights
    return BackboneConfig(architecture=architecture, definition=definition, checkpoint=checkpoint)


def own_weights(source: str | Path) -> str | None:
    """The weights that a plain model has of itself: the demo's of the package, and those in the folder of a BLIP."""
    if str(source) == DEMO:
        return "package"
    files = [Path(source) / name for name in BLIP_WEIGHTS] if is_blip(Path(source)) else []
    return next((str(file) for file in files if file.is_file()), None)


def is_blip(path: Path) -> bool:
    """Whether a folder is of a BLIP, in the layout of transformers; a damaged config.json is of an exported folder."""
    try:
        said = read_json(path / CONFIG, mend="get it again") if (path / CONFIG).is_file() else None
    except UserError:
        return False
    return isinstance(said, dict) and said.get("model_type") == BLIP


def named_aligner(config: BackboneConfig, signal: "str | Path | None" = None) -> Aligner:
    """The plain model of a configuration, scored by its cosine. Raises UserError as `load`."""
    found = load_backbone(config)
    whole = Config(backbone=config)
    method = build_method("frozen", whole, BackboneFacts.of(found), _FLAT, 0)
    return Aligner(found, method.eval(), whole, None if signal is None else load_signal(signal, found))


def load_folder(
    folder: Path, backbone: "nn.Module | str | Path | None" = None, precision: str | None = None
) -> Aligner:
    """An aligner from an exported folder; with a `precision` its towers run in that, whatever it was made with.

    Raises UserError as `load`.
    """
    about = read_about(folder)
    found = open_folder_backbone(folder, about, backbone)
    settings = about.settings().model_copy(update={"backbone": named_backbone(folder, about)})
    signal = load_signal(folder, found) if (folder / VISUAL).is_file() else None
    if precision is not None:
        # Once the units are known to be of the contract, and before a method copies the towers.
        found.in_precision(precision)
    calibration = _FLAT if signal is None else SignalCalibration.from_table(signal.calibration)
    method = build_method(about.method, settings, _for_method(about.method, found), calibration, about.seed)
    path = folder / METHOD
    with reading(path, "export it again"):
        method.load_state(read_tensors(path))
    return Aligner(found, method.eval(), settings, signal, about)


def wrap(
    model: nn.Module,
    method: str = "vialign-correct",
    *,
    architecture: str | None = None,
    definition: str | Path | None = None,
    tokenizer: str | Path | None = None,
    signal: "str | Path | Signal | None" = None,
    config: Config | None = None,
    seed: int = 0,
) -> Aligner:
    """A method at its start on an open_clip model in memory, ready to be trained, as peft wraps a model.

    The model is frozen, set to evaluation and otherwise left as it is. `signal` is what a method of the curriculum
    reads: a folder of `vialign signal fit` or of `vialign export` that was made with these weights. Without one its
    disentanglers are unfitted and its parser knows drawn captions alone: the score then starts as the plain cosine,
    and nothing local in it means anything. `config` holds sizes and the recipe. Without an `architecture` the model is
    recognised by its sizes, where exactly one of open_clip's has them. Raises UserError for an unknown method, a model
    that is not recognised, and a signal of another model.

    >>> import vialign
    >>> model = vialign.load("vialign-scenes").model
    >>> vialign.wrap(model, "bitfit", architecture="vialign-scenes").method.name
    'bitfit'
    """
    if method not in METHODS:
        raise UserError(f"wrap: no method {method!r}; there are {', '.join(METHODS)}")
    config = config or Config()
    backbone: Backbone = adopt_model(model, architecture, definition, tokenizer)
    named = BackboneConfig(
        architecture=backbone.contract["architecture"],
        definition=None if definition is None else str(definition),
        tokenizer=None if tokenizer is None else str(tokenizer),
        checkpoint=None,
    )
    config = config.model_copy(update={"backbone": named})
    units: Signal | None = signal if isinstance(signal, Signal) else None
    if isinstance(signal, str | Path):
        units = _signal_of(Path(signal), backbone)
    elif units is None and method in CURRICULUM:
        warn(
            f"{method}: no signal given: the disentanglers are unfitted, so nothing local means anything yet; fit them "
            "with `vialign signal fit` and give the folder: signal=FOLDER"
        )
        units = unfitted_signal(backbone, config, seed)
    calibration = _FLAT if units is None else SignalCalibration.from_table(units.calibration)
    built = build_method(method, config, _for_method(method, backbone), calibration, seed)
    return Aligner(backbone, built.train(), config, units)


def unfitted_signal(backbone: "Backbone", config: Config, seed: int) -> Signal:
    """Disentanglers at their start and a calibration that says nothing."""
    facts = BackboneFacts.of(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        visual = VisualDisentangler.from_config(largest_visual(config.visual), facts.dimension, facts.grid)
        text = TextDisentangler.from_config(config.text, facts.dimension, facts.state_width - facts.dimension)
    encoder = Encoder(
        backbone,
        "final",
        visual.eval().requires_grad_(False),
        text.eval().requires_grad_(False),
        find_parser(config=config.language, seed=seed),
    )
    flat = {"slope": 0.0, "intercept": 0.0, "free_slope": 0.0, "pairs": 0, "auc": 0.5, "brier": 0.25}
    rows = [{"similarity": name, **flat, "calibration_error": 0.0} for name in ("s_global", "s_local")]
    provenance = {
        **contract_provenance(backbone.contract),
        "readout": "final",
        "signal": config.signal.model_dump_json(),
        "fit": f"unfitted:{seed}",
    }
    table = SIGNAL_CALIBRATION.check(pd.DataFrame(rows))
    return Signal(encoder, table, TOOLKIT_IMAGES.empty(), config.signal, provenance)


def _signal_of(folder: Path, backbone: "Backbone") -> Signal:
    """The signal of a folder for a model in memory, whose weights are compared tensor by tensor."""
    if (folder / CONFIG).is_file():
        return load_signal(folder, checked(backbone, read_about(folder), folder))
    if (folder / VISUAL).is_file():
        said = read_provenance(folder / VISUAL)
        if said.get(TENSORS) == backbone.contract["checkpoint"].removeprefix("tensors:"):
            cast(Any, backbone).contract = {**backbone.contract, "checkpoint": said["backbone_checkpoint"]}
    return load_signal(folder, backbone)


def _for_method(method: str, backbone: "Backbone") -> "Backbone | BackboneFacts":
    return backbone if method in TOWER_METHODS else BackboneFacts.of(backbone)


_FLAT = SignalCalibration.from_table(
    pd.DataFrame({"similarity": ["s_global", "s_local"], "slope": [0.0, 0.0], "intercept": [0.0, 0.0]})
)
"""For methods that read no calibration."""
