"""The names that a configuration may use, without the packages that they stand for.

The registries import torch and more; a config is checked before any of that. Tests hold each list against its registry.
"""

import difflib
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

EMBEDDED_SPLITS = (
    "train",
    "calibration",
    "diagnosis",
    "diagnosis_domain",
    "validation",
    "test",
    "test_combination",
    "test_domain",
)
"""Splits of Scenes, which the project draws itself."""
PUBLISHED_SPLITS = ("train", "calibration", "diagnosis", "validation", "test")
"""Splits of every other data set."""
DATASETS = {
    "scenes": EMBEDDED_SPLITS,
    "flickr8k": PUBLISHED_SPLITS,
    "flickr30k": PUBLISHED_SPLITS,
    "coco": PUBLISHED_SPLITS,
    "visual_genome": PUBLISHED_SPLITS,
    "vg200": PUBLISHED_SPLITS,
}
"""Data sets, and the splits of each (`vialign.data.registry`)."""
BENCHMARKS = ("winoground", "aro", "sugarcrepe", "vl_checklist", "vqa")
"""Benchmarks with images of their own (`vialign.data.registry`)."""
NEGATIVES = ("swap_roles", "swap_attributes", "replace_relation", "shuffle")
"""Kinds of rule-made negatives (`vialign.language.negatives`)."""
METHODS = (
    "frozen",
    "lora",
    "adapter",
    "clip-adapter",
    "bitfit",
    "prompt",
    "coop",
    "filip",
    "vinvl",
    "uniter",
    "vialign",
    "vialign-none",
    "vialign-reweight",
    "vialign-regularise",
    "vialign-correct",
    "vialign-reweight-regularise",
    "vialign-reweight-correct",
    "vialign-regularise-correct",
    "vialign-guided",
)
"""Methods that can be trained and compared (`vialign.training.methods`)."""
RETRIEVAL = ("image_to_text", "text_to_image")
"""Directions of retrieval, as benchmarks of a split."""
RECALLS = ("r1", "r5", "r10")
"""Measures of retrieval."""
MEASURES = ("accuracy", "soft_accuracy", "text", "image", "group")
"""Measures of all other benchmarks."""
DEMO = "vialign-scenes"
"""The architecture whose weights ship with the package."""
BLIP = "blip"
"""The one architecture that is not of open_clip."""
_ASSETS = Path(__file__).parent / "backbone" / "assets"


@cache
def architectures() -> tuple[str, ...]:
    """Names of the models that open_clip and this package ship, found without importing open_clip."""
    spec = find_spec("open_clip")
    places = [] if spec is None else [Path(place) / "model_configs" for place in spec.submodule_search_locations or ()]
    return tuple(sorted({file.stem for place in (*places, _ASSETS) for file in place.glob("*.json")}))


def tested_splits(dataset: str) -> tuple[str, ...]:
    """The test splits of a data set. Raises KeyError where there is no such data set."""
    return tuple(split for split in DATASETS[dataset] if split.startswith("test"))


def unknown(key: str, value: object, names: Iterable[str], shown: int = 30) -> str:
    """One line about a name that is none: key, value, the nearest right name and the names there are.

    Of more than `shown` names it gives only those that are near.
    """
    there = list(names)
    lowered = {name.lower(): name for name in there}
    close = [lowered[name] for name in difflib.get_close_matches(str(value).lower(), lowered, n=5, cutoff=0.5)]
    meant = f"did you mean {close[0]!r}? " if close else ""
    if len(there) <= shown:
        listed = f"choose of {', '.join(there)}" if there else "there is none to choose of"
    else:
        listed = f"there are {len(there)}" + (f", the nearest are {', '.join(close)}" if close else "")
        listed += "; see `open_clip.list_models()`"
    return f"config: `{key}`: {value!r} is unknown; {meant}{listed}"
