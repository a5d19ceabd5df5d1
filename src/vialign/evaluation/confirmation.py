"""Whether what the test split showed holds on images that nothing led to."""

import pandas as pd

from vialign.evaluation.compare import REFERENCES, comparison_table

CLAIMS = (("image_to_text", "r1"), ("text_to_image", "r1"), ("negatives", "accuracy"))
"""Benchmark and measure of each claim: recall at rank one in both directions, and accuracy against hard negatives."""


def confirmation_table(outcomes: pd.DataFrame, method: str, level: float = 0.05) -> pd.DataFrame:
    """COMPARISONS of `method` with the frozen backbone and LoRA on the measures of `CLAIMS`, from `core_outcomes`.

    Holm's correction is over these claims alone. A reference that was not measured is left out.
    """
    place = pd.MultiIndex.from_arrays([outcomes["benchmark"].str.rsplit("/", n=1).str[-1], outcomes["measure"]])
    pairs = [(method, reference) for reference in REFERENCES if reference in set(outcomes["method"])]
    return comparison_table(outcomes[place.isin(CLAIMS)], pairs, level)
