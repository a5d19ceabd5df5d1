import numpy as np
import pandas as pd

from vialign.evaluation.confirmation import CLAIMS, confirmation_table

ASKED = [(there, measure) for _, measure, there in CLAIMS]


def outcomes(method, share, seed, benchmark, measure):
    """So many of 300 queries solved, the same ones by every method as far as its share goes."""
    names = [f"q{number}" for number in range(300)]
    rows = {"method": method, "seed": seed, "benchmark": f"confirmation/{benchmark}", "item_id": names}
    rows |= {"measure": measure, "value": (np.arange(300) < 300 * share).astype(float), "tag": None, "tie": False}
    return pd.DataFrame({**rows, "chosen": None, "image_id": names})


def world(*methods):
    shares = {"frozen": 0.5, "lora": 0.7, "vialign": 0.8}
    measured = [*ASKED, ("image_to_text", "r5"), ("negatives/shuffle", "accuracy")]
    frames = [outcomes(name, shares[name], seed, *claim) for name in methods for seed in (0, 1) for claim in measured]
    return pd.concat(frames, ignore_index=True)


def test_the_claims_alone_are_compared_and_corrected_for():
    table = confirmation_table(world("frozen", "lora", "vialign"), "vialign")
    assert len(table) == 10 and set(table["method"]) == {"vialign"}
    assert set(zip(table["benchmark"].str.removeprefix("confirmation/"), table["measure"], strict=True)) == set(ASKED)
    assert table.groupby("reference")["difference"].first().round(6).to_dict() == {"frozen": 0.3, "lora": 0.1}
    smallest = table["p_value"].min()
    assert table["p_holm"].min() == min(1, 10 * smallest) and smallest < 0.001


def test_a_reference_that_was_not_measured_is_left_out():
    assert set(confirmation_table(world("frozen", "vialign"), "vialign")["reference"]) == {"frozen"}
    assert confirmation_table(world("vialign"), "vialign").empty
