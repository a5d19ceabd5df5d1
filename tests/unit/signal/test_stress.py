from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tolerance import close
from vialign.disentangle.types import Phrases, Prototypes
from vialign.features.pixels import PixelFiles
from vialign.files.artifacts import read_table, write_table
from vialign.files.shards import Shard
from vialign.signal.calibration import LogisticCalibration, SignalCalibration
from vialign.signal.pairs import SplitFeatures, build_pairs, score_pairs
from vialign.signal.validation.corruptions import CORRUPTIONS
from vialign.signal.validation.decay import CLEAN, Stressed, stress_points, stress_summary, stress_table
from vialign.signal.validation.diagnosis import contrast
from vialign.signal.validation.stress import (
    ATTACKS,
    DOMAIN,
    ImageSide,
    disturbances,
    disturbed_images,
    other_domain,
    stress_sample,
)
from vialign.signal.validation.stress_shards import own_disturbances, stressed_of, stressed_table
from vialign.signal.validation.text_stress import TextSide
from vialign.tables.signal import STRESSED

MAPS = SignalCalibration(LogisticCalibration(6.0, -2.0), LogisticCalibration(6.0, -2.0))
IMAGES = 24
SCORES = close(torch.float32, 16 * 192)
FOLLOWED = {"agreement", "s_global", "s_local", "s_local_plain", "s_sum"}


@pytest.fixture(scope="module")
def side() -> ImageSide:
    torch.manual_seed(0)
    tower = nn.Conv2d(3, 16, 8, stride=8).requires_grad_(False)

    def encode(values: torch.Tensor) -> tuple[torch.Tensor, Prototypes]:
        patches = tower(values - 0.5).flatten(2).transpose(1, 2)
        count = patches.shape[:2]
        found = Prototypes(F.normalize(patches, dim=-1), torch.full(count, 0.25), None, torch.zeros(*count, 5))
        return F.normalize(patches.mean(dim=1), dim=-1), found

    return ImageSide(lambda values: encode(values)[0], encode)


def make_split(side: ImageSide, name: str, noise: float = 0.0):
    """Images that the tower encodes, and captions made from their embeddings: alignment by design, less with noise."""
    rng = torch.Generator().manual_seed(1)
    pixels = (torch.rand(IMAGES, 3, 16, 16, generator=rng) * 255).to(torch.uint8)
    pooled, prototypes = side.encode(pixels.float() / 255)
    ids = [f"{name}{n}" for n in range(IMAGES)]
    texts = pd.DataFrame(
        [
            {"text_id": f"{image}#0{suffix}", "image_id": image, "kind": kind, "split": "diagnosis", "text": ""}
            for suffix, kind in (("", "caption"), ("!shuffle", "shuffle"))
            for image in ids
        ]
    )
    # A negative keeps half of its caption and takes the other half from another image.
    text_pooled = torch.cat([pooled, pooled + pooled.roll(1, dims=0)])
    text_pooled = F.normalize(text_pooled + noise * torch.randn(text_pooled.shape, generator=rng), dim=-1)
    own = prototypes.features[:, :2]
    wrong = torch.stack([own[:, 0], own[:, 1].roll(1, dims=0)], dim=1)
    units = torch.zeros(2 * IMAGES, 2, dtype=torch.long)
    phrases = Phrases(torch.cat([own, wrong]), torch.full((2 * IMAGES, 2), 0.5), units + 1, units - 1, units - 1, None)
    return pixels, texts, SplitFeatures(ids, pooled, prototypes, list(texts["text_id"]), text_pooled, phrases)


@pytest.fixture(scope="module")
def config(small_config):
    return small_config.model_copy(update={"epsilons": (1.0, 64.0), "driver": "agreement"})


@pytest.fixture(scope="module")
def case(side):
    pixels, texts, features = make_split(side, "i")
    return pixels, build_pairs(texts, features.image_ids, ["random", "shuffle"], IMAGES, 0), features


def stressed(case, side, config, seed=0) -> list[Stressed]:
    pixels, pairs, features = case
    sample = stress_sample(pixels, pairs, features, side, config, seed)
    clean = Stressed(CLEAN, 0.0, score_pairs(sample.pairs, sample.features, MAPS, config, seed))
    return [clean, *disturbed_images(sample, side, MAPS, config, seed)]


