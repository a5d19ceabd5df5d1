"""Sizes by rule: against counts by hand, at their ends, and that a number in the config is left alone."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vialign.config.disentangle import TextConfig, VisualConfig, fixed
from vialign.disentangle.boxes import BoxTargets
from vialign.disentangle.sizing import largest_visual, sized_text, sized_visual
from vialign.disentangle.visual import VisualDisentangler

AUTO = VisualConfig(atoms="auto", prototypes="auto", steps="auto")


def targets(labels: list[list[int]]) -> BoxTargets:
    """Images with these labels, each covering one patch."""
    width = max((len(own) for own in labels), default=0)
    label = torch.full((len(labels), width), -1)
    for row, own in enumerate(labels):
        label[row, : len(own)] = torch.tensor(own, dtype=torch.long)
    names = [str(number) for number in range(int(label.max()) + 1 if width else 0)]
    return BoxTargets((label >= 0).float()[..., None].expand(-1, -1, 4).contiguous(), label, names)


def test_numbers_in_the_config_stay_whatever_the_data_are():
    config = VisualConfig()
    assert sized_visual(config, targets([[0, 1]] * 3000), 49) == config
    assert sized_text(TextConfig(), 100_000) == TextConfig()


@pytest.mark.parametrize("seed", range(5))
def test_auto_follows_labels_and_images(seed):
    """Counted again in plain Python."""
    rng = np.random.default_rng(seed)
    labels = [sorted(set((rng.pareto(0.6, rng.integers(1, 15)) * 4).astype(int) % 400)) for _ in range(900)]
    labels += [[] for _ in range(100)]
    found = sized_visual(AUTO, targets(labels), 49)
    images_of = {label: sum(label in own for own in labels) for label in range(400)}
    frequent = sum(count >= 20 for count in images_of.values())
    assert 40 < frequent < 512  # nothing is cut off here
    assert found.atoms == frequent
    counts = sorted(len(own) for own in labels if own)
    most = next(k for k in range(100) if sum(count <= k for count in counts) >= 0.9 * len(counts))
    assert found.prototypes == min(max(most, 8), 12)
    assert found.steps == math.ceil(25 * 1000 / 128)


def test_few_labels_and_no_boxes_give_the_fewest():
    config = VisualConfig()
    few = sized_visual(AUTO, targets([[0]] * 50), 49)
    none = sized_visual(AUTO, targets([[]] * 50), 49)
    assert (few.atoms, few.prototypes) == (none.atoms, none.prototypes) == (config.atoms, config.prototypes)
    assert none.steps == 25  # fewer images than a batch: a step is a pass


def test_many_labels_give_the_most_and_a_small_grid_fewer_prototypes():
    many = targets([list(range(600))] * 25)
    assert sized_visual(AUTO, many, 256).atoms == 512
    assert [sized_visual(AUTO, many, patches).prototypes for patches in (256, 49, 36, 16)] == [16, 12, 9, 8]


def test_the_default_is_what_the_rule_gives_the_default_data():
    """2,000 images of Scenes with five captions each: near enough, so that `auto` there is no other experiment."""
    assert sized_visual(AUTO, targets([[0, 1]] * 2000), 49).steps == pytest.approx(
        fixed(VisualConfig().steps), rel=0.05
    )
    auto = sized_text(TextConfig(steps="auto"), 10_000)
    assert fixed(auto.steps) == pytest.approx(fixed(TextConfig().steps), rel=0.05)


def test_one_size_that_is_given_bounds_the_other():
    assert sized_visual(AUTO.model_copy(update={"atoms": 5}), targets([[0]] * 50), 49).prototypes == 5
    assert sized_visual(AUTO.model_copy(update={"prototypes": 60}), targets([[0]] * 50), 49).atoms == 60


def test_no_data_ask_for_more_than_the_largest():
    largest = VisualDisentangler.from_config(largest_visual(AUTO), 16, (7, 7))
    many = sized_visual(AUTO, targets([list(range(600))] * 25), 49)
    numbers = [
        sum(p.numel() for p in module.parameters())
        for module in (VisualDisentangler.from_config(many, 16, (7, 7)), largest)
    ]
    assert numbers[0] == numbers[1]
    assert largest_visual(VisualConfig()) == VisualConfig()


def test_auto_is_the_only_word():
    with pytest.raises(ValidationError):
        VisualConfig(atoms="many")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="must not exceed"):
        VisualConfig(atoms=4, prototypes=5)
    with pytest.raises(ValueError, match="auto is no size yet"):
        VisualDisentangler.from_config(AUTO, 16, (7, 7))
