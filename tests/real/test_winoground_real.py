"""The published Winoground scores of OpenCLIP ViT-B-32 laion2b_s34b_b79k, from its real embeddings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vialign.evaluation.choices import choice_outcomes, text_id
from vialign.evaluation.compare import results_table
from vialign.evaluation.reproduction import check_reproduction

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def outcomes(real_folder: Path) -> pd.DataFrame:
    folder = real_folder / "winoground_embeddings"
    with np.load(folder / "winoground_real_vitb32.npz") as arrays:
        image, caption = (arrays[name].astype(np.float64) for name in ("img", "cap"))
    image, caption = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (image, caption))
    meta = pd.read_csv(folder / "winoground_meta.csv")
    items = pd.DataFrame(
        {
            "item_id": [f"winoground/{n}" for n in meta["id"]],
            "benchmark": "winoground",
            "split": "test",
            "tag": meta["collapsed_tag"],
            "images": [[f"{n}/0", f"{n}/1"] for n in meta["id"]],
            "texts": meta[["caption_0", "caption_1"]].to_numpy().tolist(),
            "right": None,
        }
    )
    image_row = {f"{n}/{i}": 2 * n + i for n in range(400) for i in range(2)}
    text_row = {text_id(f"winoground/{n}", j): 2 * n + j for n in range(400) for j in range(2)}

    def pair_scores(image_ids: list[str], text_ids: list[str]) -> np.ndarray:
        images, texts = image[[image_row[name] for name in image_ids]], caption[[text_row[name] for name in text_ids]]
        return (images * texts).sum(axis=1)

    rows = choice_outcomes(items, pair_scores)
    return rows.assign(method="frozen", seed=0, benchmark="test/" + rows["benchmark"])


def test_the_published_scores_come_out_exactly(outcomes):
    means = outcomes.groupby("measure")["value"].mean() * 100
    assert means.to_dict() == {"text": 34.75, "image": 11.00, "group": 7.50, "match": 67.50}
    assert outcomes["tie"].sum() == 0


def test_the_calibration_against_published_numbers_passes(outcomes):
    results = results_table(outcomes)
    checked = check_reproduction(results, "ViT-B-32", "laion2b_s34b_b79k", "winoground")
    assert checked["metric"].tolist() == ["text", "image", "group"]
    assert checked["passed"].all()
