"""Why a query failed: explicit, measurable rules with stated thresholds (method.md, section 8).

A failed query is two pairs of a text and an image: the *truth* that should have won and the *rival* that did. For a
caption that found the wrong image, the rival is that caption with the chosen image; for an image that found the wrong
caption (retrieval or choice), it is the chosen caption with that image. The rules, in this order; the first that
holds gives the class:

1. identical text -> annotation ambiguity: the rival's text is, word for word, a true caption of the rival's image.
2. missing -> concept missing: the weakest concept (entity or attribute phrase) of the true text matches the
   prototypes of the right image worse than `missing`, a low quantile of that value over aligned validation captions.
3. same words -> combination beyond reach: all concepts were found, and the rival's text has the same words, in another
   order, as a true caption of the rival's image.
4. agreement (retrieval only) -> annotation ambiguity: the rival's text agrees with the captions of the rival's image
   as well as a typical caption agrees with the other captions of its own image (mean cosine of text embeddings). A
   choice is exempt: its wrong captions are written to look alike, and a text embedding hardly sees the difference.
5. same concepts -> combination beyond reach: every concept of the rival's text is found in the rival's image too, and
   the rival's local similarity is at most `margin` below that of the truth.
6. nothing of this -> other.

All measurements are those of the frozen backbone and the disentanglers, the same for every method.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.analysis.failed_queries import Captions, FailedQuery, caption_sums, failed_queries
from vialign.config import FailureConfig
from vialign.evaluation.statistics import wilson_interval
from vialign.objective import SplitData
from vialign.progress import track
from vialign.tables import FAILURE_CLASSES, FAILURES, UNIT_KINDS

_BLOCK = 2048
"""Pairs whose prototypes and phrases are gathered at once."""
_ENTITY, _ATTRIBUTE = 1, 2


@dataclass(frozen=True)
class FailureThresholds:
    """The limits of the rules, measured once on validation data."""

    missing: float
    """Cosine under which a concept counts as missing."""
    agreement: float
    """Mean cosine with an image's captions from which a text counts as one of them; infinite where no validation
    image has two captions, which switches rule 4 off."""
    margin: float
    """Cosine by which the rival's local similarity may be lower."""


@dataclass(frozen=True)
class PairEvidence:
    """How texts match the prototypes of images, pair by pair."""

    local: Float[np.ndarray, "pair"]
    """S_local."""
    worst: Float[np.ndarray, "pair"]
    """Best match of the weakest concept; nan for a text without phrases."""
    worst_unit: Int[np.ndarray, "pair"]
    """Which phrase that is; -1 for a text without phrases."""


def measure_pairs(data: SplitData, texts: Int[Tensor, "pair"], images: Int[Tensor, "pair"]) -> PairEvidence:
    """Match the phrases of texts with the prototypes of images, aligned lists of positions, in bounded memory.

    Concepts are entity and attribute phrases; a text that has neither is judged by all its phrases, since relations
    are not things that a prototype can show.
    """
    parts = []
    blocks = list(zip(texts.split(_BLOCK), images.split(_BLOCK), strict=True)) if len(texts) else []
    for text, image in track(blocks, "failures: matches of phrases and prototypes"):
        phrases, prototypes = data.phrases.index(text), data.prototypes.index(image)
        matches = torch.einsum("bmd,bkd->bmk", phrases.features, prototypes.features)
        best = matches.masked_fill(prototypes.mass[:, None, :] == 0, -1.0).amax(dim=2)
        present = phrases.weight > 0
        concept = present & ((phrases.kind == _ENTITY) | (phrases.kind == _ATTRIBUTE))
        concept = torch.where(concept.any(dim=1, keepdim=True), concept, present)
        worst, unit = best.masked_fill(~concept, torch.inf).min(dim=1)
        some = present.any(dim=1)
        parts.append(
            torch.stack(
                [
                    (phrases.weight * best).sum(dim=1).double(),
                    torch.where(some, worst, torch.nan).double(),
                    torch.where(some, unit, -1).double(),
                ]
            )
        )
    local, worst, unit = (torch.cat(parts, dim=1) if parts else torch.empty(3, 0)).numpy()
    return PairEvidence(local, worst, unit.astype(np.int64))


def fit_thresholds(validation: SplitData, config: FailureConfig) -> FailureThresholds:
    """Measure the limits of the rules on the aligned captions of the validation split."""
    captions = validation.captions
    worst = measure_pairs(validation, captions, validation.image_of_text[captions]).worst
    agreement = _agreement_with_siblings(validation)
    return FailureThresholds(
        missing=float(np.nanquantile(worst, config.missing_quantile)),
        agreement=float(np.quantile(agreement, config.agreement_quantile)) if len(agreement) else float("inf"),
        margin=config.margin,
    )


def classify_failures(
    outcomes: pd.DataFrame,
    data: SplitData,
    choices: pd.DataFrame,
    units: pd.DataFrame,
    thresholds: FailureThresholds,
    split: str,
) -> pd.DataFrame:
    """FAILURES of one split: every failed retrieval query (R@1) and choice item of OUTCOMES, put into a class.

    `choices` (CHOICES) and `units` (UNITS, for the words of the weakest phrase) may hold other splits too. Failures
    against rule-made negatives and of VQA are not classified. A Winoground item is judged by its failed text score,
    or by its failed image score when only that failed.
    """
    failed = outcomes[(outcomes["value"] < 1) & outcomes["chosen"].notna()]
    failed = failed[failed["benchmark"].str.startswith(f"{split}/")]
    rows = failed_queries(failed, data, choices)
    if not rows:
        return FAILURES.empty()
    # Methods and seeds fail on much the same queries: each is explained once.
    explained = _explain(list(dict.fromkeys(query for _, query in rows)), data, units, thresholds)
    keys = ("method", "seed", "benchmark", "item_id")
    return FAILURES.check(pd.DataFrame([{key: row[key] for key in keys} | explained[query] for row, query in rows]))


