"""Why a query failed: explicit, measurable rules with stated thresholds (docs/method.md#93-failure-classes).

A failed query is two pairs of a text and an image: the *truth* that should have won and the *rival* that did. For a
caption that found the wrong image, the rival is that caption with the chosen image; for an image that found the wrong
caption (retrieval, choice, rule-made negative or answer), it is the chosen text with that image. The rules, in this
order; the first that holds gives the class:

1. identical text -> annotation ambiguity: the rival's text is, word for word, a true caption of the rival's image.
2. human answers (VQA only) -> annotation ambiguity: people gave the chosen answer too, with a soft accuracy of at least
   `human`.
3. missing -> concept missing: the weakest concept (entity or attribute phrase) of the true text matches the
   prototypes of the right image worse than `missing`, a low quantile of that value over aligned selection captions.
4. same words -> combination beyond reach: all concepts were found, and the rival's text has the same words, in another
   order, as a true caption of the rival's image.
5. agreement (retrieval only) -> annotation ambiguity: the rival's text agrees with the captions of the rival's image
   as well as a typical caption agrees with the other captions of its own image (mean cosine of text embeddings). A
   choice is exempt: its wrong captions are written to look alike, and a text embedding hardly sees the difference.
6. same concepts -> combination beyond reach: every concept of the rival's text is found in the rival's image too, and
   the rival's local similarity is at most `margin` below that of the truth.
7. nothing of this -> other.

Beside its class, every failure names the phrase that decided, with the prototype it matches best:

- after rule 3, the concept that is missing, in the right image;
- where another image won, the phrase that speaks most for it: whose match there exceeds its match in the right image
  by most; none where no phrase matches better there;
- where another text won, what only that text says: an entity whose head word, else an attribute or else a relation
  whose words or arguments the true text does not have; of several the one that the image matches best; none where the
  text says nothing more.

All measurements are those of the frozen backbone and the disentanglers, the same for every method.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.analysis.failures.pair_evidence import PairEvidence, measure_pairs
from vialign.analysis.failures.queries import Captions, FailedQuery, caption_sums, failed_queries
from vialign.analysis.failures.unit_words import UnitWords
from vialign.config.evaluation import FailureConfig
from vialign.methods.objective import SplitData
from vialign.progress import track
from vialign.tables.failures import FAILURES
from vialign.tables.language import UNIT_KINDS


@dataclass(frozen=True)
class FailureThresholds:
    """The limits of the rules, measured once on selection data."""

    missing: float
    """Cosine under which a concept counts as missing."""
    agreement: float
    """Mean cosine with an image's captions from which a text counts as one of them; infinite where no selection
    image has two captions, which switches rule 5 off."""
    margin: float
    """Cosine by which the rival's local similarity may be lower."""
    human: float
    """Soft accuracy from which a chosen answer is as good as the best."""


def fit_thresholds(selection: SplitData, config: FailureConfig) -> FailureThresholds:
    """Measure the limits of the rules on the aligned captions of the selection split."""
    captions = selection.captions
    worst = measure_pairs(selection, captions, selection.image_of_text[captions]).worst
    agreement = _agreement_with_siblings(selection)
    return FailureThresholds(
        missing=float(np.nanquantile(worst, config.missing_quantile)),
        agreement=float(np.quantile(agreement, config.agreement_quantile)) if len(agreement) else float("inf"),
        margin=config.margin,
        human=config.human_answers,
    )


def classify_failures(
    outcomes: pd.DataFrame,
    data: SplitData,
    choices: pd.DataFrame,
    questions: pd.DataFrame,
    units: pd.DataFrame,
    thresholds: FailureThresholds,
    split: str,
) -> pd.DataFrame:
    """FAILURES of one split: every failed query of OUTCOMES, put into a class, with the evidence.

    `outcomes`, `choices` (CHOICES), `questions` (QUESTIONS) and `units` (UNITS) may hold other splits too. A Winoground
    item is judged by its failed text score, or by its failed image score when only that failed; a caption with
    rule-made negatives, by its strongest negative. Raises UserError for an item that stands in no table.
    """
    failed = outcomes[(outcomes["value"] < 1) & outcomes["chosen"].notna()]
    failed = failed[failed["benchmark"].str.startswith(f"{split}/")]
    rows = failed_queries(failed, data, choices, questions)
    if not rows:
        return FAILURES.empty()
    # Methods and seeds fail on much the same queries: each is explained once.
    number: dict[FailedQuery, int] = {}
    places = [number.setdefault(query, len(number)) for _, query in rows]
    explained = _explain(list(number), data, UnitWords(units, data), thresholds)
    keys = ("method", "seed", "benchmark", "item_id")
    items = pd.DataFrame({key: [row[key] for row, _ in rows] for key in keys})
    return FAILURES.check(pd.concat([items, explained.iloc[places].reset_index(drop=True)], axis=1))


