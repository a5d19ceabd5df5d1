"""What carries a gain: every replacement does what it says, and planted worlds are called by their name."""

from dataclasses import fields, replace

import pandas as pd
import pytest
import torch

from planted import CALIBRATION, Vocabulary, planted_world
from scripts import load_script
from vialign.analysis.attribution.dictionaries import encode_true_boxes, encode_unfitted
from vialign.analysis.attribution.findings import attribution_table, carriers
from vialign.analysis.attribution.names import CLAIMS, DECISIVE, DRIVER, DRIVERS, LOCAL, MEANINGS, SHIPPED
from vialign.analysis.attribution.replacements import (
    Replacement,
    best_match_only,
    driver_replacements,
    driver_values,
    geometry_alone,
    local_replacements,
    shuffled_prototypes,
)
from vialign.analysis.attribution.running import frozen_outcomes, measured_captions, replaced_outcomes
from vialign.config.methods import CurriculumConfig, TrainingConfig
from vialign.config.signal import SignalConfig
from vialign.data.base import image_table
from vialign.disentangle.encoded import StoredPhrases
from vialign.disentangle.geometry import ADDED
from vialign.disentangle.visual import VisualDisentangler
from vialign.methods.baselines.frozen import Frozen
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.signal.drivers import oracle
from vialign.signal.score import local_similarity, relation_queries

DIMENSION = 32
RECIPE = TrainingConfig(batch=32, steps=30, early_steps=30, checks=1)
SEEDS = (0, 1)


def build(seed, modules=("correct",)):
    return CurriculumMethod(modules, DIMENSION, 30.0, CALIBRATION, CurriculumConfig(), SignalConfig(), 1.0, seed)


@pytest.fixture(scope="module")
def data():
    vocabulary = Vocabulary(DIMENSION)
    return {"train": planted_world(vocabulary, 120, 1), "selection": planted_world(vocabulary, 100, 2)}


def outcomes_of(data, replacements, make=build, steps=30):
    found = replaced_outcomes(
        make, replacements, data, "selection", RECIPE, peak_rate=1e-2, seeds=SEEDS, steps=steps, images=100
    )
    return pd.concat([found, frozen_outcomes(Frozen(30.0, 1.0), data["selection"], "selection", 100)])


def table_of(outcomes, parts):
    return attribution_table(outcomes, "vialign-correct", parts, 30, level=0.05)


def s_local(data, geometry=True):
    """S_local of every caption with its own image."""
    prototypes = data.prototypes.index(data.image_of_text)
    relations = relation_queries(data.phrases) if geometry else None
    phrases = data.phrases
    return local_similarity(
        prototypes.features, phrases.features, phrases.weight, prototypes.mass, prototypes.moments, relations
    )


def test_every_replacement_has_a_meaning_and_every_claim_names_replacements():
    assert {*DRIVERS, *LOCAL} == set(MEANINGS) and set(DECISIVE) <= set(MEANINGS)
    assert {name for claim in CLAIMS for name in claim.without} <= set(MEANINGS)
    drivers = [replacement.name for replacement in driver_replacements(SignalConfig())]
    assert set(drivers) == set(DRIVERS) - {"consistency"}
    assert "consistency" in [found.name for found in driver_replacements(SignalConfig(driver="agreement"))]


def test_without_geometry_the_local_score_is_the_best_match_alone(data):
    plain = best_match_only(data["train"])
    assert torch.equal(s_local(plain), s_local(data["train"], geometry=False))
    assert not torch.equal(s_local(plain), s_local(data["train"])) and not plain.prototypes.moments.any()


def test_geometry_alone_counts_relations_alone(data):
    alone = geometry_alone(data["train"])
    told = alone.phrases.direction.any(dim=-1)
    assert not alone.phrases.weight[~told].any() and torch.allclose(alone.phrases.weight.sum(dim=1), torch.ones(1))
    assert bool((alone.phrases.subject[~told] == -1).all() and (alone.phrases.object[~told] == -1).all())
    method = build(0)
    (replacement,) = [found for found in local_replacements({}, 0) if found.name == "geometry alone"]
    replacement.method(method, alone, 0)
    assert not method.correct.read.any() and "correct.read" not in method.trainable()
    # Other prototype features in the same places, with the same matches, change no score of the correction itself.
    side = method.images(alone, torch.arange(3))
    assert not side["read"].any()