@pytest.fixture(scope="module")
def curves(case, side, config) -> pd.DataFrame:
    return stress_table(stress_points(stressed(case, side, config), config, 0))


def test_every_curve_is_there_and_starts_clean(curves, config):
    assert set(curves["attack"]) == {*CORRUPTIONS, *ATTACKS}
    for attack, part in curves.groupby("attack"):
        strengths = config.epsilons if attack in ATTACKS else config.severities
        assert sorted(part["strength"].unique()) == [0, *strengths]
        assert set(part["unit"]) == {"epsilon in 1/255" if attack in ATTACKS else "severity"}
    clean = curves[curves["strength"] == 0].groupby(["signal", "kind"])["auc"].nunique()
    assert (clean == 1).all() and len(clean) == 2 * len(FOLLOWED)
    aimed = curves[curves["attack"].isin(ATTACKS)]
    assert set(curves[~curves["attack"].isin(ATTACKS)]["target"]) == {"none"}
    assert set(aimed["target"]) == FOLLOWED
    assert (aimed["signal"] == aimed["target"])[aimed["target"] != "s_global"].all()
    assert set(aimed[aimed["target"] == "s_global"]["signal"]) == FOLLOWED
    assert set(curves["signal"]) == FOLLOWED and set(curves["kind"]) == {"random", "hard"}


def test_pixels_are_decoded_of_the_drawn_images_alone(case, side, config, monkeypatch):
    pixels, pairs, features = case
    table = pd.DataFrame({"image_id": features.image_ids, "path": "", "source": "", "crop": [()] * IMAGES})
    files, decoded = PixelFiles(table, {}, SimpleNamespace(image_size=pixels.shape[-1])), []
    monkeypatch.setattr(files, "_decode", lambda position: decoded.append(position) or pixels[position])
    few = config.model_copy(update={"stress_images": 5})
    found, expected = (stress_sample(part, pairs, features, side, few, 0) for part in (files, pixels))
    assert torch.equal(found.pixels, expected.pixels) and len(decoded) == 5


def test_the_clean_value_is_the_diagnosis_of_the_same_images(case, side, config):
    pixels, pairs, features = case
    everything = config.model_copy(update={"stress_images": IMAGES})
    sample = stress_sample(pixels, pairs, features, side, everything, 0)
    found = score_pairs(sample.pairs, sample.features, MAPS, everything, 0)
    scores = score_pairs(pairs, features, MAPS, everything, 0)
    for kind in ("random", "hard"):
        expected = contrast(scores, kind).auc("agreement")
        assert contrast(found, kind).auc("agreement") == pytest.approx(expected) and expected > 0.8


def test_strong_attacks_take_the_discrimination_away_and_weak_ones_less(curves):
    own = curves[(curves["target"] == curves["signal"]) | (curves["target"] == "none")]
    table = own.set_index(["attack", "strength", "signal", "kind"])["auc"]
    for signal in ("s_global", "agreement"):
        for attack in ("pgd", "pgd targeted"):
            assert table[attack, 64.0, signal, "random"] < 0.7 < table[attack, 1.0, signal, "random"]
    assert table["pgd", 64.0, "s_global", "random"] <= table["fgsm", 64.0, "s_global", "random"] + 0.1


def test_attacks_do_what_they_are_called(side, config):
    """Untargeted ones lower their signal with the aligned caption, targeted ones raise it with the random one."""
    pixels, texts, features = make_split(side, "n", noise=0.1)
    pairs = build_pairs(texts, features.image_ids, ["random", "shuffle"], IMAGES, 0)
    found = stressed((pixels, pairs, features), side, config)
    named = {(one.attack, one.strength, one.target): one.scores for one in found}
    clean = named[CLEAN, 0.0, "none"]
    for attack, target in product(ATTACKS, FOLLOWED):
        aimed = named[attack, 1.0, target]
        assert (aimed[["image_id", "text_id"]] == clean[["image_id", "text_id"]]).all(axis=None)
        kind = "random" if "targeted" in attack else "aligned"
        first = clean[clean["kind"] == kind].drop_duplicates("image_id").index
        moved = (aimed[target] - clean[target])[first] * (1 if "targeted" in attack else -1)
        # A local similarity is at its largest where phrases are the image's own patches: its gradient is no descent.
        assert (moved > 0).all() if target == "s_global" else (moved >= -SCORES).all() and moved.mean() > 0


