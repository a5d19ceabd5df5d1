"""Whether what the test split showed holds on images that nothing led to."""

import pandas as pd

from vialign.evaluation.compare import REFERENCES, comparison_table

CLAIMS = (
    ("image_to_text", "r1", "image_to_text"),
    ("text_to_image", "r1", "text_to_image"),
    ("aro_relation", "accuracy", "negatives/swap_roles"),
    ("replace_relation", "accuracy", "negatives/replace_relation"),
    ("negatives", "accuracy", "negatives"),
)
"""Of each claim its benchmark on the test split, its measure, and the benchmark on `confirmation` that asks the same.

Recall at rank one in both directions; exchanged roles and a replaced relation, which the images kept aside have as
hard negatives made by rule; and all of those negatives together.
"""


def confirmation_table(outcomes: pd.DataFrame, method: str, level: float = 0.05) -> pd.DataFrame:
    """COMPARISONS of `method` with the frozen backbone and LoRA on the measures of `CLAIMS`, from `core_outcomes` and
    `negatives_by_kind`.

    Holm's correction is over these claims alone. A reference that was not measured is left out.
    """
    place = pd.MultiIndex.from_arrays([outcomes["benchmark"].str.split("/", n=1).str[-1], outcomes["measure"]])
    pairs = [(method, reference) for reference in REFERENCES if reference in set(outcomes["method"])]
    asked = [(there, measure) for _, measure, there in CLAIMS]
    return comparison_table(outcomes[place.isin(asked)], pairs, level)
