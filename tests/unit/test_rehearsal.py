"""The rehearsal: its layouts are what the readers of the full-size experiments read, its projection a stated law."""

import sys

import numpy as np
import pandas as pd
import pytest

from vialign.config.experiment import read_config
from vialign.data.checking import check_lines, check_sources


@pytest.fixture(scope="module")
def rehearsal(repository):
    sys.path.insert(0, str(repository / "benchmarks"))
    try:
        import rehearsal

        yield rehearsal
    finally:
        sys.path.remove(str(repository / "benchmarks"))


@pytest.fixture(scope="module")
def laid_out(rehearsal, tmp_path_factory):
    """All data sets at the least that can be read."""
    folder = tmp_path_factory.mktemp("rehearsal")
    rehearsal.write_all(folder / "data", 0.0, 0, None)
    return folder


@pytest.mark.parametrize("name", ["paper", "paper_flickr30k"])
def test_the_check_walks_everything_that_a_paper_experiment_names(rehearsal, laid_out, monkeypatch, name):
    monkeypatch.setenv("VIALIGN_DATA", str(laid_out / "data"))
    config = read_config(*rehearsal.layers(name), rehearsal.overlay(name, 0.0, laid_out, small=True))
    reports = list(check_sources(config))
    lines = "\n".join(line for report in reports for line in check_lines(report))
    assert [report.name for report in reports if report.missing is not None] == [], lines
    assert "no probe" not in lines
    assert "photographs of visual_genome are read elsewhere in this run" in lines
    own = "coco" if name == "paper" else "flickr30k"
    benchmarks = ["winoground", "aro", "sugarcrepe", "vl_checklist", "vqa"]
    labels = "visual_genome for data.disentangle and data.probe"
    assert [report.name for report in reports] == [own, *benchmarks, labels, "ptb"]
    broken = {report.name: len(report.problems) for report in reports if report.problems is not None}
    notes = lines.count("not in the folder")
    assert sum(broken.values()) <= notes + 8, lines  # remarks, no rows


def test_the_overlay_changes_no_size_at_the_whole(rehearsal, tmp_path):
    """At a share of one everything is as large as the experiment says; only the batch of a step is smaller."""
    whole = read_config(*rehearsal.layers("paper"))
    same = read_config(*rehearsal.layers("paper"), rehearsal.overlay("paper", 1.0, tmp_path, small=False))
    for section in ("data", "language", "visual", "text", "signal"):
        assert getattr(same, section) == getattr(whole, section)
    assert same.training == whole.training.model_copy(update={"batch": rehearsal.BATCH})


def test_the_projection_goes_on_with_a_line_and_divides_as_it_says(rehearsal):
    def table(share: float) -> pd.DataFrame:
        rows = {"prepare_data": (1, 10 + 1000 * share), "train_final": (16, 8 + 4000 * share)}
        index = pd.Index(rows, name="rule")
        seconds = [seconds for _, seconds in rows.values()]
        jobs = [jobs for jobs, _ in rows.values()]
        longest = [seconds / jobs for jobs, seconds in rows.values()]
        return pd.DataFrame({"jobs": jobs, "seconds": seconds, "longest": longest, "megabytes": 500.0}, index=index)

    frame, totals = rehearsal.projection({share: table(share) for share in (0.01, 0.02)}, 2, 50.0, 8.0)
    data, train = 1010.0, 8 * 4008.0
    assert np.allclose(frame["hours"] * 3600, [data, train])
    assert totals["processors alone"] * 3600 == pytest.approx((data + train) / 2)
    assert totals["one accelerator"] * 3600 == pytest.approx(data / 2 + train / 50)
    assert totals["eight accelerators"] * 3600 == pytest.approx(data / 2 + train / 8 / 50)


def test_what_scores_all_pairs_grows_with_the_square_where_three_shares_tell_it(rehearsal):
    def table(share: float) -> pd.DataFrame:
        seconds = {"evaluate_method": 5 + 200 * share + 90000 * share**2, "parse_texts": 5 + 200 * share}
        return pd.DataFrame({"seconds": seconds})

    three = rehearsal.projected({share: table(share) for share in (0.005, 0.01, 0.02)}, "seconds")
    assert three.to_dict() == pytest.approx({"evaluate_method": 90205.0, "parse_texts": 205.0})
    two = rehearsal.projected({share: table(share) for share in (0.01, 0.02)}, "seconds")
    assert two["parse_texts"] == pytest.approx(205.0) and two["evaluate_method"] < 10000


def test_times_are_those_of_snakemakes_files(rehearsal, tmp_path):
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    (tmp_path / "train_early_seeds").mkdir()
    (tmp_path / "train_early").mkdir()
    (tmp_path / "probe.tsv").write_text(head + "1.0\t0:00:01\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n")
    for folder, seconds in (("train_early_seeds", 7.5), ("train_early", 2.5)):
        (tmp_path / folder / "x.tsv").write_text(head + f"9\t0:00:09\t{100 * seconds}\t1\t1\t1\t1\t1\t50\t{seconds}\n")
    found = rehearsal.measured(tmp_path)
    assert found.loc["train_early"].to_dict() == {"jobs": 2, "seconds": 10.0, "longest": 7.5, "megabytes": 750.0}
    assert found.loc["probe", "seconds"] == 0.0
