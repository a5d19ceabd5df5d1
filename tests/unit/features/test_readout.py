import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw

from vialign.backbone import Backbone, Tokens
from vialign.backbone.image_towers import TowerOutput
from vialign.config.data import FeaturesConfig
from vialign.data.base import image_table
from vialign.errors import UserError
from vialign.evaluation.statistics import wilson_interval
from vialign.features import choose_readout, measure_readouts
from vialign.features.readout import centres_inside, cluster_interval, pointing_hits, pointing_targets
from vialign.tables.data import OBJECTS
from vialign.tables.language import QUALITY

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
OBJECT_COLUMNS = list(OBJECTS.columns)


READOUTS = ("final", "value", "early")


class ColourBackbone(Backbone):
    """Patches are mean colours and texts are colours: `value` points perfectly, `early` is blind in one of the two
    rows that hold objects, `final` is upside down."""

    readouts = READOUTS
    grid = (4, 4)
    image_size = 32
    resize_mode = "shortest"
    device = torch.device("cpu")
    contract = {"architecture": "colours"}

    def preprocess(self, image):
        return torch.from_numpy(np.array(image.resize((32, 32), Image.Resampling.NEAREST))).permute(2, 0, 1)

    def normalise(self, pixels):
        return pixels.float() / 255

    def image_outputs(self, pixels, readouts):
        cells = torch.nn.functional.avg_pool2d(pixels, 8).flatten(2).transpose(1, 2) + 1e-3
        blind = torch.cat([cells[:, :4], cells[:, 8:12], cells[:, 8:]], dim=1)
        patches = {"final": cells.flip(1), "value": cells, "early": blind, "crops": cells}
        return TowerOutput(cells.mean(dim=1), {name: patches[name] for name in readouts}, None)

    def tokenize(self, texts):
        ids = torch.tensor([[list(COLOURS).index(text.split()[1])] for text in texts])
        return Tokens(
            ids,
            torch.ones(ids.shape, dtype=torch.bool),
            torch.zeros(*ids.shape, 2, dtype=torch.long),
            torch.zeros(len(ids), dtype=torch.bool),
        )

    def encode_text(self, ids):
        return torch.eye(3)[ids[:, 0]]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Thirty images, each with three small coloured squares in the upper rows."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    images, objects = [], []
    for number in range(30):
        picture = Image.new("RGB", (64, 64))
        for index, (column, colour) in enumerate(
            zip(rng.permutation(4)[:3], rng.permutation(list(COLOURS)), strict=True)
        ):
            x, y = 16 * int(column), 16 * int(rng.integers(0, 2))
            ImageDraw.Draw(picture).rectangle((x, y, x + 15, y + 15), fill=COLOURS[colour])
            objects.append((f"{number}/{index}", f"i{number}", "square", x, y, 16, 16, [str(colour)]))
        picture.save(folder / f"{number}.png")
        images.append((f"i{number}", "selection", f"{number}.png", 64, 64))
    return image_table(images), pd.DataFrame(objects, columns=OBJECT_COLUMNS), {"data": folder}


def test_the_local_readout_wins_and_chance_is_the_share_of_patches(world):
    images, objects, folders = world
    quality = measure_readouts(
        ColourBackbone(), images, objects, folders, READOUTS, limit=30, batch=7, domain="planted", seed=0
    )
    QUALITY.check(quality)
    value = quality.set_index("subject")["value"]
    assert value["readout value"] == 1
    assert value["readout final"] == 0
    in_first_row = (objects["y"] == 0).mean()
    assert 0.3 < in_first_row < 0.7
    assert value["readout early"] == pytest.approx(in_first_row)
    assert value["readout chance"] == pytest.approx(1 / 16)
    assert set(quality["count"]) == {90}
    early = quality.set_index("subject").loc["readout early"]
    assert early["low"] < early["value"] < early["high"]


def test_auto_takes_the_best_and_a_named_readout_is_kept(world):
    images, objects, folders = world
    arguments = (ColourBackbone(), images, objects, folders)
    config = FeaturesConfig(readout_images=10, batch=4)
    chosen = choose_readout(config, *arguments, domain="planted", seed=0)
    assert chosen.readout == "value"
    assert set(chosen.quality["count"]) == {30}
    assert "best pointing accuracy of 3 readouts on planted" in chosen.reason
    named = choose_readout(config.model_copy(update={"readout": "early"}), *arguments, domain="planted", seed=0)
    assert (named.readout, named.reason) == ("early", "chosen in the config")
    with pytest.raises(UserError, match="colours offers final, value, early, crops, not 'self_self'"):
        choose_readout(config.model_copy(update={"readout": "self_self"}), *arguments, domain="planted", seed=0)


