"""Where to spend: a method's exact scores for some pairs of a gallery, the frozen cosine for the rest.

A pair is worth an exact score where the cheap one leaves its query undecided. Which pairs get one is a rule with a
budget, the share of all pairs; the answers follow from both scores, a pair with an exact one before all others.
"""

from collections.abc import Iterator

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.evaluation.compare import comparison_table
from vialign.evaluation.retrieval import retrieval_outcomes, retrieval_ranks
from vialign.random import generator
from vialign.tables.evaluation import SPENDING

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of all pairs that get an exact score."""
RULES = ("margin", "top", "random")
"""`margin`: the pairs nearest to the best of their query, whoever the query is, so that decided queries cost little;
`top`: as many of the first candidates of every query; `random`: the best candidate and others drawn at random, which
is what a budget is worth without a cheap score."""
EVERYTHING, NOTHING = "all", "none"
_BELOW = 10.0
"""Put between exact and cheap scores, both of which lie in [-1, 1]: a pair without an exact score comes after."""


def undecided_pairs(
    cheap: Float[Tensor, "query candidate"], share: float, rule: str, seed: int
) -> Bool[Tensor, "query candidate"]:
    """The pairs that get an exact score: about `share` of all, at least one a query.

    Raises ValueError for another rule.
    """
    queries, candidates = cheap.shape
    count = max(1, round(share * candidates))
    behind = cheap.amax(dim=1, keepdim=True) - cheap
    if rule == "margin":
        budget = max(queries, round(share * cheap.numel()))
        # The best of each query is at 0, so all queries have at least one.
        limit = behind.flatten().kthvalue(budget).values
        return behind <= limit
    if rule == "top":
        order = cheap
    elif rule == "random":
        drawn = torch.Generator().manual_seed(int(generator(seed, "spending").integers(2**31)))
        order = torch.rand(cheap.shape, generator=drawn).masked_fill(behind == 0, 2.0)
    else:
        raise ValueError(f"no rule {rule!r}; there are {', '.join(RULES)}")
    chosen = torch.zeros_like(cheap, dtype=torch.bool)
    return chosen.scatter(1, order.topk(min(count, candidates), dim=1).indices, True)


def spent_scores(
    exact: Float[Tensor, "query candidate"],
    cheap: Float[Tensor, "query candidate"],
    chosen: Bool[Tensor, "query candidate"],
) -> Float[Tensor, "query candidate"]:
    """What queries are answered from: exact scores of the chosen pairs, and behind them the cheap ones of the rest."""
    return torch.where(chosen, exact, cheap - _BELOW)


def spending_outcomes(
    exact: Float[Tensor, "image caption"],
    cheap: Float[Tensor, "image caption"],
    image_of_caption: Int[Tensor, "caption"],
    image_ids: list[str],
    captions: pd.DataFrame,
    split: str,
    seed: int,
) -> pd.DataFrame:
    """OUTCOMES of R@1 in both directions for every rule and share; the method column names both.

    `all` is the exact score of every pair, `none` the cheap one. The whole matrix is held: 4 bytes a pair, thrice.
    """
    frames = []
    for name, (to_text, to_image) in _spent(exact, cheap, seed):
        of_images, _ = retrieval_ranks([to_text], image_of_caption, len(image_ids))
        _, of_captions = retrieval_ranks([to_image], image_of_caption, len(image_ids))
        found = retrieval_outcomes(of_images, of_captions, image_ids, captions)
        found = found[found["measure"] == "r1"]
        frames.append(found.assign(method=name, seed=seed, benchmark=split + "/" + found["benchmark"].astype(str)))
    return pd.concat(frames, ignore_index=True)


def _spent(
    exact: Float[Tensor, "image caption"], cheap: Float[Tensor, "image caption"], seed: int
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Scores of both directions, as (image, caption), by name: a rule chooses anew for each direction's queries."""
    yield EVERYTHING, (exact, exact)
    yield NOTHING, (cheap, cheap)
    for rule in RULES:
        for share in SHARES:
            to_text = spent_scores(exact, cheap, undecided_pairs(cheap, share, rule, seed))
            to_image = spent_scores(exact.T, cheap.T, undecided_pairs(cheap.T, share, rule, seed)).T
            yield f"{rule} {share:g}", (to_text, to_image)


def spending_table(outcomes: pd.DataFrame, method: str, level: float) -> pd.DataFrame:
    """SPENDING: what every rule and share keeps of the gain, from `spending_outcomes` of all seeds.

    The loss against scoring everything is paired by query and seed, by the two-level model.
    """
    names = [name for name in outcomes["method"].unique() if name not in (EVERYTHING, NOTHING)]
    pairs = [(EVERYTHING, name) for name in [*names, NOTHING]]
    found = comparison_table(outcomes, pairs, level)
    gain = found[found["reference"] == NOTHING].set_index("benchmark")["difference"]
    rows = []
    for row in found[found["reference"] != NOTHING].to_dict("records"):
        rule, _, share = str(row["reference"]).partition(" ")
        whole = float(gain[row["benchmark"]])
        rows.append(
            {
                "method": method,
                "benchmark": row["benchmark"],
                "rule": rule,
                "share": float(share),
                "gain": whole,
                "kept": 1 - row["difference"] / whole if whole > 0 else float("nan"),
                "loss": row["difference"],
                "low": row["low"],
                "high": row["high"],
                "p_holm": row["p_holm"],
                "items": row["items"],
            }
        )
    return SPENDING.check(pd.DataFrame(rows)) if rows else SPENDING.empty()
