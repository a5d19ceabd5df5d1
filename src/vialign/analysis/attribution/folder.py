"""What carries the gain on a user's own images: the correction trained on them, with one part replaced at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vialign.analysis.attribution.findings import attribution_table, carriers
from vialign.analysis.attribution.names import DRIVER, FROZEN, SHIPPED
from vialign.analysis.attribution.replacements import Replacement, driver_replacements, local_replacements
from vialign.analysis.attribution.running import frozen_outcomes, replaced_outcomes
from vialign.catalogue import method_name
from vialign.config.experiment import Config
from vialign.disentangle.prototype_quality import random_atoms
from vialign.errors import UserError
from vialign.features import BackboneFacts
from vialign.methods.build import build_method, learning_rate
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.objective import SplitData
from vialign.signal.calibration import SignalCalibration
from vialign.toolkit import Captions, Signal
from vialign.toolkit.encoder import prototypes_of
from vialign.toolkit.images import Broken, draw_unused, images_used_for
from vialign.toolkit.splits import encode_split

METHOD = method_name(["correct"])
"""The module in which the driver and the local part meet."""
LEAST = 20
"""Images of each part below which no interval means anything."""
TRAIN, MEASURED = "train", "unused"


@dataclass(frozen=True)
class Attribution:
    """What the images say about where a gain comes from."""

    table: pd.DataFrame
    """Rows of `ATTRIBUTION`."""
    carriers: pd.DataFrame
    """Rows of `CARRIERS`."""

    @property
    def drives(self) -> bool:
        """Whether C beats both a constant and a shuffle of itself somewhere."""
        return bool(self.carriers.loc[self.carriers["claim"] == DRIVER, "holds"].any())

    def __str__(self) -> str:
        return "\n".join(lines(self))


def attribute_signal(
    signal: Signal,
    captions: Captions,
    *,
    config: Config | None = None,
    seeds: Sequence[int] = range(5),
    images: int = 500,
    seed: int = 0,
    batch: int = 32,
) -> Attribution:
    """Train the correction on images that the signal was fitted on, with its parts replaced; measure it on unused ones.

    Captions and, of each image's first caption, the rule-made negatives. Replaced are the driver, by everything that
    stands in for it, and the local part; a dictionary without boxes is what the signal has already. `config.training`
    holds the recipe; training stops at its early steps. Raises UserError when fewer than 20 images were fitted on or
    are unused.
    """
    config = config or Config()
    fitted = images_used_for(captions, signal.used, "fit")
    unused = draw_unused(captions, signal.used, images, seed)
    for what, names in (("were used to fit the signal", fitted), ("are unused", unused)):
        if len(names) < LEAST:
            raise UserError(
                f"{captions.file}: {len(names)} of its images {what}; an attribution trains on the first and measures "
                f"on the second, and needs {LEAST} of each: give more images"
            )
    broken = Broken(captions.strict, len(fitted) + len(unused), captions.tolerance)
    data: dict[str, SplitData] = {}
    patches_of = {}
    for split, names in ((TRAIN, fitted), (MEASURED, unused)):
        data[split], patches = encode_split(signal, captions, names, broken, seed, batch)
        patches_of[split] = patches.float()
    broken.report()
    atoms = random_atoms(signal.encoder.visual, seed)
    random = {split: (prototypes_of(atoms, patches), data[split].phrases) for split, patches in patches_of.items()}
    facts, calibration = BackboneFacts.of(signal.encoder.backbone), SignalCalibration.from_table(signal.calibration)
    settings = config.model_copy(update={"signal": signal.config})

    def build(number: int) -> CurriculumMethod:
        method = build_method(METHOD, settings, facts, calibration, number)
        assert isinstance(method, CurriculumMethod)
        return method

    replacements = [*driver_replacements(signal.config), *local_replacements({"unfitted dictionary": random}, seed)]
    training, steps = config.training, config.training.early_steps
    training = training.model_copy(update={"batch": min(training.batch, len(data[TRAIN].image_ids))})
    found = replaced_outcomes(
        build,
        [Replacement(SHIPPED, "whole"), *replacements],
        data,
        MEASURED,
        training,
        peak_rate=learning_rate(METHOD, training),
        seeds=seeds,
        steps=steps,
        images=images,
    )
    frozen = frozen_outcomes(build_method(FROZEN, settings, facts, calibration, 0), data[MEASURED], MEASURED, images)
    parts = {replacement.name: replacement.part for replacement in replacements}
    table = attribution_table(pd.concat([found, frozen]), METHOD, parts, steps, level=config.evaluation.level)
    return Attribution(table, carriers(table, config.evaluation.level))


def lines(attribution: Attribution) -> list[str]:
    """The mean cost of each replacement, and what carries the gain, for a terminal."""
    table = attribution.table
    names = list(dict.fromkeys(zip(table["benchmark"], table["measure"], strict=True)))
    rows_of: Iterable[Any] = table.itertuples()
    cells = {(row.replacement, row.benchmark, row.measure): row for row in rows_of}
    said = [f"{'points lost without':24}" + "".join(f"{_short(*name):>26}" for name in names)]
    for replacement in table["replacement"].unique():
        rows = [cells[replacement, benchmark, measure] for benchmark, measure in names]
        told = (f"{100 * row.cost:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]{_mark(row)}" for row in rows)
        said.append(f"{replacement:24}" + "".join(f"{cell:>26}" for cell in told))
    said += ["* significant after correction; the row `frozen` shows what there is to lose", ""]
    for row in attribution.carriers.itertuples():
        said.append(f"{'Yes' if row.holds else 'Not shown'}: {row.claim} carries the gain. {row.reason}")
    return said


def _short(benchmark: str, measure: str) -> str:
    return benchmark.partition("/")[2].replace("negatives/", "") + ("" if measure == "accuracy" else f" {measure}")


def _mark(row: Any) -> str:
    return "*" if row.p_holm < 0.05 and row.cost > 0 else " "
