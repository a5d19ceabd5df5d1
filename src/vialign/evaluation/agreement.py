"""Agreement of scores with human ratings: Kendall's tau, with a bootstrap over images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from vialign.config import SignalConfig
from vialign.evaluation.statistics import interval
from vialign.objective import SplitData
from vialign.progress import track
from vialign.random import generator
from vialign.signal.calibration import SignalCalibration
from vialign.signal.stage import SplitFeatures, score_pairs
from vialign.tables import AGREEMENT, SIGNALS


def rating_agreement(
    data: SplitData,
    ratings: pd.DataFrame,
    calibration: SignalCalibration,
    config: SignalConfig,
    name: str,
    level: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """AGREEMENT of every signal with RATINGS, on the rated pairs whose image and caption are in the split.

    Pairs left out are counted in the log; empty without ratings.
    """
    image_of_text = dict(zip(data.texts["text_id"], data.texts["image_id"], strict=True))
    known = ratings["image_id"].isin(data.image_ids) & ratings["caption_id"].isin(image_of_text)
    if not known.all():
        print(f"agreement: {(~known).sum()} of {len(known)} rated pairs of {name} are not in this split; left out")
    ratings = ratings[known].reset_index(drop=True)
    if ratings.empty:
        return AGREEMENT.empty()
    own = ratings["caption_id"].map(image_of_text) == ratings["image_id"]
    pairs = pd.DataFrame(
        {
            "image_id": ratings["image_id"],
            "text_id": ratings["caption_id"],
            "kind": np.where(own, "aligned", "random"),
        }
    )
    features = SplitFeatures(
        image_ids=data.image_ids,
        image_pooled=data.image_pooled,
        prototypes=data.prototypes,
        text_ids=data.texts["text_id"].tolist(),
        text_pooled=data.text_pooled,
        phrases=data.phrases,
    )
    scores = score_pairs(pairs, features, calibration, config, seed)
    return agreement_table(scores, ratings, SIGNALS, name, level=level, seed=seed)


def agreement_table(
    scores: pd.DataFrame,
    ratings: pd.DataFrame,
    signals: Sequence[str],
    name: str,
    replicates: int = 500,
    level: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """AGREEMENT of each signal (a column of `scores`, beside image_id and text_id) with RATINGS.

    `name` says which rating file it is. Rated pairs without a score are an error (ValueError): the scores were made
    for other pairs. Empty when there are no ratings. One replicate sorts all pairs: 47,830 take 12 ms.
    """
    if ratings.empty:
        return AGREEMENT.empty()
    pairs = ratings.merge(
        scores.rename(columns={"text_id": "caption_id"}), on=["image_id", "caption_id"], how="left", validate="1:1"
    )
    missing = pairs[list(signals)].isna().any(axis=1)
    if missing.any():
        first = pairs[missing].iloc[0]
        raise ValueError(f"{missing.sum()} rated pairs have no score, first {first['image_id']}, {first['caption_id']}")
    image, _ = pd.factorize(pairs["image_id"], sort=True)
    rating = pairs["rating"].to_numpy(np.float64)
    rows = []
    for signal in signals:
        score = pairs[signal].to_numpy(np.float64)
        low, high = interval(bootstrap_tau_b(score, rating, image, replicates, seed), level)
        rows.append(
            {
                "signal": signal,
                "ratings": name,
                "tau_b": float(stats.kendalltau(score, rating, variant="b").statistic),
                "tau_c": float(stats.kendalltau(score, rating, variant="c").statistic),
                "low": float(low),
                "high": float(high),
                "pairs": len(pairs),
            }
        )
    return AGREEMENT.check(pd.DataFrame(rows))


def bootstrap_tau_b(
    first: Float[np.ndarray, "pair"],
    second: Float[np.ndarray, "pair"],
    image: Int[np.ndarray, "pair"],
    replicates: int,
    seed: int,
) -> Float[np.ndarray, "replicate"]:
    """Kendall's tau-b over resampled images: each replicate draws as many images as there are, with all their pairs.

    `image` numbers the image of each pair from 0. A replicate in which either variable is constant is nan.
    """
    images = int(image.max()) + 1
    random = generator(seed, "agreement", images)
    taus = np.empty(replicates)
    for replicate in track(range(replicates), "bootstrap of Kendall's tau"):
        times = np.bincount(random.integers(images, size=images), minlength=images)
        rows = np.repeat(np.arange(len(image)), times[image])
        taus[replicate] = stats.kendalltau(first[rows], second[rows], variant="b").statistic
    return taus
