"""What may tell that a top answer is wrong, as pure functions of the scores of a gallery, one row a query.

Every predictor keeps its natural direction; `DOUBT` says whether more of it means more doubt.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vialign.tables.signal import TRUST_SIMPLE

DOUBT = {
    "similarity": -1,
    "margin": -1,
    "probability": -1,
    "entropy": 1,
    "consistency": -1,
    "agreement": -1,
    "local_entropy": 1,
    "local_rank": 1,
    "local_gap": 1,
    "fused_odds": -1,
    "return_odds": -1,
    "fused_return": -1,
}
"""Sign that turns a predictor into one that is larger the more the answer is in doubt; fixed before any data."""


def top_answers(
    scores: Float[np.ndarray, "query candidate"], right: Bool[np.ndarray, "query candidate"]
) -> tuple[Int[np.ndarray, "query"], Bool[np.ndarray, "query"]]:
    """Position of each query's top answer, and whether it is wrong.

    A tie with a wrong candidate is lost, as in `vialign.evaluation.retrieval`: the wrong one is then the answer. A
    query without a right candidate is always wrong. Raises ValueError for a gallery of fewer than two candidates, whose
    answer cannot be in doubt, and for scores that are not finite.
    """
    if scores.shape[1] < 2:
        raise ValueError(f"a gallery of {scores.shape[1]}: an answer can be wrong only among two or more candidates")
    if not np.isfinite(scores).all():
        raise ValueError("scores of the gallery are not finite")
    rival = np.where(right, -np.inf, scores)
    truth = np.where(right, scores, -np.inf)
    wrong = rival.max(axis=1) >= truth.max(axis=1)
    return np.where(wrong, rival.argmax(axis=1), truth.argmax(axis=1)), wrong


def simple_confidences(
    scores: Float[np.ndarray, "query candidate"],
    logits: Float[np.ndarray, "query candidate"],
    answers: Int[np.ndarray, "query"],
) -> pd.DataFrame:
    """The field's simple confidences, columns `TRUST_SIMPLE`.

    `similarity`: the score of the answer, the largest; `margin`: it less the second; `probability` and `entropy`
    (nats): share of the answer in the softmax of `logits`, and entropy of the shares (Hendrycks and Gimpel 2017,
    arXiv:1610.02136). Logits are the scores times the model's own scale; of a candidate that is several captions, the
    logarithm of the sum of their exponentials.
    """
    second, first = np.partition(scores.astype(np.float64), -2, axis=1)[:, -2:].T
    total = log_total(logits)
    log_share = logits.astype(np.float64) - total[:, None]
    share = np.exp(log_share)
    columns = {
        "similarity": first,
        "margin": first - second,
        "probability": np.take_along_axis(share, answers[:, None], axis=1)[:, 0],
        "entropy": -(share * log_share).sum(axis=1),
    }
    return pd.DataFrame(columns)[list(TRUST_SIMPLE)]


def log_odds(
    logits: Float[np.ndarray, "query"], totals: Float[np.ndarray, "query"], least: float = 1e-12
) -> Float[np.ndarray, "query"]:
    """Log-odds of the candidates with these logits under a softmax whose logarithm of the sum is `totals`.

    Shares nearer to 0 or 1 than `least` count as that near, so the result is finite.
    """
    share = np.exp(np.minimum(logits.astype(np.float64) - totals, 0)).clip(least, 1 - least)
    return np.log(share) - np.log1p(-share)


def log_total(logits: Float[np.ndarray, "query candidate"]) -> Float[np.ndarray, "query"]:
    """Logarithm of the sum of the exponentials of each row."""
    largest = logits.max(axis=1).astype(np.float64)
    return largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))


def local_ranking(local: Float[np.ndarray, "query candidate"], answers: Int[np.ndarray, "query"]) -> pd.DataFrame:
    """How the local look ranks the answers, columns `local_rank` and `local_gap`.

    `local_rank`: candidates that S_local puts before the answer, ties as half, so 0 where it agrees with the global
    look; `local_gap`: S_local of its own best candidate less that of the answer. Where S_local says the same of every
    candidate, the rank is that of the middle and the gap 0.
    """
    own = np.take_along_axis(local, answers[:, None], axis=1)
    before = (local > own).sum(axis=1) + ((local == own).sum(axis=1) - 1) / 2
    return pd.DataFrame({"local_rank": before, "local_gap": (local.max(axis=1) - own[:, 0]).astype(np.float64)})


def doubt(frame: pd.DataFrame, name: str) -> Float[np.ndarray, "query"]:
    """One predictor, turned so that more of it is more doubt."""
    return DOUBT[name] * frame[name].to_numpy(np.float64)


def claimed_wrong(name: str, doubts: Float[np.ndarray, "query"]) -> Float[np.ndarray, "query"] | None:
    """The probability of being wrong that one predictor claims, from its doubt; None where it claims none.

    That the answer leads back to its query (`return_odds`) is a probability too, but not that of being right.
    """
    if name == "probability":
        return (1 + doubts).clip(0, 1)
    return probability(doubts) if name == "fused_odds" else None


def probability(log_odds: Float[np.ndarray, "query"]) -> Float[np.ndarray, "query"]:
    """The probability with these log-odds."""
    return 1 / (1 + np.exp(-log_odds.clip(-700, 700)))


def design(frame: pd.DataFrame) -> Float[np.ndarray, "query predictor"]:
    """The predictors as a regression takes them: a rank, which has a long tail, by its logarithm."""
    values = {name: np.log1p(frame[name]) if name == "local_rank" else frame[name] for name in frame}
    return pd.DataFrame(values).to_numpy(np.float64)
