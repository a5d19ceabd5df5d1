"""Phase 1, diagnosis: does a signal tell aligned pairs from misaligned ones, kind by kind?

Random pairs are held against all aligned pairs (area under the ROC curve). A rule-made negative is held against the
caption that it was made from, at the same image: the area is then the share of such couples in the right order. All
intervals and tests take the image as the unit of sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vialign.config.signal import SignalConfig
from vialign.errors import UserError
from vialign.progress import track
from vialign.random import generator
from vialign.signal.pairs import source_caption
from vialign.signal.validation.resampling import (
    auc,
    holm,
    image_weights,
    interval,
    permuted_labels,
    rank_sum_p,
    resampled_auc,
    resampled_mean,
    sign_flip_p,
    wins,
)
from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.signal import DIAGNOSIS, REFERENCE_SIGNALS, SIGNALS

HARD = "hard"
"""All rule-made negatives together."""


@dataclass(frozen=True)
class Contrast:
    """Aligned pairs and the misaligned pairs that they are held against."""

    aligned: pd.DataFrame
    """Rows of `SIGNAL_SCORES`; where `paired`, row i is what row i of `misaligned` was made from."""
    misaligned: pd.DataFrame
    """Rows of `SIGNAL_SCORES`."""
    paired: bool
    """Whether rows belong together."""
    aligned_images: Int[np.ndarray, "aligned"]
    """Image number of each aligned row, from 0."""
    misaligned_images: Int[np.ndarray, "misaligned"]
    """Image number of each misaligned row."""
    images: int
    """Images in all."""

    def auc(self, signal: str) -> float:
        """How well `signal` tells both sides apart; 0.5 is chance."""
        positive, negative = self.values(signal)
        return float(wins(positive, negative).mean()) if self.paired else auc(positive, negative)

    def resampled_auc(self, signal: str, weights: Float[np.ndarray, "repeat image"]) -> Float[np.ndarray, "repeat"]:
        """`auc` in each resample of the images."""
        positive, negative = self.values(signal)
        if self.paired:
            return resampled_mean(wins(positive, negative), self.misaligned_images, weights)
        return resampled_auc(positive, self.aligned_images, negative, self.misaligned_images, weights)

    def values(self, signal: str) -> tuple[Float[np.ndarray, "aligned"], Float[np.ndarray, "misaligned"]]:
        """Both sides of one signal."""
        return self.aligned[signal].to_numpy(dtype=np.float64), self.misaligned[signal].to_numpy(dtype=np.float64)


def contrast(scores: pd.DataFrame, kind: str) -> Contrast | None:
    """Aligned pairs against pairs of `kind` (`hard`: every rule-made negative); None with fewer than two images.

    Raises ValueError when the caption of a negative is not among the aligned pairs of `scores`.
    """
    aligned = scores[scores["kind"] == "aligned"]
    misaligned = scores[scores["kind"].isin(NEGATIVE_KINDS) if kind == HARD else scores["kind"] == kind]
    paired = kind != "random"
    if paired:
        source = source_caption(misaligned["text_id"])
        wanted = pd.MultiIndex.from_arrays([misaligned["image_id"], source])
        rows = pd.MultiIndex.from_frame(aligned[["image_id", "text_id"]]).get_indexer(wanted)
        if (rows < 0).any():
            lost = misaligned["text_id"].iloc[int(np.flatnonzero(rows < 0)[0])]
            raise ValueError(f"signal scores: negative {lost!r} has no aligned pair of its caption and image")
        aligned = aligned.iloc[rows]
    if misaligned["image_id"].nunique() < 2 or aligned.empty:
        return None
    codes, known = pd.factorize(pd.concat([aligned["image_id"], misaligned["image_id"]]))
    return Contrast(aligned, misaligned, paired, codes[: len(aligned)], codes[len(aligned) :], len(known))


def cohen_d(positive: Float[np.ndarray, "positive"], negative: Float[np.ndarray, "negative"]) -> float:
    """Difference of the means over the pooled standard deviation; 0 where nothing varies."""
    degrees = len(positive) + len(negative) - 2
    if degrees < 1:
        return 0.0
    squares = ((positive - positive.mean()) ** 2).sum() + ((negative - negative.mean()) ** 2).sum()
    spread = np.sqrt(squares / degrees)
    return float((positive.mean() - negative.mean()) / spread) if spread > 0 else 0.0


def diagnose(
    scores: pd.DataFrame,
    config: SignalConfig,
    level: float,
    seed: int,
    signals: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Discrimination of every signal on every kind of misaligned pair in `scores`; rows as `DIAGNOSIS`.

    `scores` has the columns of `SIGNAL_SCORES`, and those of `REFERENCES` where reference signals stand beside them
    (`vialign.signal.references.with_references`); `signals` are all of these if not given. `level` is the family-wise
    error that the gate will ask for. Kinds with fewer than two images give no row. Raises UserError when so few
    permutations are asked for that no signal, however strong, could be significant after the correction.
    """
    signals = [name for name in (*SIGNALS, *REFERENCE_SIGNALS) if name in scores] if signals is None else signals
    kinds = ["random", *NEGATIVE_KINDS]
    contrasts = {kind: found for kind in kinds if (found := contrast(scores, kind)) is not None}
    tests = len(signals) * len(contrasts)
    if tests >= level * (config.permutations + 1):
        raise UserError(
            f"config: `signal.permutations`: {config.permutations} permutations cannot show {tests} tests at level "
            f"{level}; set it to at least {int(np.ceil(tests / level))}"
        )
    rows: list[dict[str, object]] = []
    for kind, found in track(contrasts.items(), "diagnosis of the signal", total=len(contrasts)):
        weights = image_weights(found.images, config.bootstrap, generator(seed, "diagnosis bootstrap", kind))
        p_values = _p_values(found, signals, config.permutations, generator(seed, "diagnosis permutation", kind))
        for signal in signals:
            low, high = interval(found.resampled_auc(signal, weights))
            rows.append(
                {
                    "signal": signal,
                    "kind": kind,
                    "auc": found.auc(signal),
                    "low": low,
                    "high": high,
                    "cohen_d": cohen_d(*found.values(signal)),
                    "p_value": p_values[signal],
                    "pairs": len(found.misaligned),
                    "images": int(found.misaligned["image_id"].nunique()),
                }
            )
    if not rows:
        return DIAGNOSIS.empty()
    frame = pd.DataFrame(rows)
    return DIAGNOSIS.check(frame.assign(p_holm=holm(frame["p_value"].to_numpy())))


def _p_values(found: Contrast, signals: Sequence[str], repeats: int, rng: np.random.Generator) -> dict[str, float]:
    """Sign flips by image for couples, labels permuted within images otherwise (one set for all signals)."""
    if found.paired:
        differences = {}
        for signal in signals:
            outcome = 2 * wins(*found.values(signal)) - 1
            differences[signal] = np.bincount(found.misaligned_images, outcome, minlength=found.images)
        return {signal: sign_flip_p(difference, repeats, rng) for signal, difference in differences.items()}
    positive = np.repeat([True, False], [len(found.aligned), len(found.misaligned)])
    images = np.concatenate([found.aligned_images, found.misaligned_images])
    permuted = permuted_labels(positive, images, repeats, rng)
    return {signal: rank_sum_p(np.concatenate(found.values(signal)), positive, images, permuted) for signal in signals}
