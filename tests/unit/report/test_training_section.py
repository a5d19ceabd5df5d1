"""The section on training: what is said of a learning rate whose best candidate is the last one."""

import pandas as pd
import pytest

from unit.report.fake_results import fake_config, write_fake_results
from unit.report.page import read_page
from vialign.report.evidence import FILE, ROW, read_evidence
from vialign.report.sections.training import best_at_edge, training

RATES = (0.3, 1.0, 3.0)


def searched(scores):
    """SEARCH of methods whose candidates at `RATES` scored so; none for one that diverged."""
    rows = [
        {
            "method": method,
            "learning_rate": rate,
            "seed": 0,
            "steps": 10,
            "recall": score,
            "negatives": None,
            "score": score,
            "chosen": score is not None and score == max(value for value in tried if value is not None),
        }
        for method, tried in scores.items()
        for rate, score in zip(RATES, tried, strict=False)
    ]
    return pd.DataFrame(rows).astype({"recall": float, "score": float})


@pytest.mark.parametrize(
    ("tried", "edge"),
    [
        ((0.5, 0.2, 0.1), True),
        ((0.1, 0.5, 0.2), False),
        ((0.1, 0.2, 0.5), True),
        ((0.1, 0.5, None), False),  # the next one diverged: there is nothing to be had beyond
        ((0.5,), False),  # one rate alone: not searched
    ],
)
def test_a_best_candidate_without_a_neighbour_on_one_side_is_at_the_edge(tried, edge):
    assert best_at_edge(searched({"lora": tried})) == (["lora"] if edge else [])


def test_the_page_names_the_methods_whose_best_rate_may_lie_beyond(tmp_path):
    evidence = read_evidence(write_fake_results(tmp_path), fake_config())
    for tried, said in (((0.1, 0.2, 0.5), True), ((0.1, 0.5, 0.2), False)):
        frame = searched({"lora": tried, "vialign": (0.1, 0.5, 0.2)})
        evidence.frames["search"] = frame.assign(**{FILE: "search/planted.parquet", ROW: range(len(frame))})
        text = read_page("".join(training(evidence, fake_config()).blocks)).text()
        assert ("still stands at the edge of its candidates for lora: a better one" in text) == said
