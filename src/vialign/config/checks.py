"""What no type can say of a configuration: whether the names in it are names of something, and none stands twice."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vialign import names
from vialign.names import unknown

if TYPE_CHECKING:
    from vialign.config.data import BackboneConfig, SourceConfig
    from vialign.config.experiment import Config


LARGEST = 2**31 - 1
"""The largest whole number of a configuration; seeds are multiplied, and sizes are those of arrays."""
SMALLEST_FLOAT, LARGEST_FLOAT = 1e-30, 1e30
"""Between them are all other numbers but 0."""


def problems(config: "Config") -> list[str]:
    """A line for every name that is wrong; empty where all are right."""
    return [*_data(config), *_backbone(config.backbone), *_methods(config), *_lists(config), *_expected(config)]


def truths(given: object, found: object, key: str = "") -> Iterator[str]:
    """A line for every yes or no, as it was given, in whose place a number was found: it would count as 1 or 0."""
    if isinstance(given, bool):
        if isinstance(found, int | float) and not isinstance(found, bool):
            yield f"config: `{key}`: {given} is no number; YAML reads yes, no, on, off, true and false so"
    elif isinstance(given, Mapping):
        for name, value in given.items():
            inner = found.get(name) if isinstance(found, Mapping) else getattr(found, str(name), None)
            yield from truths(value, inner, f"{key}.{name}" if key else str(name))
    elif isinstance(given, Sequence) and not isinstance(given, str) and isinstance(found, Sequence):
        for place, (value, inner) in enumerate(zip(given, found, strict=False)):
            yield from truths(value, inner, f"{key}.{place}")


def beyond(found: object, key: str = "") -> Iterator[str]:
    """A line for every number that no array can have as its size, or that is 0 or infinite as one of 32 bits."""
    if isinstance(found, Mapping):
        for name, value in found.items():
            yield from beyond(value, f"{key}.{name}" if key else str(name))
    elif isinstance(found, tuple):
        for place, value in enumerate(found):
            yield from beyond(value, f"{key}.{place}")
    elif isinstance(found, int) and abs(found) > LARGEST:
        yield f"config: `{key}`: {found} is too large; no number here may be larger than {LARGEST}"[:300]
    elif isinstance(found, float) and found and not SMALLEST_FLOAT <= abs(found) <= LARGEST_FLOAT:
        limits = f"{SMALLEST_FLOAT:g} to {LARGEST_FLOAT:g}"
        yield f"config: `{key}`: {found} cannot be computed with; give 0 or a number of {limits}"


def illegible(found: object, key: str = "") -> Iterator[str]:
    """A line for every text or key that is blank, or that no file and no path can hold."""
    if isinstance(found, Mapping):
        for name, value in found.items():
            inner = f"{key}.{name}" if key else str(name)
            yield from illegible(name, inner)
            yield from illegible(value, inner)
    elif isinstance(found, tuple):
        for place, value in enumerate(found):
            yield from illegible(value, f"{key}.{place}")
    elif isinstance(found, str):
        shown = key.encode("ascii", "backslashreplace").decode()
        if not found.strip():
            yield f"config: `{shown}`: is empty; give it a value, or leave the key out"
        odd = next((sign for sign in found if sign == "\0" or "\ud800" <= sign <= "\udfff"), None)
        if odd is not None:
            yield f"config: `{shown}`: holds U+{ord(odd):04X}, which no file and no path can hold; take it out"


def _data(config: "Config") -> Iterator[str]:
    data = config.data
    yield from _known("data.dataset", [data.dataset], names.DATASETS)
    yield from _known("data.benchmarks", data.benchmarks, names.BENCHMARKS)
    for key, there in names.SOURCES.items():
        source: SourceConfig | None = getattr(data, key)
        yield from _known(f"data.{key}.dataset", [] if source is None else [source.dataset], there)
    yield from _known("data.forms", data.forms, names.FORMS)
    if data.dataset in names.DATASETS:
        # Sizes often come from a layer that fits any data set, so those of splits that this one lacks pass.
        yield from _known("data.sizes", data.sizes, [*names.EMBEDDED_SPLITS, *names.SOURCE_SPLITS])
        yield from _known("evaluation.splits", config.evaluation.splits, names.tested_splits(data.dataset))
    yield from _known("language.negatives", config.language.negatives, names.NEGATIVES)


def _backbone(backbone: "BackboneConfig") -> Iterator[str]:
    name, definition = backbone.architecture, backbone.definition
    if definition is None or name == names.BLIP:
        yield from _known("backbone.architecture", [name], [*names.architectures(), names.BLIP])
    elif Path(definition).suffix != ".json" or Path(definition).stem != name:
        yield (
            f"config: `backbone.architecture`: {name!r} is not the name of backbone.definition, {definition}; "
            f"name both alike, such as {Path(definition).stem!r} and {Path(definition).stem}.json"
        )
    if backbone.checkpoint in names.PACKAGED and name in names.architectures() and name != names.DEMO:
        yield (
            f"config: `backbone.checkpoint`: '{backbone.checkpoint}' holds the weights of {names.DEMO}, not of {name}; "
            "name a file with its weights or one of open_clip's tags"
        )


def _methods(config: "Config") -> Iterator[str]:
    from vialign.catalogue import AVERAGED, LEARNING_RATES, METHODS

    training = config.training
    yield from _known("training.methods", training.methods, METHODS)
    yield from _known("training.compare", training.compared, {**METHODS, **AVERAGED})
    yield from _known("training.learning_rates", training.learning_rates, LEARNING_RATES)
    yield from _known("budget.reference", [config.budget.reference], names.architectures())


def _lists(config: "Config") -> Iterator[str]:
    """Lists in which nothing may stand twice: a second one would be the same again, and count as evidence."""
    training, signal = config.training, config.signal
    lists: dict[str, Sequence[object]] = {
        "data.order_files": config.data.order_files,
        "data.forms": config.data.forms,
        "language.negatives": config.language.negatives,
        "text.typos": config.text.typos,
        "signal.severities": signal.severities,
        "signal.epsilons": signal.epsilons,
        "signal.stress_typos": signal.stress_typos,
        "signal.stress_word_order": signal.stress_word_order,
        "training.methods": training.methods,
        "training.seeds": training.seeds,
        "training.search.factors": training.search.factors,
        "training.compare": training.compared,
        "training.compare_seeds": training.compare_seeds,
        "evaluation.splits": config.evaluation.splits,
        "uses.noise": config.uses.noise,
        "uses.labels": config.uses.labels,
        "baselines.averaging_shares": config.baselines.averaging_shares,
    }
    for key, values in lists.items():
        twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
        if twice is not None:
            yield f"config: `{key}`: {twice!r} stands twice in {list(values)}; give each once"


def _expected(config: "Config") -> Iterator[str]:
    for place, value in enumerate(config.evaluation.expected):
        key = f"evaluation.expected.{place}"
        split, _, name = value.benchmark.partition("/")
        if not name:
            yield (
                f"config: `{key}.benchmark`: {value.benchmark!r} has no split; "
                f"write it as in the results, such as '{config.test_splits[0]}/{names.RETRIEVAL[0]}'"
            )
            continue
        yield from _known(f"{key}.benchmark", [split], config.test_splits)
        if name in names.RETRIEVAL:
            yield from _known(f"{key}.metric", [value.metric], names.RECALLS)
            continue
        yield from _known(f"{key}.metric", [value.metric], names.MEASURES)
        # Order files bring names of their own.
        if not config.data.order_files and not name.startswith((*names.BENCHMARKS, "negatives")):
            forms = [*names.RETRIEVAL, "negatives", *names.BENCHMARKS]
            yield from _known(f"{key}.benchmark", [name], forms)


def _known(key: str, values: Iterable[str], there: Collection[str]) -> Iterator[str]:
    return (unknown(key, value, there) for value in values if value not in there)