def test_crops_are_measured_beside_the_others_where_they_are_asked_for_and_never_taken_by_themselves(world):
    images, objects, folders = world
    arguments = (ColourBackbone(), images, objects, folders)
    for wanted, measured in (("crops", (*READOUTS, "crops")), ("auto", READOUTS), ("final", READOUTS)):
        chosen = choose_readout(FeaturesConfig(readout=wanted), *arguments, domain="planted", seed=0)
        assert chosen.readout == ("value" if wanted == "auto" else wanted)
        assert chosen.quality["subject"].tolist() == [f"readout {name}" for name in (*measured, "chance")]


def test_without_boxes_the_choice_is_final_and_says_why(world):
    images, objects, folders = world
    foreign = objects.assign(image_id="elsewhere")
    for boxes in (objects.iloc[:0], foreign):
        chosen = choose_readout(FeaturesConfig(), ColourBackbone(), images, boxes, folders, domain="photos", seed=0)
        assert chosen.readout == "final"
        assert chosen.reason == "no object boxes in photos to measure others on"
        assert len(QUALITY.check(chosen.quality)) == 0


def test_the_measure_depends_on_the_seed_only(world):
    images, objects, folders = world
    options = {"limit": 12, "batch": 5, "domain": "planted"}
    given = (ColourBackbone(), images, objects, folders, READOUTS)
    frames = [measure_readouts(*given, **options, seed=seed) for seed in (1, 1, 2)]
    pd.testing.assert_frame_equal(frames[0], frames[1])
    assert not frames[0].equals(frames[2])


def test_hits_on_noise_are_chance_and_on_planted_patches_certain():
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(200, 16, 8, generator=generator)
    phrases = torch.nn.functional.normalize(torch.randn(400, 8, generator=generator), dim=-1)
    image_of_target = torch.arange(400) % 200
    inside = torch.zeros(400, 16, dtype=torch.bool)
    inside[:, 5:9] = True
    noise = pointing_hits(patches, phrases, image_of_target, inside).float().mean()
    assert abs(noise - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5
    planted = patches[:, :].clone()
    planted[:, 6] = 0.1 * phrases[:200]
    assert pointing_hits(planted, phrases[:200], torch.arange(200), inside[:200]).all()
    planted[:, 2], planted[:, 6] = planted[:, 6].clone(), patches[:, 6]
    assert not pointing_hits(planted, phrases[:200], torch.arange(200), inside[:200]).any()


def test_things_with_the_same_words_are_one_target_and_what_no_patch_sees_is_none():
    images = pd.DataFrame({"image_id": ["a"], "width": [80], "height": [80]})
    rows = [
        ("a/0", "a", "dog", 0, 0, 20, 20, ["old"]),
        ("a/1", "a", "dog", 60, 60, 20, 20, ["old"]),
        ("a/2", "a", "cat", 11, 0, 8, 8, []),
    ]
    targets = pointing_targets(images, pd.DataFrame(rows, columns=OBJECT_COLUMNS), (4, 4), "shortest")
    assert targets["phrase"].tolist() == ["an old dog"]
    assert np.flatnonzero(targets["inside"][0]).tolist() == [0, 15]


def test_centres_are_row_major():
    boxes = np.array([[0, 0, 0.5, 0.25], [0.25, 0.5, 0.5, 1.0]])
    assert [np.flatnonzero(row).tolist() for row in centres_inside(boxes, (4, 4))] == [[0, 1], [9, 13]]


def test_the_interval_is_that_of_drawing_whole_images():
    values = np.array([1.0, 0, 1, 1, 0])
    cluster = np.array([0, 0, 1, 2, 2])
    draws = np.random.default_rng(0).integers(0, 3, (200, 3))
    means = [np.concatenate([values[cluster == image] for image in draw]).mean() for draw in draws]
    expected = (values.mean(), *np.percentile(means, [2.5, 97.5]))
    np.testing.assert_allclose(cluster_interval(values, cluster, draws), expected)


@pytest.mark.parametrize("hit", [0.0, 1.0])
def test_where_all_phrases_agree_the_interval_is_wilsons_over_images(hit):
    draws = np.random.default_rng(0).integers(0, 30, (200, 30))
    found = cluster_interval(np.full(60, hit), np.repeat(np.arange(30), 2), draws)
    assert found == pytest.approx((hit, *wilson_interval(hit * 30, 30, 0.05)))
    assert found[2] - found[1] > 0.05