def test_an_image_without_a_wrong_caption_is_not_attacked_towards_one(case, side, config):
    pixels, pairs, features = case
    alone = features.image_ids[3]
    everything = config.model_copy(update={"stress_images": IMAGES, "epsilons": (64.0,), "severities": (1,)})
    fewer = pairs[(pairs["image_id"] != alone) | (pairs["kind"] == "aligned")]
    named = {one.attack: one.scores for one in stressed((pixels, fewer, features), side, everything)}
    own = named[CLEAN]["image_id"] == alone
    for attack in ("fgsm targeted", "pgd targeted"):
        assert (named[attack]["s_global"] == named[CLEAN]["s_global"])[own].all()
        assert (named[attack]["s_global"] != named[CLEAN]["s_global"])[~own].any()


def test_stress_repeats_by_seed(curves, case, side, config):
    again = stress_table(stress_points(stressed(case, side, config), config, 0))
    pd.testing.assert_frame_equal(curves, again)


@pytest.mark.parametrize("jobs", [1, 2, 3, 40])
def test_scores_of_shards_are_those_of_one_job_in_its_order(case, side, config, tmp_path, jobs):
    """Of forty jobs some have nothing to do."""
    pixels, pairs, features = case
    _, texts, other = make_split(side, "d", noise=0.6)
    sample = stress_sample(pixels, pairs, features, side, config, 0)

    def elsewhere():
        yield other_domain(texts, other, MAPS, config, 0)

    # Disturbed texts need a backbone and a parser, and are left out.
    made = disturbances(sample, texts, side, object.__new__(TextSide), elsewhere, MAPS, config, 0)
    del made[-2]
    shards = [own_disturbances(Shard(number, jobs), len(made)) for number in range(1, jobs + 1)]
    paths = [tmp_path / f"{number}.parquet" for number in range(jobs)]
    for path, own in zip(paths, shards, strict=True):
        write_table(stressed_table((number, made[number]()) for number in own), STRESSED, path, {})
    found = stressed_of([read_table(path, STRESSED) for path in paths])
    expected = [*stressed(case, side, config), *elsewhere()]
    assert len(found) == len(expected)
    for one, whole in zip(found, expected, strict=True):
        assert replace(one, scores=None) == replace(whole, scores=None)
        pd.testing.assert_frame_equal(one.scores, whole.scores, check_dtype=False, check_exact=True)
    tables = [stress_table(stress_points(scores, config, 0)) for scores in (found, expected)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_another_domain_is_scored_on_its_own_pairs_and_resampled_on_its_own(case, side, config):
    _, texts, features = make_split(side, "d", noise=0.6)
    elsewhere = other_domain(texts, features, MAPS, config, 0)
    assert set(elsewhere.scores["image_id"]) == set(features.image_ids)
    pixels, pairs, home = case
    sample = stress_sample(pixels, pairs, home, side, config.model_copy(update={"stress_images": IMAGES}), 0)
    clean = Stressed(CLEAN, 0.0, score_pairs(sample.pairs, sample.features, MAPS, config, 0))
    points = stress_points([clean, elsewhere], config, 0)
    table = stress_table(points)
    assert set(table["attack"]) == {DOMAIN} and set(table["unit"]) == {"domain"}
    auc = table[(table["signal"] == "s_global") & (table["kind"] == "random")].set_index("strength")["auc"]
    assert auc[1.0] == pytest.approx(contrast(elsewhere.scores, "random").auc("s_global")) and auc[1.0] < auc[0.0]
    same = [Stressed(CLEAN, 0.0, elsewhere.scores), elsewhere]
    home_draws, other_draws = (
        point.resampled
        for point in stress_points(same, config, 0)
        if point.kind == "random" and point.signal == "s_global"
    )
    assert abs(np.corrcoef(home_draws, other_draws)[0, 1]) < 0.3
    summary = stress_summary(points)
    mean = summary[summary["attack"] == "all"].set_index(["signal", "kind"])
    one = summary[summary["attack"] == DOMAIN].set_index(["signal", "kind"])
    assert set(mean["target"]) == {"own"} and set(one["target"]) == {"none"}
    names = ["attack", "target"]
    pd.testing.assert_frame_equal(mean.drop(columns=names), one.drop(columns=names))
