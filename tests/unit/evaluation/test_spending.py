"""Exact scores for some pairs: which pairs, what the answers are then, and what is kept of a gain."""

import pandas as pd
import pytest
import torch

from vialign.evaluation.spending import (
    EVERYTHING,
    NOTHING,
    RULES,
    SHARES,
    spending_outcomes,
    spending_table,
    spent_scores,
    undecided_pairs,
)


@pytest.fixture
def cheap():
    return torch.rand(6, 50, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("share", [0.005, 0.1, 0.5])
def test_every_query_has_its_best_candidate_and_the_budget_is_kept(cheap, rule, share):
    chosen = undecided_pairs(cheap, share, rule, 0)
    best = torch.zeros_like(chosen).scatter(1, cheap.argmax(dim=1, keepdim=True), True)
    assert bool(chosen[best].all())
    assert int(chosen.sum()) == max(len(cheap), round(share * cheap.numel()))
    assert torch.equal(chosen, undecided_pairs(cheap, share, rule, 0))


def test_the_margin_spends_on_queries_that_are_undecided():
    decided, open_ = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0.5, 0.49, 0.48, 0.47])
    chosen = undecided_pairs(torch.stack([decided, open_]), 5 / 8, "margin", 0)
    assert chosen.sum(dim=1).tolist() == [1, 4]
    assert undecided_pairs(torch.stack([decided, open_]), 0.5, "top", 0).sum(dim=1).tolist() == [2, 2]
    with pytest.raises(ValueError, match="no rule 'best'; there are margin, top, random"):
        undecided_pairs(torch.rand(2, 3), 0.5, "best", 0)


def test_answers_come_from_exact_scores_first(cheap):
    exact = cheap.flip(1)
    chosen = undecided_pairs(cheap, 0.1, "top", 0)
    spent = spent_scores(exact, cheap, chosen)
    for query in range(len(cheap)):
        own = chosen[query].nonzero()[:, 0]
        assert int(spent[query].argmax()) == int(own[exact[query, own].argmax()])
        assert float(spent[query][chosen[query]].min()) > float(spent[query][~chosen[query]].max())


def world(seeds=(0, 1), images=60):
    """The cheap score has the right answer among its first three, the exact one always first."""
    frames, owners = [], torch.arange(images)
    captions = pd.DataFrame({"text_id": [f"t{k}" for k in range(images)], "image_id": [f"i{k}" for k in range(images)]})
    for seed in seeds:
        draw = torch.Generator().manual_seed(seed)
        cheap = 0.3 * torch.rand(images, images, generator=draw)
        cheap[owners, owners] = 0.9
        # Every other image is mistaken for its neighbour by both.
        for k in range(0, images, 2):
            cheap[k, (k + 1) % images] = cheap[(k + 1) % images, k] = 0.95
        exact = torch.eye(images) * 0.5 + 0.1 * torch.rand(images, images, generator=draw)
        frames.append(spending_outcomes(exact, cheap, owners, list(captions["image_id"]), captions, "s", seed))
    return pd.concat(frames)


def test_a_gain_that_lies_among_the_first_candidates_is_kept_at_a_small_share_and_not_by_chance():
    outcomes = world()
    assert set(outcomes["method"]) == {
        EVERYTHING,
        NOTHING,
        *(f"{rule} {share:g}" for rule in RULES for share in SHARES),
    }
    table = spending_table(outcomes, "m", 0.05).set_index(["benchmark", "rule", "share"])
    for direction in ("s/image_to_text", "s/text_to_image"):
        assert table.loc[(direction, "margin", 0.05), "kept"] == 1 and table.loc[(direction, "top", 0.05), "kept"] == 1
        assert table.loc[(direction, "margin", 0.005), "kept"] == 0
        assert table.loc[(direction, "random", 0.05), "kept"] < 0.3
        assert table.loc[(direction, "random", 0.05), "low"] > 0 and table.loc[(direction, "margin", 0.05), "loss"] == 0


def test_without_a_gain_nothing_can_be_kept():
    outcomes = world()
    same = outcomes[outcomes["method"] == NOTHING]
    flat = pd.concat([same.assign(method=name) for name in outcomes["method"].unique()])
    assert spending_table(flat, "m", 0.05)["kept"].isna().all()
