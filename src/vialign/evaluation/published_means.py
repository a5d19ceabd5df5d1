"""Means over the parts of a benchmark as vl_compo publishes them (https://github.com/ytaek-oh/vl_compo).

Its results.csv has one number a benchmark and does not say how it is taken. The numbers of all parts stand beside it in
individual_results.csv: for each of 201 checkpoints the means below give the published one within its rounding (0.005
points). What has no mean here cannot be had from a run: ARO, the mean of VG-Relation, VG-Attribution, COCO-Order and
Flickr-Order, of which a run has one order task or the other, since its items show images of the run's own test split;
EqBen without the frames of YouCook2, SVO-Probes without the images that are gone, VL-CheckList in parts that its files
do not have, and CREPE.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

METRIC = "mean_accuracy"
"""What such a value is called among published ones."""


@dataclass(frozen=True)
class PublishedMean:
    """A mean over kinds, which weigh alike, of the accuracy of each."""

    what: str
    """In words."""
    kinds: tuple[tuple[str, ...], ...]
    """The parts of each kind, as benchmarks of RESULTS."""
    by_items: bool = False
    """Within a kind every item weighs alike, else every part."""

    @property
    def parts(self) -> list[str]:
        """All parts, without the split that they are evaluated in."""
        return [part.partition("/")[2] for kind in self.kinds for part in kind]

    def of(self, results: pd.DataFrame) -> float | None:
        """The mean from RESULTS of one method; None where a part was not measured."""
        told = (results["convention"] == "micro") & (results["measure"] == "accuracy")
        rows = results[told].set_index("benchmark")
        if any(part not in rows.index for kind in self.kinds for part in kind):
            return None
        means = [
            np.average(
                rows.loc[list(kind), "value"].astype(float),
                weights=rows.loc[list(kind), "items"].astype(float) if self.by_items else None,
            )
            for kind in self.kinds
        ]
        return float(np.mean(means))


def _of(split: str, *kinds: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"{split}/{split}_{part}" for part in kind.split()) for kind in kinds)


MEANS = {
    "sugarcrepe": PublishedMean(
        "SugarCrepe, mean accuracy of replaced, swapped and added words",
        _of("sugarcrepe", "replace_obj replace_att replace_rel", "swap_obj swap_att", "add_obj add_att"),
        by_items=True,
    ),
    "valse": PublishedMean(
        "VALSE, mean accuracy of its seven phenomena",
        _of(
            "valse",
            "existence",
            "plurals",
            "counting_hard counting_small_quant counting_adversarial",
            "relations",
            "action_replacement actant_swap",
            "coreference_standard coreference_hard",
            "foil_it",
        ),
    ),
    "whatsup": PublishedMean(
        "What'sUp, mean accuracy of its six parts",
        _of("whatsup", "a", "b", "coco_one", "coco_two", "vg_one", "vg_two"),
    ),
}
"""By the column of results.csv."""
