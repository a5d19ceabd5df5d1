"""Two runs side by side: what differs is shown, and a difference is paired only where the items are the same."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from unit.report.fake_results import PROVENANCE, fake_config, write_fake_results
from unit.report.page import Element, read_page
from vialign.cli.app import app
from vialign.config.experiment import read_config
from vialign.errors import UserError
from vialign.files.artifacts import write_table, write_text
from vialign.report.runs import different, paired_differences, read_run, unpaired_difference
from vialign.report.sections.provenance import config_text
from vialign.tables.data import CAPTIONS
from vialign.tables.evaluation import OUTCOMES, RESULTS
from vialign.tables.signal import DIAGNOSIS

ITEMS = 60


def outcomes(folder: Path, solved: dict[str, float], items: int = ITEMS, seed: int = 0) -> None:
    """Two methods on one benchmark; the first `solved` share of a method's items is right."""
    for method, share in solved.items():
        frame = pd.DataFrame(
            {"item_id": [f"q{n}" for n in range(items)], "image_id": [f"i{n // 2}" for n in range(items)]}
        )
        frame["value"] = (np.arange(items) < share * items).astype(float)
        frame = frame.assign(method=method, seed=seed, benchmark="test/text_to_image", measure="r1", tie=False)
        frame = frame.reindex(columns=list(OUTCOMES.columns))
        write_table(frame, OUTCOMES, folder / f"evaluate/{method}/{seed}/outcomes.parquet", PROVENANCE)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of the same data; the second solves more with one method, under another setting and code."""
    first = write_fake_results(tmp_path_factory.mktemp("first"))
    second = tmp_path_factory.mktemp("second") / "run"
    shutil.copytree(first, second)
    outcomes(first, {"lora": 0.5, "vialign": 0.5})
    outcomes(second, {"lora": 0.5, "vialign": 0.7})
    write_text(config_text(fake_config()), first / "report/config.yaml")
    write_text(config_text(fake_config(signal={"pairs": 77})), second / "report/config.yaml")
    for name, path in (("results", "compare/results.parquet"), ("diagnosis", "signal/diagnosis.parquet")):
        table = {"results": RESULTS, "diagnosis": DIAGNOSIS}[name]
        made = {**PROVENANCE, "rule": name, "code_digest": "0ther" * 8}
        write_table(pd.read_parquet(second / path), table, second / path, made)
    return first, second


def paired(first: Path, second: Path) -> pd.DataFrame:
    return paired_differences(read_run(first), read_run(second), level=0.05)


def test_paired_differences_are_the_mean_over_items_with_a_clustered_interval(runs):
    frame = paired(*runs).set_index("method")
    # Nothing differs, yet one of another thirty images could.
    assert frame.loc["lora", ["difference", "low", "high"]].tolist() == pytest.approx([0, -0.068, 0.068], abs=1e-3)
    row = frame.loc["vialign"]
    assert row["difference"] == pytest.approx(0.2) and row["items"] == ITEMS
    # Independent oracle: resample pairs of items of one image in a loop.
    gained = ((np.arange(ITEMS) < 0.7 * ITEMS) & (np.arange(ITEMS) >= 0.5 * ITEMS)).reshape(-1, 2).mean(axis=1)
    draw = np.random.default_rng(5)
    means = [draw.choice(gained, len(gained)).mean() for _ in range(4000)]
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.03)


def test_other_items_or_other_texts_under_the_same_names_are_not_paired(runs, tmp_path):
    first, second = runs
    fewer = tmp_path / "fewer"
    shutil.copytree(second, fewer)
    outcomes(fewer, {"lora": 0.5, "vialign": 0.7}, items=40)
    assert paired(first, fewer).empty
    texts = tmp_path / "texts"
    shutil.copytree(second, texts)
    captions = pd.read_parquet(texts / "data/captions.parquet")
    captions.loc[captions["image_id"] == "test_0", "text"] = "another drawing under the same name"
    write_table(captions, CAPTIONS, texts / "data/captions.parquet", PROVENANCE)
    assert paired(first, texts).empty and len(paired(first, second)) == 2


def test_unpaired_intervals_hold_the_truth_as_often_as_they_say():
    draw = np.random.default_rng(0)
    one, two = draw.normal(0.4, 0.05, 20_000), draw.normal(0.6, 0.08, 20_000)
    frame = pd.DataFrame({"v_a": one, "low_a": one - 1.96 * 0.05, "high_a": one + 1.96 * 0.05})
    frame = frame.assign(v_b=two, low_b=two - 1.96 * 0.08, high_b=two + 1.96 * 0.08)
    found = unpaired_difference(frame, "v")
    assert ((found["low"] <= 0.2) & (found["high"] >= 0.2)).mean() == pytest.approx(0.95, abs=0.01)
    lopsided = pd.DataFrame(
        {"v_a": [0.5], "low_a": [0.5], "high_a": [0.6], "v_b": [0.7], "low_b": [0.4], "high_b": [0.7]}
    )
    found = unpaired_difference(lopsided, "v").iloc[0]
    # B may be 0.3 lower and A 0.1 higher: both pull the difference down, and nothing pulls it up.
    assert found.tolist() == pytest.approx([0.2, 0.2 - np.hypot(0.3, 0.1), 0.2])


def test_entries_of_one_side_differ_too():
    frame = different({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
    assert frame["name"].tolist() == ["b", "c"] and frame["second"].tolist() == ["3", "4"]
    assert frame["first"].iloc[0] == "2" and pd.isna(frame["first"].iloc[1])


def compare(first: Path, second: Path, out: Path) -> Element:
    result = CliRunner().invoke(app, ["report", "compare", str(first), str(second), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return read_page(out.read_text(encoding="utf-8"))


def test_the_page_shows_what_differs_and_how_each_difference_was_taken(runs, tmp_path):
    page = compare(*runs, tmp_path / "both.html")
    making = page.named("making").text()
    assert "signal.pairs" in making and "77" in making and "signal.driver" not in making
    assert "code of results" in making and "0ther" in making
    table = page.named("comparison").all("table")[0]
    rows = {tuple(cell.text() for cell in line.all("th", "td")[:3]): line for line in table.all("tbody")[0].all("tr")}
    row = [cell.text() for cell in rows["vialign", "test/text_to_image", "r1"].all("td")]
    assert "paired" in row and any(text.startswith("+20.0 [") for text in row)
    other = [cell.text() for cell in rows["vialign", "test/image_to_text", "r1"].all("td")]
    assert "unpaired" in other and any(text.startswith("+0.0 [") for text in other)
    assert {"gates", "efficiency", "signal"} <= {section.attributes["id"] for section in page.all("section")}
    assert len(page.all("svg")) == 4 and not [p for p in page.all("p") if p.attributes.get("class") == "absent"]
    for link in page.all("a"):
        assert link.attributes["href"].startswith(("#", "data:"))


def test_a_run_that_stores_no_configuration_says_so(runs, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(runs[0], bare)
    (bare / "report/config.yaml").unlink()
    making = compare(bare, runs[1], tmp_path / "both.html").named("making").text()
    assert "A does not store its configuration" in making and "signal.pairs" not in making


def test_a_stopped_run_beside_a_whole_one_says_what_is_missing(runs, tmp_path):
    stopped = write_fake_results(tmp_path / "stopped", stop="signal")
    page = compare(stopped, runs[1], tmp_path / "both.html")
    assert "the table of results is missing in one of the runs" in page.named("comparison").text()
    assert page.named("signal").all("svg")


def test_folders_without_a_run_are_the_users_errors(runs, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no table of a run"):
        read_run(tmp_path)
    result = CliRunner().invoke(app, ["report", "compare", str(runs[0]), str(tmp_path / "nowhere")])
    assert result.exit_code == 1 and len(result.output.strip().splitlines()) == 1


def test_a_table_of_another_version_is_named_in_one_line(runs, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(runs[0], old)
    path = old / "compare" / "results.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(table.column_names[0]), path)
    result = CliRunner().invoke(app, ["report", "compare", str(old), str(runs[1])])
    assert result.exit_code == 1 and len(result.stderr.strip().splitlines()) == 1
    assert f"{path}: " in result.stderr and f"missing columns ['{table.column_names[0]}']" in result.stderr


def test_build_takes_the_stored_configuration_or_asks_for_one(tmp_path):
    folder, out = write_fake_results(tmp_path / "run", stop="signal"), tmp_path / "page.html"
    command = ["report", "build", str(folder), "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1 and "name the run's configuration files" in result.output
    write_text(config_text(fake_config(signal={"pairs": 77})), folder / "report/config.yaml")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "pairs: 77" in out.read_text(encoding="utf-8")


def test_the_stored_configuration_reads_back_as_itself(tmp_path):
    config = fake_config(signal={"pairs": 77}, training={"methods": ["frozen", "lora"]})
    write_text(config_text(config), tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("command", ["build", "compare"])
def test_help_has_an_example(command):
    result = CliRunner().invoke(app, ["report", command, "--help"])
    assert result.exit_code == 0 and "Example:" in result.output
