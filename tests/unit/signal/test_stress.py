import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vialign.disentangle.types import Phrases, Prototypes
from vialign.signal.calibration import LogisticCalibration, SignalCalibration
from vialign.signal.stage import SplitFeatures, build_pairs, score_pairs
from vialign.signal.validation.corruptions import CORRUPTIONS
from vialign.signal.validation.diagnosis import contrast
from vialign.signal.validation.stress import ATTACKS, image_encoder, robustness, stress_curves

MAPS = SignalCalibration(LogisticCalibration(6.0, -2.0), LogisticCalibration(6.0, -2.0))


@pytest.fixture(scope="module")
def case(small_config):
    """Images whose embeddings a random tower makes, and captions made from these embeddings: alignment by design."""
    torch.manual_seed(0)
    tower = nn.Conv2d(3, 16, 8, stride=8).requires_grad_(False)
    pixels = (torch.rand(24, 3, 16, 16) * 255).to(torch.uint8)

    def tokens(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        patches = tower(values - 0.5).flatten(2).transpose(1, 2)
        return F.normalize(patches.mean(dim=1), dim=-1), patches

    def visual(patches: torch.Tensor) -> Prototypes:
        count = patches.shape[:2]
        return Prototypes(F.normalize(patches, dim=-1), torch.full(count, 0.25), None, torch.zeros(*count, 5))

    encode = image_encoder(tokens, visual)
    pooled, prototypes = encode(pixels.float() / 255)
    ids = [f"i{n}" for n in range(24)]
    texts = pd.DataFrame(
        [
            {"text_id": f"{image}#0{suffix}", "image_id": image, "kind": kind, "split": "diagnosis", "text": ""}
            for suffix, kind in (("", "caption"), ("!shuffle", "shuffle"))
            for image in ids
        ]
    )
    # A negative keeps half of its caption and takes the other half from another image.
    text_pooled = F.normalize(torch.cat([pooled, pooled + pooled.roll(1, dims=0)]), dim=-1)
    own = prototypes.features[:, :2]
    wrong = torch.stack([own[:, 0], own[:, 1].roll(1, dims=0)], dim=1)
    units = torch.zeros(48, 2, dtype=torch.long)
    phrases = Phrases(torch.cat([own, wrong]), torch.full((48, 2), 0.5), units + 1, units - 1, units - 1, None)
    features = SplitFeatures(ids, pooled, prototypes, list(texts["text_id"]), text_pooled, phrases)
    config = small_config.model_copy(update={"epsilons": (1.0, 64.0), "driver": "agreement"})
    pairs = build_pairs(texts, ids, ["random", "shuffle"], 24, 0)
    return pixels, pairs, features, encode, config


@pytest.fixture(scope="module")
def curves(case) -> pd.DataFrame:
    pixels, pairs, features, encode, config = case
    return stress_curves(pixels, pairs, features, encode, MAPS, config, seed=0, batch=5)


def test_every_curve_is_there_and_starts_clean(curves, case):
    config = case[-1]
    assert set(curves["attack"]) == {*CORRUPTIONS, *ATTACKS}
    for attack, part in curves.groupby("attack"):
        strengths = config.epsilons if attack in ATTACKS else config.severities
        assert sorted(part["strength"].unique()) == [0, *strengths]
    clean = curves[curves["strength"] == 0].groupby(["signal", "kind"])["auc"].nunique()
    assert (clean == 1).all() and len(clean) == 4
    assert set(curves["signal"]) == {"agreement", "s_global"} and set(curves["kind"]) == {"random", "hard"}


def test_the_clean_value_is_the_diagnosis_of_the_same_images(curves, case):
    pixels, pairs, features, _, config = case
    everything = config.model_copy(update={"stress_images": 24, "severities": (1,), "epsilons": (1.0,)})
    found = stress_curves(pixels, pairs, features, case[3], MAPS, everything, seed=0)
    scores = score_pairs(pairs, features, MAPS, config, 0)
    for kind in ("random", "hard"):
        expected = contrast(scores, kind).auc("agreement")
        rows = found[(found["strength"] == 0) & (found["signal"] == "agreement") & (found["kind"] == kind)]
        assert rows["auc"].to_numpy() == pytest.approx(expected)
        assert expected > 0.8


def test_strong_attacks_take_the_discrimination_away_and_weak_ones_less(curves):
    table = curves.set_index(["attack", "strength", "signal", "kind"])["auc"]
    for signal in ("s_global", "agreement"):
        assert table["pgd", 64.0, signal, "random"] < 0.7 < table["pgd", 1.0, signal, "random"]
    assert table["pgd", 64.0, "s_global", "random"] <= table["fgsm", 64.0, "s_global", "random"] + 0.1


def test_stress_repeats_by_seed(curves, case):
    pixels, pairs, features, encode, config = case
    again = stress_curves(pixels, pairs, features, encode, MAPS, config, seed=0, batch=5)
    pd.testing.assert_frame_equal(curves, again)


def test_robustness_by_hand():
    def curve(attack: str, values: list[float], margin: float = 0.05) -> pd.DataFrame:
        strength, auc = np.arange(len(values)) * 1.0, np.array(values)
        frame = pd.DataFrame({"attack": attack, "strength": strength, "signal": "s", "kind": "random", "auc": auc})
        return frame.assign(low=auc - margin, high=auc + margin, pairs=9)

    curves = [curve("none", [0.9] * 3), curve("fall", [0.9, 0.7, 0.5]), curve("blind", [0.52, 0.6])]
    table = robustness(pd.concat(curves).sample(frac=1, random_state=0)).set_index("attack")
    assert table.loc["none", "relative_area"] == pytest.approx(1.0)
    assert table.loc["fall", "relative_area"] == pytest.approx((0.3 + 0.1) / 2 / 0.4)
    assert np.isnan(table.loc["blind", "relative_area"]) and table.loc["blind", "clean"] == 0.52
