"""How far text alone gets on every benchmark with several texts an item: a benchmark solved blind shows nothing.

Retrieval is not concerned: its candidates are all true captions.
"""

from collections.abc import Iterator, Mapping, Sized

import numpy as np
import pandas as pd
from jaxtyping import Float

from vialign.config.evaluation import EvaluationConfig
from vialign.evaluation.choices import form_of, right_of, text_id
from vialign.evaluation.forms import best_threshold, chance_of_all, chance_with_ties
from vialign.evaluation.statistics import interval, replicate_means
from vialign.evaluation.vqa import soft_accuracy
from vialign.signal.blind import BlindClassifier
from vialign.signal.pairs import source_caption
from vialign.tables.data import DEVELOPMENT, NEGATIVE_KINDS
from vialign.tables.evaluation import BLIND

_ITEM_COLUMNS = ["benchmark", "image_id", "value", "chance"]
_WINOGROUND_CHANCE = 0.25


def blind_benchmarks(
    classifier: BlindClassifier | None,
    texts: Mapping[str, pd.DataFrame],
    choices: pd.DataFrame,
    questions: pd.DataFrame,
    config: EvaluationConfig,
    seed: int,
) -> pd.DataFrame:
    """Rows as `BLIND` for all test splits; none where there was nothing to fit a classifier on.

    `texts` holds the TEXTS of each split; rows of `choices` and `questions` of other splits are left out.
    """
    if classifier is None:
        return BLIND.empty()
    items = []
    for split, frame in texts.items():
        own = (table[table["split"] == split] for table in (choices, questions))
        found = blind_items(classifier, frame, *own)
        items.append(found.assign(benchmark=f"{split}/" + found["benchmark"].astype(str)))
    return blind_table(pd.concat(items), config.blind_margin, config.bootstrap, config.level, seed)


def blind_items(
    classifier: BlindClassifier, texts: pd.DataFrame, choices: pd.DataFrame, questions: pd.DataFrame
) -> pd.DataFrame:
    """What the classifier scores on every item of one split: columns benchmark, image_id, value, chance.

    `texts`, `choices` and `questions` are rows of `TEXTS`, `CHOICES` and `QUESTIONS` of the split. A tie counts as a
    guess among the tied. The text score of a Winoground item, whose two captions are each true of one image, cannot be
    won by a score that is the same for both images; where several images are offered for a caption it can but guess.
    Statements get a threshold as a method does; guessing is to call them all alike.
    """
    scores = pd.Series(classifier.scores(texts["text"].tolist()), index=texts["text_id"])
    rows = [*_choice_items(scores, choices), *_question_items(scores, questions)]
    return pd.concat([pd.DataFrame(rows, columns=_ITEM_COLUMNS), _negative_items(scores, texts)], ignore_index=True)


def blind_table(items: pd.DataFrame, margin: float, replicates: int, level: float, seed: int) -> pd.DataFrame:
    """Rows as `BLIND` from the items of every split (`benchmark` is `<split>/<name>`).

    Intervals resample images with all their items.
    """
    rows = []
    for benchmark, part in items.groupby("benchmark", sort=True):
        images, known = pd.factorize(part["image_id"])
        sums = np.bincount(images, part["value"].to_numpy(np.float64))
        counts = np.bincount(images).astype(np.float64)
        means = replicate_means(sums[:, None, None], counts[:, None], replicates, seed)[:, 0, 0]
        low, high = (float(end) for end in interval(means, level))
        chance = float(part["chance"].mean())
        rows.append(
            {
                "benchmark": benchmark,
                "accuracy": float(part["value"].mean()),
                "low": low,
                "high": high,
                "chance": chance,
                "items": len(part),
                "solved": low > chance + margin,
            }
        )
    return BLIND.check(pd.DataFrame(rows, columns=list(BLIND.columns)))


def expected_value(scores: Float[np.ndarray, "text"], values: Float[np.ndarray, "text"]) -> float:
    """Value of the text with the highest score; the mean over the tied ones where there are several."""
    return float(values[scores == scores.max()].mean())


def _choice_items(scores: pd.Series, choices: pd.DataFrame) -> Iterator[tuple[str, str, float, float]]:
    if choices.empty:
        return
    forms, rights = form_of(choices), right_of(choices)
    columns = [choices[name] for name in ("item_id", "benchmark", "images", "texts")]
    for item, benchmark, images, texts, form, right in zip(*columns, forms, rights.tolist(), strict=True):
        if form == "pairs":
            first, second = _of_item(scores, item, texts)
            yield benchmark, images[0], _WINOGROUND_CHANCE if first == second else 0.0, _WINOGROUND_CHANCE
        elif form == "image_choice":
            yield benchmark, images[0], 1 / len(images), 1 / len(images)
        elif form != "statement":
            value = chance_with_ties(_of_item(scores, item, texts), right)
            yield benchmark, images[0], value, chance_of_all(len(texts), right)
    yield from _statement_items(scores, choices[forms == "statement"])


def _statement_items(scores: pd.Series, statements: pd.DataFrame) -> Iterator[tuple[str, str, float, float]]:
    found = scores.loc[[text_id(item, 0) for item in statements["item_id"]]].to_numpy()
    true = right_of(statements) == 1
    for benchmark in statements["benchmark"].unique():
        own, known = ((statements["benchmark"] == name).to_numpy() for name in (benchmark, benchmark + DEVELOPMENT))
        if benchmark.endswith(DEVELOPMENT):
            continue
        said = found[own] > best_threshold(found[known], true[known])
        images = [names[0] for names in statements.loc[own, "images"]]
        share = float(true[own].mean())
        for image, won in zip(images, said == true[own], strict=True):
            yield benchmark, image, float(won), max(share, 1 - share)


def _question_items(scores: pd.Series, questions: pd.DataFrame) -> Iterator[tuple[str, str, float, float]]:
    names = ("question_id", "image_id", "candidates", "answers")
    for question, image, candidates, answers in zip(*(questions[name] for name in names), strict=True):
        values = np.array([soft_accuracy(candidate, answers) for candidate in candidates])
        yield "vqa", image, expected_value(_of_item(scores, question, candidates), values), float(values.mean())


def _negative_items(scores: pd.Series, texts: pd.DataFrame) -> pd.DataFrame:
    """One item a caption with negatives: the share of them that score lower."""
    negatives = texts[texts["kind"].isin(NEGATIVE_KINDS)]
    source = source_caption(negatives["text_id"]).to_numpy()
    won = (np.sign(scores.loc[source].to_numpy() - scores.loc[negatives["text_id"]].to_numpy()) + 1) / 2
    frame = pd.DataFrame({"source": source, "image_id": negatives["image_id"].to_numpy(), "value": won})
    items = frame.groupby("source", sort=False).agg({"image_id": "first", "value": "mean"})
    return items.assign(benchmark="negatives", chance=0.5)[_ITEM_COLUMNS]


def _of_item(scores: pd.Series, item: str, texts: Sized) -> Float[np.ndarray, "text"]:
    return scores.loc[[text_id(item, place) for place in range(len(texts))]].to_numpy()
