"""How the images of a published data set are shared between the project's splits."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from vialign.config.data import DataConfig
from vialign.data.base import Problems
from vialign.data.published_files import text_lines
from vialign.errors import UserError
from vialign.random import derive_seed, generator

CONFIRMATION = 500
"""Training images that are put aside for `confirmation`, unless `data.sizes` says otherwise."""
HELD_OUT: Mapping[str, int] = {"calibration": 300, "diagnosis": 500}
"""Images cut from the other training images for each use, unless `data.sizes` says otherwise."""
GATE_SHARE = 0.4
"""Share of the published validation images that the early gate reads, unless `data.sizes` says otherwise."""


def divide(names: Sequence[str], sizes: Mapping[str, int], seed: int, dataset: str) -> dict[str, list[str]]:
    """Training images dealt by seed to `confirmation`, `calibration`, `diagnosis` and, with what is left, `train`.

    `confirmation` is drawn first and by a seed of its own, so no other size changes it. The result depends on the names
    as a set, on the sizes and on the seed. Raises UserError when none is left.
    """
    held_out = {split: sizes.get(split, count) for split, count in HELD_OUT.items()}
    aside = sizes.get("confirmation", CONFIRMATION)
    if aside + sum(held_out.values()) >= len(names):
        raise UserError(
            f"config: data.sizes: {held_out | {'confirmation': aside}} leave none of the {len(names)} training images "
            "for training; lower them"
        )
    order = _shuffled(names, derive_seed(seed, "confirmation"), dataset, "divide")
    parts = {"confirmation": order[:aside]}
    order = _shuffled(order[aside:], seed, dataset, "divide")
    for split, count in held_out.items():
        parts[split], order = order[:count], order[count:]
    parts["train"] = order[: sizes.get("train", len(order))]
    return parts


def divide_validation(names: Sequence[str], sizes: Mapping[str, int], seed: int, dataset: str) -> dict[str, list[str]]:
    """Published validation images dealt by seed to `gate` and, with what is left, `selection`.

    Raises UserError when `data.sizes` gives all of them to the gate.
    """
    order = _shuffled(names, seed, dataset, "divide validation")
    count = sizes.get("gate", round(GATE_SHARE * len(order)))
    if order and count >= len(order):
        raise UserError(
            f"config: data.sizes.gate: {count} leaves none of the {len(order)} validation images for selection; "
            "lower it"
        )
    rest = order[count:]
    return {"gate": order[:count], "selection": rest[: sizes.get("selection", len(rest))]}


def _shuffled(names: Sequence[str], seed: int, *purpose: str) -> list[str]:
    """The names in an order that depends on them as a set, on the seed and on the purpose."""
    return [str(name) for name in generator(seed, *purpose).permutation(sorted(names))]


def at_most(names: Sequence[str], limit: int | None, seed: int, dataset: str, split: str) -> list[str]:
    """At most `limit` of the names, drawn by seed, in sorted order; all of them without a limit."""
    ordered = sorted(names)
    if limit is None:
        return ordered
    chosen = generator(seed, dataset, split).permutation(len(ordered))[:limit]
    return [ordered[place] for place in sorted(chosen)]


def assign_splits(
    listed: Mapping[str, Sequence[str]], config: DataConfig, seed: int, dataset: str, problems: Problems
) -> dict[str, str]:
    """Image to the project's split, from the published `train`, `validation` and `test` images.

    The training images (only those of `data.tune_list`, where it is given) are divided into confirmation, calibration,
    diagnosis and train, the validation images into selection and gate, unless `listed` names these two itself;
    `data.sizes` holds the most images that a split may have, drawn by seed. Raises UserError when nothing is left for
    training or selection, when the tuning list is not there, and when more rows are broken than `data.tolerance`
    allows.
    """
    problems.check()
    train = listed["train"]
    if config.tune_list is not None:
        train = _tuning(Path(config.tune_list), train, dataset, problems)
    parts = divide(train, config.sizes, seed, dataset)
    if "validation" in listed:
        parts |= divide_validation(listed["validation"], config.sizes, seed, dataset)
    else:
        parts |= {split: list(listed[split]) for split in ("selection", "gate")}
    parts["test"] = at_most(listed["test"], config.sizes.get("test"), seed, dataset, "test")
    return {name: split for split, names in parts.items() for name in sorted(names)}


def list_names(lists: Mapping[str, Path], dataset: str) -> list[str]:
    """The images that the lists name, a name a line, as they stand there."""
    return [name for path in lists.values() for _, line in text_lines(path, dataset) if (name := line.strip())]


def read_lists(
    lists: Mapping[str, Path], present: Container[str], dataset: str, problems: Problems, ending: str = ""
) -> dict[str, list[str]]:
    """Split to the images that its file lists, a name a line; `ending` is put to names that are only present with it.

    A name that is not present, or was listed before, is counted as a problem. Empty lines are left out.
    """
    listed: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for split, path in lists.items():
        listed[split] = []
        for line, content in text_lines(path, dataset):
            name = content.strip()
            if not name:
                continue
            problems.saw("list rows")
            name = name if name in present else name + ending
            if name in owner:
                reason = f"names image {name} again, which is in {owner[name]}"
            elif name not in present:
                reason = f"names image {name}, which is not in images"
            else:
                owner[name] = split
                listed[split].append(name)
                continue
            problems.add("list rows", path.name, f"line {line}", reason)
    return listed


def _tuning(path: Path, train: Sequence[str], dataset: str, problems: Problems) -> list[str]:
    """The training images that the tuning list names."""
    if not path.is_file():
        raise UserError(
            f"{dataset}: data.tune_list {path}: no such file; name the list of images for tuning or drop it"
        )
    published, chosen = set(train), dict[str, None]()
    for line, content in text_lines(path, dataset):
        name = content.strip()
        if not name:
            continue
        problems.saw("tuning list rows")
        if name in published:
            chosen[name] = None
        else:
            problems.add("tuning list rows", path.name, f"line {line}", f"{name} is not a training image here")
    return list(chosen)
