"""The speed comparisons compute the same thing by every way, and their table says what was measured."""

from dataclasses import replace

import pytest
import torch

from benchmarks.speed import comparison, features, gallery, page, retrieval, training, transport
from benchmarks.speed.__main__ import COMPARISONS
from benchmarks.speed.comparison import Comparison, Measured, Rival, measure
from vialign.config.data import BackboneConfig

DEMO = BackboneConfig(checkpoint=None)
"""The demo architecture with random weights."""
SMALL = {
    "images": lambda folder: features.images(folder, count=3, batch=2, towers=DEMO),
    "texts": lambda folder: features.texts(folder, count=5, batch=2, towers=DEMO),
    "transport": lambda _: transport.pairs(batch=3, dimension=16),
    "gallery": lambda _: gallery.pairs(images=3, captions=4, dimension=16),
    "training": lambda folder: training.epoch(folder, pairs=4, batch=2, towers=DEMO),
    "retrieval": lambda _: retrieval.recalls(images=12, captions=40),
}


def rows():
    found = Measured("a thing", "another way", 0.25, (2.0, 1.5, 2.5), (3.0, 1.0, 1234.5), 1e-7, 8, 1.0)
    return [found, replace(found, goal=2.0), replace(found, goal=2.6), replace(found, goal=None)]


def test_every_comparison_is_tried_here():
    assert SMALL.keys() == COMPARISONS.keys()


@pytest.mark.parametrize("name", SMALL)
def test_both_ways_give_the_same(name, tmp_path):
    found = SMALL[name](tmp_path)
    assert found.rivals
    found.ours()
    for label, rival in found.rivals.items():
        if "worker process" not in label:
            rival.work()
            assert rival.difference() <= rival.allowed


def test_a_rival_that_computes_something_else_is_not_timed():
    rival = Rival(lambda: None, lambda: 0.5, allowed=0.1)
    with pytest.raises(ValueError, match="other differs by 5.0e-01"):
        measure(Comparison("thing", lambda: None, {"other": rival}, rounds=1))


def test_ratios_are_theirs_over_ours(monkeypatch):
    """By a clock that every call moves: ours by one second, the other by three."""
    now = [0.0]

    def work(seconds):
        def call():
            now[0] += seconds

        return call

    monkeypatch.setattr(comparison, "spent", lambda: now[0])
    rival = Rival(work(3), lambda: 0.0, allowed=0.0, goal=2.5)
    (row,) = measure(Comparison("thing", work(1), {"other": rival}, rounds=3))
    assert (row.what, row.rival, row.ours, row.ratio, row.goal) == ("thing", "other", 1.0, (3.0, 3.0, 3.0), 2.5)


def test_the_table_holds_what_was_measured_and_judges_by_the_whole_interval():
    lines = page.table(rows()).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == [
        *("a thing", "another way", "0.25", "2 [1.5, 2.5]", "3 [1, 1,234]", "1: reached", "1e-07", "8"),
    ]
    assert [row[5] for row in cells] == ["1: reached", "2: undecided", "2.6: missed", ""]


def test_the_page_scales_a_small_gallery_and_names_no_machine(monkeypatch):
    small = gallery.Whole(500, 2501, 1, cpu=1.5, wall=2.0, peak=1e9, operations=4e4, peak_rate=1e11)
    assert small.share == pytest.approx(500 * 2501 * 4e4 / 1.5 / 1e11)
    text = page.page(rows(), small, (0.5, 9.0), "python -m benchmarks.speed --rounds 8")
    assert "| 75 s |" in text and "is **missed**" in text and "by the number of pairs" in text
    assert "**kept** at this size" in text and "load 0.5 at the beginning, 9.0 at the end" in text
    whole = replace(small, images=gallery.IMAGES, captions=gallery.CAPTIONS, cpu=100.0)
    assert "is **reached**; that of 2 GB is **kept**" in page.gallery_words(whole)
    assert "written by `python -m benchmarks.speed --rounds 8`" in text
    assert page.platform.node() not in text


def test_a_whole_gallery_is_measured_by_the_way_of_an_evaluation(monkeypatch):
    monkeypatch.setattr(gallery, "product_rate", lambda: 1e11)
    found = gallery.whole(6, 20)
    assert (found.images, found.captions, found.threads) == (6, 20, torch.get_num_threads())
    assert found.cpu > 0 and found.peak > 1e7
    # Cosines of 8 prototypes and 5 units in 512 dimensions, two operations a multiply-add, and what is made of them.
    assert 8 * 5 * 512 * 2 < found.operations < 1.5 * 8 * 5 * 512 * 2
