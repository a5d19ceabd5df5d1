"""A bar counts what it names, whatever goes through a tower together."""

import pytest
import torch

from explained import finished_run
from recorded_bars import recorded_bars
from vialign.aligner.export import aligner_of_run
from vialign.estimators.disentanglers import _BATCH, _prototypes
from vialign.progress import track_blocks, track_starts


@pytest.fixture
def bars(monkeypatch):
    return recorded_bars(monkeypatch)


def pictures():
    return sorted(finished_run()[2].parent.glob("*.png"))


def counted(bars):
    return [(bar.desc, bar.n, bar.total) for bar in bars]


def test_blocks_and_starts_are_counted_by_what_they_hold(bars):
    assert [len(block) for block in track_blocks(torch.arange(7).split(3), "images", 7)] == [3, 3, 1]
    assert list(track_starts(7, 3, "texts")) == [0, 3, 6] and list(track_starts(0, 3, "nothing")) == []
    assert counted(bars) == [("images", 7, 7), ("texts", 7, 7), ("nothing", 0, 0)]


def test_a_bar_stands_at_what_is_done(bars):
    starts = track_starts(7, 3, "texts")
    seen = [(start, bars[0].n) for start in starts]
    assert seen == [(0, 0), (3, 3), (6, 6)]


def test_pictures_that_are_scored_are_counted_one_by_one(bars):
    aligner = aligner_of_run(finished_run()[0].config, "vialign")
    bars.clear()
    aligner.image_data(pictures()[:7], batch=3)
    assert ("vialign: images", 7, 7) in counted(bars)


def test_pictures_of_an_estimator_are_counted_one_by_one(bars):
    some = pictures()[:7] * (_BATCH // 7 + 1)
    _prototypes(finished_run()[1].encoder, some)
    assert len(some) > _BATCH and ("pictures", len(some), len(some)) in counted(bars)
