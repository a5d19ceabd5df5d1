"""The models that a user names on the command line, and their opening."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vialign.aligner.about import CONFIG, read_about
from vialign.aligner.aligner import Aligner
from vialign.aligner.folder import method_digest
from vialign.aligner.opening import is_blip, load_folder, named_aligner, named_config, own_weights
from vialign.config.data import BackboneConfig
from vialign.errors import UserError
from vialign.evaluation.published_values import published_values
from vialign.names import BLIP
from vialign.toolkit.models import moved

Precision = Literal["fp32", "fp16", "bf16"]
FORMATS: dict[Precision, Literal["float32", "float16", "bfloat16"]] = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
}
"""`backbone.precision` of each."""


@dataclass(frozen=True)
class Model:
    """One model to be measured."""

    name: str
    """In tables and file names."""
    folder: Path | None
    """Exported folder; None for a plain model."""
    config: BackboneConfig
    """Of a plain model."""
    backbone: str | None = None
    """File or tag of the weights that an exported folder refers to."""

    def published(self, more: Sequence[str] = ()) -> tuple[str, str] | None:
        """Architecture and tag under which values of it are published; None where none are known.

        The tag of a file is read off its path, where that holds one of the tags that values are published for, in the
        package or in `more` files. Raises UserError as `published_values`.
        """
        if self.folder is not None or self.config.checkpoint is None:
            return None
        table = published_values(tuple(more))
        own = table["architecture"].str.removesuffix("-quickgelu") == self.config.architecture.removesuffix(
            "-quickgelu"
        )
        tags = sorted(set(table.loc[own, "checkpoint"]), key=len, reverse=True)
        found = next((tag for tag in tags if tag in self.config.checkpoint), None)
        return None if found is None else (self.config.architecture, found)

    def precision(self, asked: Precision | None) -> Precision:
        """Number format of its towers: what is asked for, else that of the export; a plain model runs in fp32.

        Raises UserError as `read_about`.
        """
        if asked is not None or self.folder is None:
            return asked or "fp32"
        own = read_about(self.folder).contract.get("precision", "float32")
        return next((name for name, called in FORMATS.items() if called == own), "fp32")

    def open(self, device: str, precision: Precision | None) -> Aligner:
        """The model, ready, in `precision`. Raises UserError as `vialign.load`."""
        wanted = FORMATS[self.precision(precision)]
        if self.folder is not None:
            return moved(load_folder(self.folder, self.backbone, wanted), device)
        return moved(named_aligner(self.config.model_copy(update={"precision": wanted})), device)

    def described(self) -> str:
        """What it is, as text that differs where the model may: an exported folder by what is in it."""
        return self.config.model_dump_json() if self.folder is None else method_digest(self.folder)


def named_models(models: Sequence[str], pretrained: Sequence[str]) -> list[Model]:
    """The models of `--model` and `--pretrained`, in order.

    A model is an exported folder, an open_clip name, an open_clip JSON, or the folder of a BLIP. A name or JSON takes
    the next of `pretrained` (`random` for random weights); what has weights of its own (an exported folder, the demo, a
    BLIP with them in its folder) takes it only where later models leave it one. Raises UserError where the numbers do
    not fit, or two models have one name.
    """
    weights = list(pretrained)
    found: list[Model] = []
    for place, given in enumerate(models):
        path = Path(given)
        needed = sum(not _is_exported(later) and own_weights(later) is None for later in models[place + 1 :])
        spare = len(weights) > needed
        if _is_exported(given):
            found.append(Model(path.resolve().name, path, BackboneConfig(), weights.pop(0) if spare else None))
            continue
        own = own_weights(given)
        if own is None and not weights:
            raise UserError(f"--model {given}: name its weights with --pretrained (a file, a tag, or random)")
        checkpoint = weights.pop(0) if own is None or spare else own
        config = named_config(given, checkpoint)
        name = path.resolve().name if config.architecture == BLIP else config.architecture
        label = Path(checkpoint).stem if Path(checkpoint).suffix else checkpoint
        whole = config.architecture == BLIP and checkpoint == own
        found.append(Model(name if whole else f"{name} {label}", None, config))
    if weights:
        raise UserError(f"--pretrained {weights[0]}: there is no --model that it belongs to")
    names = [model.name for model in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"--model: two models are called {twice!r}; rename a folder or a file of weights")
    return found


def slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"


def _is_exported(given: str) -> bool:
    return (Path(given) / CONFIG).is_file() and not is_blip(Path(given))
