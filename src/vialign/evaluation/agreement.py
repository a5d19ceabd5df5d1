"""Agreement of scores with human ratings: Kendall's tau, with a bootstrap over images.

The conventions are those of SPICE and CLIPScore (Hessel et al. 2021, arXiv:2104.08718, appendix A), so that numbers on
Flickr8k can be held against theirs: for the experts tau-c over every single judgement (5,664 pairs, three judgements
each), without the pairs of an image with a caption of its own; for the crowd tau-b over the mean of a pair, all 47,830
pairs.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from vialign.config.signal import SignalConfig
from vialign.evaluation.statistics import interval
from vialign.methods.objective import SplitData
from vialign.progress import track
from vialign.random import generator
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import SplitFeatures, score_pairs
from vialign.signal.references import with_references
from vialign.tables.evaluation import AGREEMENT
from vialign.tables.signal import REFERENCE_SIGNALS, SIGNALS

WITHOUT_OWN_CAPTIONS = frozenset({"expert"})
"""Sources of ratings whose pairs of an image with a caption of its own are left out, as in CLIPScore."""


def rating_agreement(
    data: SplitData,
    ratings: pd.DataFrame,
    calibration: SignalCalibration,
    config: SignalConfig,
    level: float = 0.05,
    seed: int = 0,
    references: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """AGREEMENT of every signal with every source of RATINGS, on rated pairs whose image and caption are in the split.

    `references` gives the rows of `REFERENCES` for pairs (image_id, text_id, kind) and is called only where there are
    ratings; signals that it leaves empty have no row. Ratings left out are counted in the log; empty without ratings.
    """
    image_of_text = dict(zip(data.texts["text_id"], data.texts["image_id"], strict=True))
    known = ratings["image_id"].isin(data.image_ids) & ratings["caption_id"].isin(image_of_text)
    if not known.all():
        print(f"agreement: {(~known).sum()} of {len(known)} ratings are of pairs that are not in this split; left out")
    own = ratings["caption_id"].map(image_of_text) == ratings["image_id"]
    kept = known & ~(own & ratings["source"].isin(WITHOUT_OWN_CAPTIONS))
    ratings = ratings[kept].reset_index(drop=True)
    if ratings.empty:
        return AGREEMENT.empty()
    pairs = pd.DataFrame(
        {
            "image_id": ratings["image_id"],
            "text_id": ratings["caption_id"],
            "kind": np.where(own[kept], "aligned", "random"),
        }
    ).drop_duplicates(ignore_index=True)
    features = SplitFeatures(
        image_ids=data.image_ids,
        image_pooled=data.image_pooled,
        prototypes=data.prototypes,
        text_ids=data.texts["text_id"].tolist(),
        text_pooled=data.text_pooled,
        phrases=data.phrases,
    )
    scores = score_pairs(pairs, features, calibration, config, seed)
    if references is not None:
        scores = with_references(scores, references(pairs))
    signals = [name for name in (*SIGNALS, *REFERENCE_SIGNALS) if name in scores]
    tables = [
        agreement_table(scores, rows, signals, str(source), level=level, seed=seed)
        for source, rows in ratings.groupby("source")
    ]
    return pd.concat(tables, ignore_index=True)


def agreement_table(
    scores: pd.DataFrame,
    ratings: pd.DataFrame,
    signals: Sequence[str],
    name: str,
    replicates: int = 500,
    level: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """AGREEMENT of each signal (a column of `scores`, beside image_id and text_id) with the RATINGS of one source.

    `name` says which source it is. Each judgement counts on its own, with the score of its pair. Rated pairs without a
    score are an error (ValueError): the scores were made for other pairs. Empty when there are no ratings. One
    replicate sorts all ratings: 47,830 take 12 ms.
    """
    if ratings.empty:
        return AGREEMENT.empty()
    pairs = ratings.merge(
        scores.rename(columns={"text_id": "caption_id"}), on=["image_id", "caption_id"], how="left", validate="m:1"
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
                "pairs": len(pairs.drop_duplicates(["image_id", "caption_id"])),
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