@pytest.mark.parametrize("kept", ["in memory", "in a file"])
def test_geometry_alone_is_the_whole_match_of_a_relation_that_is_not_spatial_too(data, kept):
    phrases = replace(data["train"].phrases, direction=ADDED * data["train"].phrases.direction)
    if kept == "in a file":
        parts = {part.name: getattr(phrases, part.name) for part in fields(phrases)}
        phrases = StoredPhrases(**parts, geometry=phrases.direction.norm(dim=-1).half())
    found = geometry_alone(replace(data["train"], phrases=phrases)).phrases.index(torch.arange(len(phrases)))
    share = found.direction.norm(dim=-1)
    told = data["train"].phrases.direction.any(dim=-1)
    torch.testing.assert_close(share, told.float())


def test_no_image_keeps_its_prototypes_in_a_shuffle(data):
    shuffled = shuffled_prototypes(data["train"], 0)
    own, other = data["train"].prototypes.features, shuffled.prototypes.features
    assert not any(torch.equal(*pair) for pair in zip(own, other, strict=True))
    assert torch.equal(own.flatten().sort().values, other.flatten().sort().values)


def test_dictionaries_take_the_place_of_prototypes_and_phrases(data):
    encoded = {"without boxes": {split: (part.prototypes, part.phrases) for split, part in data.items()}}
    names = [replacement.name for replacement in local_replacements(encoded, 0)]
    assert names == [name for name in LOCAL if name not in ("unfitted dictionary", "ground-truth boxes")]
    (taken,) = [found for found in local_replacements(encoded, 0) if found.name == "without boxes"]
    assert taken.data(data["selection"], "train").prototypes is data["train"].prototypes


def test_a_blind_driver_has_the_values_of_true_and_of_wrong_pairs(data):
    method, train = build(0), data["train"]
    values = driver_values(method, train, 0)
    assert len(values) == 2 * len(train.captions) and 0 <= float(values.min()) <= float(values.max()) <= 1
    own = method.consistency(train, train.captions).detach()
    assert torch.allclose(values[: len(own)].sort().values, own.sort().values)
    assert not torch.allclose(values[len(own) :].sort().values, own.sort().values)


def test_a_measured_split_has_one_caption_an_image(data):
    found = measured_captions(data["selection"], 50, 0)
    owners = found.image_of_text[found.captions].tolist()
    assert len(owners) == len(set(owners)) == 50
    assert set(found.captions.tolist()) <= set(data["selection"].captions.tolist())


def test_the_same_recipe_with_nothing_replaced_is_the_method(data):
    twice = outcomes_of(data, [Replacement(SHIPPED, "whole"), Replacement("nothing", "local")], steps=5)
    table = table_of(twice, {"nothing": "local"})
    assert (table.loc[table["replacement"] == "nothing", "cost"].abs() < 1e-12).all()
    assert set(twice["benchmark"]) == {
        "selection/image_to_text",
        "selection/text_to_image",
        "selection/negatives/swap_roles",
        "selection/negatives/replace_relation",
    }


class _Driven(CurriculumMethod):
    """A method whose driver knows which pair is aligned, and a score that follows it: here the driver matters."""

    def __init__(self, seed):
        super().__init__(("correct",), DIMENSION, 30.0, CALIBRATION, CurriculumConfig(), SignalConfig(), 1.0, seed)
        self.drive = oracle

    def _corrected(self, images, texts, matches):
        s_global = images["pooled"] @ texts["pooled"].transpose(1, 2)
        same = images["owner"] == texts["owner"].transpose(1, 2)
        return super()._corrected(images, texts, matches) + 0.3 * self.drive(s_global, s_global, same)


def test_a_world_in_which_the_driver_matters_is_called_so(data):
    replacements = [Replacement(SHIPPED, "whole"), *driver_replacements(SignalConfig())[:2]]
    table = table_of(outcomes_of(data, replacements, _Driven), {"constant": "driver", "shuffled": "driver"})
    found = carriers(table, 0.05).set_index("claim").loc[DRIVER]
    assert found["holds"] and found["share"] > 0.1