def _explain(
    queries: list[FailedQuery], data: SplitData, units: pd.DataFrame, thresholds: FailureThresholds
) -> dict[FailedQuery, dict[str, object]]:
    """The columns of FAILURES that do not name the item."""
    rival_text = torch.tensor([query.rival_text for query in queries])
    rival_image = torch.tensor([query.rival_image for query in queries])
    truth = measure_pairs(
        data, torch.tensor([query.text for query in queries]), torch.tensor([query.image for query in queries])
    )
    rival = measure_pairs(data, rival_text, rival_image)
    captions = Captions(data)
    agreement = captions.agreement(rival_text, rival_image)
    unit_texts = _UnitTexts(units, data)
    contents = data.texts["text"].tolist()
    explained: dict[FailedQuery, dict[str, object]] = {}
    for n, query in enumerate(track(queries, "failures: classes", total=len(queries))):
        similar = captions.words_of(query.rival_image, query.rival_own_text)
        words = captions.words(query.rival_text)
        failure, rule = "other", "none"
        if words in similar:
            failure, rule = "annotation ambiguity", "identical text"
        elif truth.worst[n] < thresholds.missing:
            failure, rule = "concept missing", "missing"
        elif sorted(words) in [sorted(other) for other in similar]:
            failure, rule = "combination beyond reach", "same words"
        elif query.retrieval and agreement[n] >= thresholds.agreement:
            failure, rule = "annotation ambiguity", "agreement"
        elif rival.worst[n] >= thresholds.missing and rival.local[n] >= truth.local[n] - thresholds.margin:
            failure, rule = "combination beyond reach", "same concepts"
        explained[query] = {
            "image_id": data.image_ids[query.image],
            "true_text": contents[query.text],
            "chosen_text": contents[query.chosen_text] if query.chosen_text >= 0 else "",
            "chosen_image": data.image_ids[query.chosen_image],
            "failure": failure,
            "evidence": (
                f"rule: {rule}; weakest concept {truth.worst[n]:.3f} in the truth, {rival.worst[n]:.3f} in the rival "
                f"(missing under {thresholds.missing:.3f}); local similarity {truth.local[n]:.3f} of the truth, "
                f"{rival.local[n]:.3f} of the rival (margin {thresholds.margin:.3f}); caption agreement "
                f"{agreement[n]:.3f} (as good from {thresholds.agreement:.3f})"
            ),
            "worst_phrase": unit_texts.find(query.text, int(truth.worst_unit[n])),
            "worst_match": float(truth.worst[n]),
        }
    return explained


def failure_rates(failures: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Share of each class among the failures of a method on a benchmark, with Wilson's interval.

    Columns method, benchmark, failure, count (mean over seeds), share, low, high. Seeds fail on much the same items,
    so the interval counts a seed's mean number of failures as trials, not the sum.
    """
    rows = []
    for (method, benchmark), group in failures.groupby(["method", "benchmark"], observed=True):
        seeds = group["seed"].nunique()
        for failure in FAILURE_CLASSES:
            count = (group["failure"] == failure).sum() / seeds
            total = len(group) / seeds
            low, high = wilson_interval(count, total, level)
            rows.append((method, benchmark, failure, count, count / total, low, high))
    return pd.DataFrame(rows, columns=["method", "benchmark", "failure", "count", "share", "low", "high"])


def _agreement_with_siblings(data: SplitData) -> Float[np.ndarray, "caption"]:
    """Mean cosine of every caption with the other captions of its image; captions without siblings are left out."""
    total, count = caption_sums(data)
    image = data.image_of_text[data.captions]
    own = data.text_pooled[data.captions].double()
    others = (own * (total[image] - own)).sum(dim=1) / (count[image] - 1)
    return others[count[image] > 1].numpy()


class _UnitTexts:
    """The words of phrase units, from the parser's reading (UNITS)."""

    def __init__(self, units: pd.DataFrame, data: SplitData) -> None:
        self._kinds = data.phrases.kind
        self._names = data.texts["text_id"].tolist()
        contents = dict(zip(self._names, data.texts["text"], strict=True))
        units = units[units["text_id"].isin(contents)].sort_values(["text_id", "unit"])
        columns = (units[name].tolist() for name in ("text_id", "kind", "start", "end"))
        self._words: dict[tuple[str, str], list[str]] = {}
        for name, kind, start, end in zip(*columns, strict=True):
            self._words.setdefault((name, kind), []).append(contents[name][start:end])

    def find(self, text: int, slot: int) -> str | None:
        """The words of a phrase; None where the disentangler read other units than the parser did.

        Units are matched by their order within a kind. Where all slots are taken, the last units were cut off.
        """
        if slot < 0:
            return None
        kinds = self._kinds[text].tolist()
        kind = kinds[slot]
        words = self._words.get((self._names[text], UNIT_KINDS[kind - 1]), []) if kind else []
        place = kinds[:slot].count(kind)
        same = len(words) == kinds.count(kind) or (0 not in kinds and place < len(words))
        return words[place] if same and words else None
