"""What is put in the place of the driver and of the local part of a method: the same recipe, one thing exchanged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from vialign.analysis.attribution.names import DRIVERS, LOCAL
from vialign.config.signal import SignalConfig
from vialign.disentangle.encoded import StoredPhrases
from vialign.disentangle.types import Phrases, Prototypes, reordered
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.objective import SplitData
from vialign.random import generator
from vialign.signal.drivers import BLIND, BlindDriver, Driver, SignalDriver, oracle
from vialign.signal.pairs import exchanged

_SAMPLE = 512
"""Training captions whose pairs give a blind driver its values."""


@dataclass(frozen=True)
class Replacement:
    """One thing exchanged: on the data of every split, and on the method before it is trained."""

    name: str
    part: str
    """`driver` or `local`."""
    data: Callable[[SplitData, str], SplitData] = lambda data, split: data
    """A split with the local part replaced; the second argument is its name."""
    method: Callable[[CurriculumMethod, SplitData, int], None] = lambda method, data, seed: None
    """The method made ready, given the training split and the seed."""


def driver_replacements(config: SignalConfig) -> list[Replacement]:
    """Everything that stands in for the driver of `config`."""
    names = [name for name in DRIVERS if name != config.driver]
    return [Replacement(name, "driver", method=_with_driver(name)) for name in names]


def _with_driver(name: str) -> Callable[[CurriculumMethod, SplitData, int], None]:
    def change(method: CurriculumMethod, data: SplitData, seed: int) -> None:
        method.drive = make_driver(name, method, data, seed)

    return change


def make_driver(name: str, method: CurriculumMethod, data: SplitData, seed: int) -> Driver:
    """A driver by its name; blind ones have the values that the method's own gives to training pairs at the start."""
    if name == "oracle":
        return oracle
    if name in BLIND:
        return BlindDriver(name, method.drive, driver_values(method, data, seed), seed)
    return SignalDriver(name, method.calibration)


def driver_values(method: CurriculumMethod, data: SplitData, seed: int) -> torch.Tensor:
    """The driver of training captions with their own images and, as many, with another's, before any step."""
    captions = data.captions[torch.from_numpy(generator(seed, "driver values").permutation(len(data.captions)))]
    captions = captions[:_SAMPLE]
    other = replace(data, image_of_text=data.image_of_text.clone())
    other.image_of_text[captions] = data.image_of_text[captions.roll(1)]
    with torch.no_grad():
        return torch.cat([method.consistency(data, captions), method.consistency(other, captions)])


def local_replacements(encoded: Mapping[str, Mapping[str, tuple[Prototypes, Phrases]]], seed: int) -> list[Replacement]:
    """Everything that stands in for the local part.

    `encoded` has, for `without boxes` and `unfitted dictionary`, every split as that dictionary encodes it.
    """
    changes: dict[str, Callable[[SplitData, str], SplitData]] = {
        "best match only": lambda data, split: best_match_only(data),
        "geometry alone": lambda data, split: geometry_alone(data),
        "shuffled prototypes": lambda data, split: shuffled_prototypes(data, seed),
        **{name: with_encoded(splits) for name, splits in encoded.items()},
    }
    methods = {"geometry alone": _blind_to_features}
    return [
        Replacement(name, "local", data=changes[name], **({"method": methods[name]} if name in methods else {}))
        for name in LOCAL
        if name in changes
    ]


def with_encoded(splits: Mapping[str, tuple[Prototypes, Phrases]]) -> Callable[[SplitData, str], SplitData]:
    """Every split with these prototypes and phrases in the place of its own."""
    return lambda data, split: replace(data, prototypes=splits[split][0], phrases=splits[split][1])


def best_match_only(data: SplitData) -> SplitData:
    """Without geometry: relations ask for no direction, and all prototypes lie in one place."""
    return replace(data, prototypes=_placeless(data.prototypes), phrases=_without_direction(data))


def _placeless(prototypes: Prototypes) -> Prototypes:
    return replace(prototypes, moments=torch.zeros_like(prototypes.moments))


def _without_direction(data: SplitData) -> Phrases:
    phrases = data.phrases
    return phrases if phrases.direction is None else replace(phrases, direction=torch.zeros_like(phrases.direction))


def geometry_alone(data: SplitData) -> SplitData:
    """Only relations with two arguments count: the rest of a caption has no weight, and S_local is their geometry.

    The arguments are found by their features all the same: without them nothing says where to look.
    """
    phrases = data.phrases
    told = torch.zeros_like(phrases.weight) if phrases.direction is None else phrases.direction.any(dim=-1).float()
    weight = phrases.weight * told
    # A unit without weight may name no other: what follows cuts the units behind the last that counts.
    subject, object_ = (torch.where(told > 0, index, -1) for index in (phrases.subject, phrases.object))
    weight = weight / weight.sum(dim=-1, keepdim=True).clamp_min(1e-8)
    # Of a relation that is not spatial, too, the geometry is here the whole match.
    if isinstance(phrases, StoredPhrases):
        phrases = replace(phrases, geometry=None if phrases.geometry is None else phrases.geometry.sign())
    elif phrases.direction is not None:
        phrases = replace(phrases, direction=functional.normalize(phrases.direction, dim=-1))
    return replace(data, phrases=replace(phrases, weight=weight, subject=subject, object=object_))


def _blind_to_features(method: CurriculumMethod, data: SplitData, seed: int) -> None:
    """The correction reads no feature of a prototype, only the geometry."""
    if method.correct is not None:
        with torch.no_grad():
            method.correct.read.zero_()
        method.correct.read.requires_grad_(False)


def shuffled_prototypes(data: SplitData, seed: int) -> SplitData:
    """Every image with the prototypes of another."""
    return replace(data, prototypes=reordered(data.prototypes, exchanged(len(data.image_ids), seed)))
