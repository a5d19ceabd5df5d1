import math

import pytest

from planted import CALIBRATION, Vocabulary, planted_world
from vialign.catalogue import MODULES
from vialign.config.methods import CurriculumConfig, SearchConfig, TrainingConfig
from vialign.config.signal import SignalConfig
from vialign.errors import UserError
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.tables.training import SEARCH
from vialign.training.loop import train
from vialign.training.monitor import check, selection_score
from vialign.training.search import search_rates

RECIPE = TrainingConfig(
    batch=16, steps=30, early_steps=10, checks=3, search=SearchConfig(factors=(1.0, 1e-6, 3.0), widen=0)
)


@pytest.fixture(scope="module")
def worlds():
    vocabulary = Vocabulary(16)
    return planted_world(vocabulary, 60, 1), planted_world(vocabulary, 30, 2)


def build():
    return CurriculumMethod(MODULES, 16, 20.0, CALIBRATION, CurriculumConfig(), SignalConfig(), 1.0, 0)


def test_every_candidate_is_trained_alike_and_the_best_on_selection_is_chosen(worlds):
    table = SEARCH.check(search_rates(build, *worlds, RECIPE, base_rate=1e-2, seed=7))
    assert table["learning_rate"].tolist() == pytest.approx([1e-8, 1e-2, 3e-2])
    assert (table["steps"] == 10).all() and (table["seed"] == 7).all() and (table["method"] == "vialign").all()
    for row in table.to_dict("records"):
        method = build()
        train(method, *worlds, RECIPE, peak_rate=row["learning_rate"], seed=7, to_step=10)
        assert selection_score(check(method, worlds[1], 10)[0]) == row["score"]
    assert table["chosen"].sum() == 1
    best = table["score"].idxmax()
    assert table["chosen"][best] and best > 0
    assert table["score"][best] > table["score"][0], "a rate of almost nothing must not win"


def test_of_equal_candidates_the_smallest_rate_is_chosen(worlds):
    recipe = RECIPE.model_copy(update={"search": SearchConfig(factors=(2e-9, 1e-9), widen=0)})
    table = search_rates(build, *worlds, recipe, base_rate=1e-2, seed=7)
    assert table["score"].nunique() == 1 and table["chosen"].tolist() == [True, False]


def test_a_candidate_that_diverges_is_out_and_a_search_where_all_do_says_so(worlds):
    recipe = RECIPE.model_copy(update={"search": SearchConfig(factors=(1.0, 1e12), widen=0)})
    table = SEARCH.check(search_rates(build, *worlds, recipe, base_rate=1e-2, seed=7))
    assert table["chosen"].tolist() == [True, False]
    assert table["score"].isna().tolist() == [False, True]
    with pytest.raises(UserError, match="diverges at every candidate from 1e\\+20 up; set a smaller rate"):
        search_rates(build, *worlds, recipe, base_rate=1e20, seed=7)


def test_the_grid_is_widened_until_its_best_has_neighbours_or_the_limit_is_reached(worlds, monkeypatch):
    from vialign.training import search

    def scored(method, train_data, selection_data, config, rate, seed):
        score = None if rate > 30 else -abs(math.log(rate) - math.log(peak))
        return {
            **dict.fromkeys(("recall", "negatives")),
            "method": "m",
            "learning_rate": rate,
            "seed": seed,
            "steps": 1,
            "score": score,
        }

    monkeypatch.setattr(search, "_candidate", scored)
    found = {}
    for peak in (9.0, 0.1, 1.1, 1e3):
        recipe = RECIPE.model_copy(update={"search": SearchConfig(factors=(0.3, 1.0, 3.0), widen=2)})
        table = search_rates(build, *worlds, recipe, base_rate=1.0, seed=7)
        found[peak] = (table["learning_rate"].tolist(), float(table.loc[table["chosen"], "learning_rate"].iloc[0]))
    assert found[9.0] == (pytest.approx([0.3, 1, 3, 9, 27]), pytest.approx(9))
    assert found[0.1] == (pytest.approx([0.027, 0.09, 0.3, 1, 3]), pytest.approx(0.09))
    assert found[1.1] == (pytest.approx([0.3, 1, 3]), 1)
    # The limit ends the search; what diverges ends it too, since the best then has a neighbour.
    assert found[1e3] == (pytest.approx([0.3, 1, 3, 9, 27]), pytest.approx(27))


def test_a_search_needs_a_candidate():
    from vialign.config.experiment import load_config

    with pytest.raises(UserError, match="training.search.factors"):
        load_config({"training": {"search": {"factors": []}}})
