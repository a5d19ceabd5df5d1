"""The published frontier, where it lies beside the real data: read whole, and of use for every tag of open_clip."""

import pytest

from vialign.evaluation.frontier import read_frontier, tuning_costs
from vialign.evaluation.published_values import read_values, shipped_values
from vialign.evaluation.reproduction import has_known_values

pytestmark = pytest.mark.real

AGREE = 0.15
"""Points by which two sources of the same values differ at most: one rounds, the other counts."""


@pytest.fixture(scope="module")
def path(real_folder):
    found = real_folder.parent / "reference" / "frontier.csv"
    if not found.is_file():
        pytest.skip(f"no frontier.csv in {found.parent}")
    return found


def test_202_checkpoints_and_what_eight_that_were_tuned_gained_and_lost(path):
    frontier = read_frontier(path)
    assert len(frontier.table) == frontier.table["model"].nunique() == 202
    costs = tuning_costs(frontier, "ViT-B-32, openai")
    assert len(costs) == 8 and (costs["comp_avg"] > 0).all() and (costs["t2i_avg"] > 0).all()
    assert (costs["i2t_avg"] < 0).sum() == 5


def test_every_tag_of_open_clip_in_it_has_values_to_be_held_against(path):
    import open_clip

    import vialign.backbone  # noqa: F401  # torchvision's place is taken before open_clip asks for it

    tags = set(open_clip.list_pretrained())
    values = read_values(path)
    names = read_frontier(path).table
    own = names[names["family"] == "OpenCLIP"]["model"].str.split(", ", expand=True)
    assert len(own) == 85 and set(own.itertuples(index=False, name=None)) <= tags
    for architecture, checkpoint in own.itertuples(index=False):
        assert has_known_values(architecture, checkpoint, (), [str(path)])
        rows = values[values["checkpoint"] == checkpoint]
        assert (
            rows["architecture"].str.removesuffix("-quickgelu") == architecture.removesuffix("-quickgelu")
        ).sum() >= 5


def test_it_agrees_with_the_values_that_ship_with_the_package(path):
    keys = ["architecture", "checkpoint", "benchmark", "metric"]
    both = shipped_values().merge(read_values(path), on=keys, suffixes=("", "_file"))
    assert len(both) >= 10
    assert (both["percent"] - both["percent_file"]).abs().max() <= AGREE
