"""What a term of the loss is good for, on the planted world: the one that matters is missed, and pairs stay paired."""

import numpy as np
import pandas as pd
import pytest

from unit.disentangle.planted_world import GRID, FakeImageFeatures, FakeTextFeatures, make_captions, make_images
from vialign.analysis.loss_ablation import TEXT_TERMS, VISUAL_TERMS, TextInputs, ablate_losses, add_local_rows, compared
from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.disentangle.measured import Measured
from vialign.disentangle.stage import VisualInputs

VISUAL = VisualConfig(
    atoms=12, background=8, prototypes=4, steps=50, batch=32, adapter_rank=8,
    reconstruction=0, sparsity=0, usage=0.5, purity=1, alignment=0, stability=0,
)  # fmt: skip
TEXT = TextConfig(units=6, steps=8, batch=32, adapter_rank=4, begin=0, subject=0, object=0, alignment=0, relation=1)


def features_of(world, kept):
    """The first `kept` captions, and each of them again as its own negative: the caption of the next image."""
    states, mask, offsets = (
        tensor[:kept] for tensor in (world.features.states, world.features.mask, world.features.offsets)
    )
    ids = [f"t{row}" for row in range(kept)]
    whole = FakeTextFeatures(
        [*ids, *(f"{name}!shuffle" for name in ids)],
        *(tensor.repeat(2, *[1] * (tensor.ndim - 1)) for tensor in (states, mask, offsets)),
    )
    whole.states[kept:] = states.roll(-1, 0)
    whole.mask[kept:] = mask.roll(-1, 0)
    whole.offsets[kept:] = offsets.roll(-1, 0)
    kinds = ["caption"] * kept + ["shuffle"] * kept
    texts = [*world.texts[:kept], *world.texts[1:kept], world.texts[0]]
    images = [f"i{k}" for k in range(kept)] * 2
    return whole, pd.DataFrame({"text_id": whole.ids, "image_id": images, "kind": kinds, "text": texts})


@pytest.fixture(scope="module")
def table():
    images = {"train": make_images(120, 1), "selection": make_images(60, 2)}
    captions = {"train": make_captions(120, 3), "selection": make_captions(60, 4)}
    texts = {split: features_of(world, len(world.image_of_text)) for split, world in captions.items()}
    moved = {"train": images["train"].moved, "selection": images["selection"].moved}
    visual_inputs = VisualInputs(
        {split: world.images for split, world in images.items()},
        {split: world.boxes for split, world in images.items()},
        {split: world.patches for split, world in images.items()},
        moved, None, images["train"].labels, None, GRID, "shortest",
    )  # fmt: skip
    text_inputs = TextInputs(
        {split: FakeImageFeatures(world.patches) for split, world in images.items()},
        {split: frame for split, (_, frame) in texts.items()},
        {split: features for split, (features, _) in texts.items()},
        {split: world.units for split, world in captions.items()},
        captions["selection"].units,
    )
    return ablate_losses(visual_inputs, text_inputs, VISUAL, TEXT, "planted", 0)


def test_the_terms_are_weights_of_the_config():
    for config, terms in ((VisualConfig(), VISUAL_TERMS), (TextConfig(), TEXT_TERMS)):
        assert all(isinstance(getattr(config, term), float) for term in terms)
    assert len(set(VISUAL_TERMS)) == len(VISUAL_TERMS) and len(set(TEXT_TERMS)) == len(TEXT_TERMS)


def test_only_terms_with_weight_are_left_out_and_the_full_loss_differs_from_nothing(table):
    assert set(zip(table["part"], table["left_out"], strict=True)) == {
        ("visual", "none"), ("visual", "usage"), ("visual", "purity"), ("text", "none"), ("text", "kind"),
        ("text", "relation"),
    }  # fmt: skip
    full = table[table["left_out"] == "none"]
    assert (full["difference"] == 0).all()
    assert (full["difference_low"].dropna() == 0).all() and (full["difference_high"].dropna() == 0).all()
    assert set(table["subject"]) == {"dictionary", "span path main", "S_local"}


def test_without_purity_objects_are_lost_and_a_count_has_no_interval(table):
    rows = table[table["part"] == "visual"].set_index(["left_out", "measure"])
    purity = rows.loc[("purity", "iou mean")]
    assert purity["difference_high"] < -0.05
    assert purity["difference"] == pytest.approx(purity["value"] - rows.loc[("none", "iou mean"), "value"])
    assert np.isnan(rows.loc[("usage", "dead atoms"), "difference_low"])
    assert rows.loc[("none", "auc shuffle"), "count"] == 60


def test_differences_are_paired():
    """Two fits that differ by a constant on every item differ by it without doubt, however items vary."""
    rng = np.random.default_rng(0)
    values, ones = rng.random(100), np.ones(100)
    reference, found = Measured("d", 0), Measured("d", 0)
    reference.ratio("dictionary", "iou mean", values, ones)
    found.ratio("dictionary", "iou mean", values - 0.01, ones)
    found.ratio("dictionary", "only here", values, ones)
    rows = list(compared(found, reference, 0))
    assert len(rows) == 1
    assert rows[0]["difference_low"] == pytest.approx(-0.01) and rows[0]["difference_high"] == pytest.approx(-0.01)
    assert rows[0]["low"] < rows[0]["value"] - 0.02 < rows[0]["value"] + 0.02 < rows[0]["high"]


def test_auc_of_s_local_is_the_share_of_captions_above_what_was_made_of_them():
    texts = pd.DataFrame(
        {
            "text_id": ["a", "b", "c", "a!shuffle", "b!shuffle", "c!swap_roles", "c!shuffle"],
            "kind": ["caption"] * 3 + ["shuffle", "shuffle", "swap_roles", "shuffle"],
        }
    )
    owner, scores = np.array([0, 0, 2, 0, 0, 2, 2]), np.array([0.5, 0.2, 0.9, 0.4, 0.2, 0.95, 0.1])
    measured = Measured("d", 0)
    add_local_rows(measured, texts, owner, scores, 3)
    found = {row.measure: (row.value, row.count) for row in measured.rows}
    assert found == {"auc shuffle": (pytest.approx((1 + 0.5 + 1) / 3), 2), "auc swap_roles": (0.0, 1)}
