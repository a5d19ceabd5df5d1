"""A folder of drawn images with captions, and a backbone of a size that costs nothing, for tests of the toolkit."""

import json
from functools import cache
from pathlib import Path

from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig, FeaturesConfig, LanguageConfig
from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.config.experiment import Config
from vialign.config.signal import SignalConfig
from vialign.toolkit import find_parser

QUICK = Config(
    features=FeaturesConfig(batch=16),
    language=LanguageConfig(sentences=300, epochs=2),
    visual=VisualConfig(steps=12, batch=16, atoms=12, background=2, prototypes=4),
    text=TextConfig(steps=12, batch=16),
    signal=SignalConfig(pairs=200, permutations=1199, bootstrap=200, folds=3),
)
"""Every step of a fit, and few of each."""


@cache
def quick_parser():
    """The parser of QUICK, trained once for all tests of a process."""
    return find_parser(config=QUICK.language, seed=QUICK.seed)


def tiny_model(folder: Path, name: str = "toolkit-tiny") -> Path:
    """An open_clip definition of a small ViT, as a user would write one."""
    merges = folder / "merges.txt"
    merges.write_text("#version: 0.2\nr e\nre d</w>\nc i\nb l\nbl u\nblu e</w>\n", encoding="utf-8")
    settings = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 64, "vocab_size": 520, "width": 32, "heads": 2, "layers": 1}
        | {"tokenizer_kwargs": {"bpe_path": merges.name}},
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def tiny_backbone(folder: Path, seed: int = 0):
    """That model with random weights."""
    definition = tiny_model(folder)
    return load_backbone(
        BackboneConfig(architecture=definition.stem, definition=str(definition), checkpoint=None), seed
    )