def _explain(
    queries: list[FailedQuery], data: SplitData, words: UnitWords, thresholds: FailureThresholds
) -> pd.DataFrame:
    """The columns of FAILURES that do not name the item, one row a query."""

    def positions(name: str) -> Int[Tensor, "query"]:
        return torch.tensor([getattr(query, name) for query in queries])

    truth = measure_pairs(data, positions("text"), positions("image"))
    rival = measure_pairs(data, positions("rival_text"), positions("rival_image"))
    captions = Captions(data)
    agreement = captions.agreement(positions("rival_text"), positions("rival_image"))
    contents = data.texts["text"].tolist()
    rows = []
    for n, query in enumerate(track(queries, "failures: classes", total=len(queries))):
        failure, rule = _class(query, n, captions, truth, rival, agreement, thresholds)
        rows.append(
            {
                "image_id": data.image_ids[query.image],
                "true_text": contents[query.text],
                "chosen_text": contents[query.chosen_text] if query.chosen_text >= 0 else "",
                "chosen_image": data.image_ids[query.chosen_image],
                "rival": query.rival,
                "failure": failure,
                "rule": rule,
                "worst_phrase": words.words(query.text, int(truth.worst_unit[n])),
                "human": query.human,
                **_decided(query, n, rule, data, words, truth, rival),
            }
        )
    table = pd.DataFrame(rows)
    known = np.isfinite(thresholds.agreement)
    return table.assign(
        worst_match=truth.worst,
        worst_match_rival=rival.worst,
        missing_limit=thresholds.missing,
        local_true=truth.local,
        local_rival=rival.local,
        margin_limit=thresholds.margin,
        agreement=agreement,
        agreement_limit=thresholds.agreement if known else np.nan,
        human=table["human"].astype(float),
        human_limit=thresholds.human,
    )


def _class(
    query: FailedQuery,
    n: int,
    captions: Captions,
    truth: PairEvidence,
    rival: PairEvidence,
    agreement: Float[np.ndarray, "query"],
    thresholds: FailureThresholds,
) -> tuple[str, str]:
    """Class of the n-th query, and the rule that gave it."""
    similar = captions.words_of(query.rival_image, query.rival_own_text)
    own = captions.words(query.rival_text)
    if own in similar:
        return "annotation ambiguity", "identical text"
    if query.human is not None and query.human >= thresholds.human:
        return "annotation ambiguity", "human answers"
    if truth.worst[n] < thresholds.missing:
        return "concept missing", "missing"
    if sorted(own) in [sorted(other) for other in similar]:
        return "combination beyond reach", "same words"
    if query.retrieval and agreement[n] >= thresholds.agreement:
        return "annotation ambiguity", "agreement"
    if rival.worst[n] >= thresholds.missing and rival.local[n] >= truth.local[n] - thresholds.margin:
        return "combination beyond reach", "same concepts"
    return "other", "none"


def _decided(
    query: FailedQuery,
    n: int,
    rule: str,
    data: SplitData,
    words: UnitWords,
    truth: PairEvidence,
    rival: PairEvidence,
) -> dict[str, object]:
    """The phrase that decided the n-th query, with its prototype; see the head of this module."""
    of, pair, image, matched_before = "truth", rival, query.rival_image, None
    phrase: str | None
    if rule == "missing":
        pair, image, slot = truth, query.image, int(truth.worst_unit[n])
        phrase, kind = words.words(query.text, slot), _kind(data, query.text, slot)
    elif query.rival == "image":
        gain = np.nan_to_num(rival.match[n] - truth.match[n], nan=-np.inf)
        slot = int(gain.argmax())
        if gain[slot] <= 0:
            return _NO_PHRASE
        phrase, kind, matched_before = (
            words.words(query.text, slot),
            _kind(data, query.text, slot),
            truth.match[n, slot],
        )
    else:
        new = words.only_in(query.rival_text, query.text)
        if not new:
            return _NO_PHRASE
        unit = max(new, key=lambda unit: rival.match[n, unit.slot] if unit.slot >= 0 else -np.inf)
        of, slot, phrase, kind = "rival", unit.slot, unit.words, unit.kind
    decided = {"phrase": phrase, "phrase_kind": kind, "phrase_of": of}
    if slot < 0:
        return _NO_PHRASE | decided
    prototype = int(pair.prototype[n, slot])
    x, y, _, _, area = data.prototypes.moments[image, prototype].tolist()
    return decided | {
        "prototype": prototype,
        "prototype_image": data.image_ids[image],
        "prototype_x": x,
        "prototype_y": y,
        "prototype_area": area,
        "phrase_match": pair.match[n, slot],
        "phrase_match_true": matched_before,
    }


_NO_PHRASE: dict[str, object] = {
    "phrase": None,
    "phrase_kind": "none",
    "phrase_of": None,
    "prototype": None,
    "prototype_image": None,
    "prototype_x": None,
    "prototype_y": None,
    "prototype_area": None,
    "phrase_match": None,
    "phrase_match_true": None,
}
"""The evidence where no phrase decided."""


def _kind(data: SplitData, text: int, slot: int) -> str:
    return UNIT_KINDS[int(data.phrases.kind[text, slot]) - 1]


def _agreement_with_siblings(data: SplitData) -> Float[np.ndarray, "caption"]:
    """Mean cosine of every caption with the other captions of its image; captions without siblings are left out."""
    total, count = caption_sums(data)
    image = data.image_of_text[data.captions]
    own = data.text_pooled[data.captions].double()
    others = (own * (total[image] - own)).sum(dim=1) / (count[image] - 1)
    return others[count[image] > 1].numpy()