def test_a_world_in_which_geometry_matters_and_the_driver_does_not_is_called_so(data):
    wanted = ("constant", "shuffled", "best match only")
    everything = [*driver_replacements(SignalConfig()), *local_replacements({}, 0)]
    replacements = [Replacement(SHIPPED, "whole"), *(found for found in everything if found.name in wanted)]
    table = table_of(outcomes_of(data, replacements), {found.name: found.part for found in replacements[1:]})
    found = carriers(table, 0.05).set_index("claim")
    assert not found.loc[DRIVER, "holds"] and "no measure loses significantly" in found.loc[DRIVER, "reason"]
    geometry = found.loc["the geometry of two prototypes"]
    assert geometry["holds"] and geometry["share"] > 0.5 and "swap_roles" in geometry["reason"]
    roles = table[(table["replacement"] == "best match only") & table["benchmark"].str.endswith("swap_roles")]
    assert roles["gain"].iloc[0] > 0.2 and roles["low"].iloc[0] > 0


@pytest.fixture(scope="module")
def simulation(repository):
    """The benchmark that simulates runs in which the driver carries nothing, or something."""
    return load_script(repository / "benchmarks/false_carriers.py")


@pytest.mark.parametrize(("constant", "shuffled"), [(0.0, 0.0), (3.0, 0.0), (0.0, 3.0)])
def test_a_driver_that_carries_nothing_is_hardly_ever_called_a_carrier(simulation, constant, shuffled):
    world = simulation.World(constant, shuffled, images=100, measures=2)
    # At most 2.5 %, one of two sides: of 25 runs more than 3 would happen in less than 0.4 % of all cases.
    assert not world.carried and simulation.called(world, 25, seed=0) <= 3


def test_a_driver_that_carries_the_gain_is_always_called_so(simulation):
    world = simulation.World(2.0, 2.0, images=100, measures=2)
    assert world.carried and simulation.called(world, 10, seed=0) == 10


def test_random_atoms_are_drawn_by_the_seed_and_leave_the_phrases(data):
    class Store:
        ids, grid = ["a", "b"], (2, 2)

        def __len__(self):
            return 2

        def patches(self, start, stop):
            return torch.randn(2, 4, DIMENSION, generator=torch.Generator().manual_seed(3))[start:stop]

    phrases, fitted = {"train": data["train"].phrases}, VisualDisentangler(DIMENSION, (2, 2), 8, 2, 4, 0.1, 2)
    first, again, other = (encode_unfitted({"train": Store()}, phrases, fitted, seed)["train"] for seed in (0, 0, 1))
    assert first[1] is phrases["train"] and torch.equal(first[0].features, again[0].features)
    assert not torch.equal(first[0].features, other[0].features)


def test_a_labelled_box_is_a_prototype_where_it_lies_and_of_the_patches_that_it_covers():
    fitted = VisualDisentangler((dimension := 8), (4, 4), 6, 2, 3, 0.1, 2).eval()
    torch.nn.init.normal_(fitted.up.weight, generator=torch.Generator().manual_seed(1))

    class Store:
        ids = ("a", "b")
        held = torch.randn(2, 16, dimension, generator=torch.Generator().manual_seed(0))

        def patches(self, start, stop):
            return self.held[start:stop]

    frame = image_table([(name, "train", f"{name}.png", 40, 40) for name in ("b", "other", "a")])
    boxes = [("a", "o0", 0, 0, 20, 10), ("a", "o1", 30, 20, 10, 20), ("b", "o0", 10, 10, 10, 10)]
    columns = ["image_id", "object_id", "x", "y", "width", "height"]
    objects = pd.DataFrame(boxes, columns=columns).assign(name="thing", attributes=[[]] * 3)
    phrases = planted_world(Vocabulary(DIMENSION), 2, 1).phrases
    encoded = encode_true_boxes({"train": Store()}, {"train": phrases}, fitted, frame, objects, "shortest")
    found, kept = encoded["train"]
    assert kept is phrases and found.features.shape == (2, 2, dimension)
    # Two whole patches of sixteen in the upper left corner, two in the lower right, one alone: by hand.
    assert found.moments[0, :, [0, 1, 4]].tolist() == [
        pytest.approx([0.25, 0.125, 2 / 16]),
        pytest.approx([0.875, 0.75, 2 / 16]),
    ]
    assert found.moments[1, 0, :2].tolist() == pytest.approx([0.375, 0.375]) and found.mass[1].tolist() == [1.0, 0.0]
    unit = torch.nn.functional.normalize(Store.held[0], dim=-1)
    pooled = unit[[0, 1]].mean(dim=0)
    moved = fitted.up(torch.nn.functional.gelu(fitted.down(torch.nn.functional.normalize(pooled, dim=-1))))
    expected = torch.nn.functional.normalize(pooled + moved, dim=-1).detach()
    torch.testing.assert_close(found.features[0, 0], expected)
