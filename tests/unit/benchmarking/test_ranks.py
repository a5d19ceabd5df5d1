"""The median rank and mAP@R of `vialign evaluate`, against a loop over the queries."""

import json

import numpy as np
import pytest

import vialign
from evaluating import benchmark, done_again, evaluate, picture_of
from vialign.files.artifacts import read_table
from vialign.tables.evaluation import RANKS


def test_retrieval_is_told_by_rank_too(place, tmp_path):
    """A call that lacks the ranks of an earlier one measures again."""
    call = ("--model", place[0] / "tuned", "--out", tmp_path)
    result = evaluate(place, *call, "--json", names=("captioned", "winoground"))
    assert result.exit_code == 0, result.output
    found = read_table(tmp_path / "ranks.parquet", RANKS).set_index("benchmark")
    asked = benchmark(place, "captioned")
    tables = asked.read()
    pictures, captions = [picture_of(asked, row) for row in tables.images.to_dict("records")], tables.captions
    scores = vialign.load(place[0] / "tuned").score(pictures, captions["text"].tolist()).numpy()
    mine = tables.images["image_id"].to_numpy()[:, None] == captions["image_id"].to_numpy()[None, :]
    wanted = {}
    for direction, rows, right in (("image_to_text", scores, mine), ("text_to_image", scores.T, mine.T)):
        first, precision = [], []
        for own, true in zip(rows, right, strict=True):
            # Right ones by their score, each behind every wrong one that is as good.
            places = [n + (own[~true] >= one).sum() for n, one in enumerate(sorted(own[true], reverse=True), 1)]
            first.append(places[0])
            precision.append(sum(n / at for n, at in enumerate(places, 1) if at <= len(places)) / len(places))
        wanted[f"captioned/{direction}"] = (np.median(first), np.mean(precision), len(rows), rows.shape[1])
    told = found[["median_rank", "map_at_r", "queries", "gallery"]]
    assert {name: tuple(row) for name, row in told.iterrows()} == {
        name: pytest.approx(values) for name, values in wanted.items()
    }
    assert [row["map_at_r"] for row in json.loads(result.stdout)["ranks"]] == pytest.approx(found["map_at_r"].tolist())
    assert "Median rank and mAP@R" in (tmp_path / "index.html").read_text()
    assert done_again(evaluate(place, *call, names=("captioned", "winoground"))) == 2
    (tmp_path / "ranks/tuned/captioned.parquet").unlink()
    assert done_again(evaluate(place, *call, names=("captioned", "winoground"))) == 1
    assert done_again(evaluate(place, *call, names=("winoground",))) == 1
    assert read_table(tmp_path / "ranks.parquet", RANKS).empty
    assert "Median rank and mAP@R" not in (tmp_path / "index.html").read_text()
