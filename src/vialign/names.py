"""The names that a configuration may use, without the packages that they stand for.

The registries take them from here: what a config names is checked before torch or anything like it is imported.
"""

import difflib
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

EMBEDDED = frozenset({"scenes"})
"""Data sets that the project draws itself, into the run's own folder."""
EMBEDDED_SPLITS = (
    "train",
    "calibration",
    "diagnosis",
    "diagnosis_domain",
    "selection",
    "gate",
    "confirmation",
    "test",
    "test_combination",
    "test_domain",
)
"""Splits of those."""
PUBLISHED_SPLITS = ("train", "calibration", "diagnosis", "selection", "gate", "confirmation", "test")
"""Splits of every other data set."""
SPLITS_OF = {"disentangle": ("disentangle", "disentangle_selection"), "probe": ("probe",)}
"""Key of the config to the splits that a source of labels beside the data set fills: what the dictionary is fitted and
measured on, and what the probe reads."""
SOURCE_SPLITS = tuple(split for splits in SPLITS_OF.values() for split in splits)
"""All of those."""
SOURCES = {"disentangle": ("visual_genome", "vg200", "coco"), "probe": ("visual_genome", "vg200")}
"""Key of the config to the data sets that can be such a source: those with labelled boxes, and with relations."""
DATASETS = {
    "scenes": "vialign.data.scenes.build",
    "flickr8k": "vialign.data.datasets.flickr8k",
    "flickr30k": "vialign.data.datasets.flickr30k",
    "coco": "vialign.data.datasets.coco",
    "visual_genome": "vialign.data.datasets.visual_genome",
    "vg200": "vialign.data.datasets.vg200",
    "captioned": "vialign.data.datasets.captioned",
}
"""Name in the config to the module with `read(config, seed)` and `NOTE` (embedded: `build(config, seed, output)`)."""
BENCHMARKS = {
    "winoground": "vialign.data.benchmarks.winoground",
    "sugarcrepe_pp": "vialign.data.benchmarks.sugarcrepe_pp",
    "valse": "vialign.data.benchmarks.valse",
    "vsr": "vialign.data.benchmarks.vsr",
    "cola": "vialign.data.benchmarks.cola",
    "bivlc": "vialign.data.benchmarks.bivlc",
    "whatsup": "vialign.data.benchmarks.whatsup",
    "colorswap": "vialign.data.benchmarks.colorswap",
    "mmvp_vlm": "vialign.data.benchmarks.mmvp_vlm",
    "eqben": "vialign.data.benchmarks.eqben",
    "svo_probes": "vialign.data.benchmarks.svo_probes",
    "negbench": "vialign.data.benchmarks.negbench",
    "flickr30k_entities": "vialign.data.benchmarks.flickr30k_entities",
    "aro": "vialign.data.benchmarks.aro",
    "sugarcrepe": "vialign.data.benchmarks.sugarcrepe",
    "vl_checklist": "vialign.data.benchmarks.vl_checklist",
    "vqa": "vialign.data.benchmarks.vqa",
}
"""The same for test benchmarks that bring their own images."""
PAIRS = ("winoground", "cola", "bivlc", "colorswap", "mmvp_vlm", "eqben")
"""Those of them with two images and two captions an item: text alone wins nothing there."""
NEGATIVES = ("swap_roles", "swap_attributes", "replace_relation", "shuffle")
"""Kinds of rule-made negatives (`vialign.language.negatives`)."""
RETRIEVAL = ("image_to_text", "text_to_image")
"""Directions of retrieval, as benchmarks of a split."""
RECALLS = ("r1", "r5", "r10")
"""Measures of retrieval."""
MEASURES = (
    "accuracy",
    "soft_accuracy",
    "text",
    "image",
    "group",
    "match",
    "both_right",
    "text_only",
    "image_choice",
    "statement",
)
"""Measures of all other benchmarks."""
FORMS = ("both_right", "image_choice", "statement")
"""Forms of test items that Scenes draws when asked to (`data.forms`)."""
DEMO = "vialign-scenes"
"""The architecture whose weights ship with the package."""
PACKAGED = ("package", "package-truthful")
"""The checkpoints of it that ship."""
CROPS = "crops"
"""The readout of encoded crops (`vialign.backbone.crops`), which every backbone has beside those of its tower."""
BLIP = "blip"
"""The one architecture that is not of open_clip."""
_ASSETS = Path(__file__).parent / "backbone" / "assets"


@cache
def architectures() -> tuple[str, ...]:
    """Names of the models that open_clip and this package ship, found without importing open_clip."""
    spec = find_spec("open_clip")
    places = [] if spec is None else [Path(place) / "model_configs" for place in spec.submodule_search_locations or ()]
    return tuple(sorted({file.stem for place in (*places, _ASSETS) for file in place.glob("*.json")}))


def splits_of(dataset: str) -> tuple[str, ...]:
    """The splits of a data set."""
    return EMBEDDED_SPLITS if dataset in EMBEDDED else PUBLISHED_SPLITS


def tested_splits(dataset: str) -> tuple[str, ...]:
    """The test splits of a data set."""
    return tuple(split for split in splits_of(dataset) if split.startswith("test"))


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
