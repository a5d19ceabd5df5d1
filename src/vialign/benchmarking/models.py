"""The models that a user names on the command line, and their opening."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vialign.aligner.about import CONFIG
from vialign.aligner.aligner import Aligner
from vialign.aligner.opening import load_folder, named_aligner
from vialign.config.data import BackboneConfig
from vialign.errors import UserError
from vialign.evaluation.reproduction import published_values
from vialign.files.text import read_json
from vialign.names import BLIP, DEMO


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

    @property
    def published(self) -> tuple[str, str] | None:
        """Architecture and tag under which values of it are published; None where none are known.

        The tag of a file is read off its path, where that holds one of the tags that values are published for.
        """
        if self.folder is not None or self.config.checkpoint is None:
            return None
        table = published_values()
        own = table["architecture"].str.removesuffix("-quickgelu") == self.config.architecture.removesuffix(
            "-quickgelu"
        )
        tags = sorted(set(table.loc[own, "checkpoint"]), key=len, reverse=True)
        found = next((tag for tag in tags if tag in self.config.checkpoint), None)
        return None if found is None else (self.config.architecture, found)

    def open(self, device: str) -> Aligner:
        """The model, ready. Raises UserError as `vialign.load`."""
        found = load_folder(self.folder, self.backbone) if self.folder is not None else named_aligner(self.config)
        return found.to(device)

    def described(self) -> str:
        """What it is, as text that differs where the model may."""
        return json.dumps([str(self.folder), self.config.model_dump(), self.backbone], sort_keys=True)


def named_models(models: Sequence[str], pretrained: Sequence[str]) -> list[Model]:
    """The models of `--model` and `--pretrained`, in order.

    A model is an exported folder, an open_clip name, an open_clip JSON, or the folder of a BLIP; every one but an
    exported folder and the demo takes the next of `pretrained` (`random` for random weights). Raises UserError where
    the numbers do not fit, or two models have one name.
    """
    weights = list(pretrained)
    found: list[Model] = []
    for given in models:
        path = Path(given)
        if (path / CONFIG).is_file() and not _is_blip(path):
            backbone = weights.pop(0) if len(weights) > _plain(models[len(found) + 1 :]) else None
            found.append(Model(path.resolve().name, path, BackboneConfig(), backbone))
            continue
        if not weights and given != DEMO:
            raise UserError(f"--model {given}: name its weights with --pretrained (a file, a tag, or random)")
        checkpoint = weights.pop(0) if weights else "package"
        if _is_blip(path):
            architecture, definition = BLIP, str(path)
        elif path.suffix == ".json":
            architecture, definition = path.stem, str(path)
        else:
            architecture, definition = given, None
        config = BackboneConfig(
            architecture=architecture, definition=definition, checkpoint=None if checkpoint == "random" else checkpoint
        )
        label = Path(checkpoint).stem if Path(checkpoint).suffix else checkpoint
        found.append(Model(f"{path.name if architecture == BLIP else architecture} {label}", None, config))
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


def _plain(models: Sequence[str]) -> int:
    """How many of the models take weights of their own."""
    return sum(not (Path(given) / CONFIG).is_file() or _is_blip(Path(given)) for given in models)


def _is_blip(path: Path) -> bool:
    file = path / "config.json"
    if not file.is_file():
        return False
    said = read_json(file, mend="get it again")
    return isinstance(said, dict) and said.get("model_type") == "blip"
