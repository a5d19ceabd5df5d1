"""VQA v2: the official soft accuracy, and zero-shot ranking of candidate answers.

Source: "VQA: Visual Question Answering" (Agrawal et al. 2015, arXiv:1505.00468) and the evaluation page of
visualqa.org. Answers are compared as `normalise_answer` writes them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from vialign.data.benchmarks.vqa_answers import normalise_answer
from vialign.evaluation.choices import PairScores, text_id
from vialign.evaluation.outcomes import ITEM_COLUMNS, item_rows


def soft_accuracy(answer: str, human_answers: Sequence[str] | Shaped[np.ndarray, "human"]) -> float:
    """min(1, matches / 3), averaged over all ways to leave one of the (ten) human answers out.

    Raises ValueError without human answers.
    """
    if not len(human_answers):
        raise ValueError("soft accuracy needs human answers")
    given = normalise_answer(answer)
    humans = [normalise_answer(human) for human in human_answers]
    matches = humans.count(given)
    left = [matches - (human == given) for human in humans]
    return float(np.mean([min(1.0, count / 3) for count in left]))


def vqa_outcomes(questions: pd.DataFrame, pair_scores: PairScores) -> pd.DataFrame:
    """Zero-shot answers to QUESTIONS: columns benchmark, item_id, measure, value, tag, tie, chosen, image_id.

    The candidate whose statement (text `<question_id>:<j>`) matches the image best is the answer. Among tied
    candidates the worst counts, and `tie` says when that made a difference. `chosen` names the statement that won
    where a better candidate existed; `tag` is the kind of question. Raises ValueError for a question without
    candidates or a score that is not finite.
    """
    if questions.empty:
        return pd.DataFrame(columns=list(ITEM_COLUMNS))
    counts = [len(candidates) for candidates in questions["candidates"]]
    if min(counts) == 0 or counts != [len(statements) for statements in questions["statements"]]:
        raise ValueError("every question needs candidates, and one statement for each")
    names = questions["question_id"].tolist()
    images = questions["image_id"].tolist()
    image_ids = [image for image, count in zip(images, counts, strict=True) for _ in range(count)]
    text_ids = [text_id(name, j) for name, count in zip(names, counts, strict=True) for j in range(count)]
    scores = np.asarray(pair_scores(image_ids, text_ids), dtype=np.float64)
    if scores.shape != (len(image_ids),) or not np.isfinite(scores).all():
        raise ValueError("answer scores are not finite, or not one a statement")
    value, best, tie, chosen = [], [], [], []
    parts = np.split(scores, np.cumsum(counts)[:-1])
    for row, part in zip(questions.to_dict("records"), parts, strict=True):
        values = np.array([soft_accuracy(candidate, row["answers"]) for candidate in row["candidates"]])
        tied = np.flatnonzero(part == part.max())
        winner = int(tied[values[tied].argmin()])
        value.append(values[winner])
        best.append(values.max())
        tie.append(values[winner] < values[tied].max())
        chosen.append(text_id(row["question_id"], winner))
    return item_rows(
        benchmark="vqa",
        item_id=names,
        measure="soft_accuracy",
        value=np.array(value),
        tag=questions["kind"].tolist(),
        tie=np.array(tie),
        chosen=chosen,
        image_id=images,
        failed=np.array(value) < np.array(best),
    )
