"""What each failed item of OUTCOMES is about: the pair that should have won and the pair that did."""

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.errors import UserError
from vialign.evaluation.choices import text_id
from vialign.evaluation.vqa import soft_accuracy
from vialign.methods.objective import SplitData
from vialign.tables.failures import QUERY_MEASURES

_WORD = re.compile(r"\w+(?:'\w+)?")


@dataclass(frozen=True)
class FailedQuery:
    """A failed item; texts and images are positions in the split."""

    text: int
    """The text that should have won, or the query."""
    image: int
    """The image that should have won, or the query."""
    rival_text: int
    """Text of the pair that won."""
    rival_image: int
    """Image of the pair that won."""
    chosen_text: int
    """The text that won, or a caption of the image that won; -1 when that has none."""
    chosen_image: int
    """The image that won, or the image that the text that won goes with."""
    rival_own_text: int = -1
    """Text of the item that is true of the rival's image, beside its captions; -1 for none."""
    retrieval: bool = False
    """Whether the rival was one of a whole gallery, and not written to be wrong."""
    human: float | None = None
    """Soft accuracy of the chosen answer among people's answers; None but for VQA."""

    @property
    def rival(self) -> str:
        """What won: another `image` for the text, or another `text` for the image."""
        return "text" if self.rival_image == self.image else "image"


def failed_queries(
    failed: pd.DataFrame, data: SplitData, choices: pd.DataFrame, questions: pd.DataFrame
) -> list[tuple[dict[Hashable, Any], FailedQuery]]:
    """The OUTCOMES row of every failed query, with what it is about.

    `failed` are OUTCOMES rows with a `chosen` candidate; the items stand in CHOICES and QUESTIONS. Of a Winoground item
    only the text score counts where that failed, else the image score. Raises UserError for an item that stands
    nowhere.
    """
    resolver = _Resolver(data, choices, questions)
    failed = failed[failed["measure"].isin(QUERY_MEASURES)]
    # "text" sorts after "image", so descending order puts it first.
    failed = failed.sort_values("measure", ascending=False, kind="stable")
    failed = failed.drop_duplicates(["method", "seed", "benchmark", "item_id"]).sort_index()
    return [(row, resolver.query(row)) for row in failed.to_dict("records")]


class _Resolver:
    """Turns names into positions; methods that fail alike share one answer."""

    def __init__(self, data: SplitData, choices: pd.DataFrame, questions: pd.DataFrame) -> None:
        self._data = data
        self._captions = Captions(data)
        self._image_of = {name: position for position, name in enumerate(data.image_ids)}
        self._text_of = {name: position for position, name in enumerate(data.texts["text_id"])}
        self._items: dict[str, dict[Hashable, Any]] = {row["item_id"]: row for row in choices.to_dict("records")}
        self._questions = {row["question_id"]: row for row in questions.to_dict("records")}
        self._known: dict[tuple[str, str, str, str], FailedQuery] = {}

    def query(self, row: dict[Hashable, Any]) -> FailedQuery:
        """What a failed OUTCOMES row is about."""
        benchmark = row["benchmark"].split("/", 1)[1]
        key = (benchmark, row["measure"], row["item_id"], row["chosen"])
        if key not in self._known:
            try:
                self._known[key] = self._reading(benchmark, row["measure"])(row["item_id"], row["chosen"])
            except KeyError as error:
                raise UserError(
                    f"outcomes: {row['benchmark']}, item {row['item_id']}: {error.args[0]!r} is in no table of data/ "
                    "or language/; delete this split's outcomes and run again"
                ) from None
        return self._known[key]

    def _reading(self, benchmark: str, measure: str) -> Callable[[str, str], FailedQuery]:
        if measure == "r1":
            return {"text_to_image": self._wrong_image, "image_to_text": self._wrong_caption}[benchmark]
        if benchmark == "negatives":
            return self._negative
        return {
            "accuracy": self._choice,
            "text": self._winoground_text,
            "image": self._winoground_image,
            "soft_accuracy": self._answer,
        }[measure]

    def _wrong_image(self, caption: str, chosen: str) -> FailedQuery:
        text, wrong = self._text_of[caption], self._image_of[chosen]
        right = int(self._data.image_of_text[text])
        return FailedQuery(text, right, text, wrong, self._captions.closest(text, wrong), wrong, retrieval=True)

    def _wrong_caption(self, image_id: str, chosen: str) -> FailedQuery:
        image, wrong = self._image_of[image_id], self._text_of[chosen]
        true, other = self._captions.best_of(image), int(self._data.image_of_text[wrong])
        return FailedQuery(true, image, wrong, image, wrong, other, retrieval=True)

    def _negative(self, caption: str, chosen: str) -> FailedQuery:
        true, wrong = self._text_of[caption], self._text_of[chosen]
        return _wrong_text(true, int(self._data.image_of_text[true]), wrong)

    def _choice(self, item_id: str, chosen: str) -> FailedQuery:
        return _wrong_text(self._item_texts(item_id)[0], self._item_images(item_id)[0], self._text_of[chosen])

    def _answer(self, question: str, chosen: str) -> FailedQuery:
        row = self._questions[question]
        good = [soft_accuracy(candidate, row["answers"]) for candidate in row["candidates"]]
        names = [text_id(question, place) for place in range(len(good))]
        best = self._text_of[names[int(np.argmax(good))]]
        query = _wrong_text(best, self._image_of[row["image_id"]], self._text_of[chosen])
        return replace(query, human=good[names.index(chosen)])

    def _winoground_text(self, item_id: str, chosen: str) -> FailedQuery:
        texts = self._item_texts(item_id)
        number = texts.index(self._text_of[chosen])
        return _wrong_text(texts[1 - number], self._item_images(item_id)[1 - number], texts[number])

    def _winoground_image(self, item_id: str, chosen: str) -> FailedQuery:
        texts, images = self._item_texts(item_id), self._item_images(item_id)
        number = images.index(self._image_of[chosen])
        text, wrong = texts[1 - number], images[number]
        own = texts[number]
        return FailedQuery(text, images[1 - number], text, wrong, own, wrong, rival_own_text=own)

    def _item_texts(self, item_id: str) -> list[int]:
        return [self._text_of[text_id(item_id, j)] for j in range(len(self._items[item_id]["texts"]))]

    def _item_images(self, item_id: str) -> list[int]:
        return [self._image_of[name] for name in self._items[item_id]["images"]]


def _wrong_text(true: int, image: int, wrong: int) -> FailedQuery:
    """A text written to be wrong won over one that is true of the image."""
    return FailedQuery(true, image, wrong, image, wrong, image, rival_own_text=true)


class Captions:
    """The true captions of every image, and how a text agrees with them."""

    def __init__(self, data: SplitData) -> None:
        self._data = data
        self._contents = data.texts["text"].to_numpy(object)
        self._of_image: dict[int, list[int]] = {}
        for caption, image in zip(data.captions.tolist(), data.image_of_text[data.captions].tolist(), strict=True):
            self._of_image.setdefault(image, []).append(caption)
        self._words: dict[int, tuple[str, ...]] = {}

    def words(self, text: int) -> tuple[str, ...]:
        """Words of a text, lower case, without punctuation."""
        if text not in self._words:
            self._words[text] = tuple(_WORD.findall(self._contents[text].lower()))
        return self._words[text]

    def words_of(self, image: int, extra: int) -> list[tuple[str, ...]]:
        """Words of every true caption of an image, and of one more text that is true of it (-1 for none)."""
        captions = self._of_image.get(image, []) + ([extra] if extra >= 0 else [])
        return [self.words(caption) for caption in captions]

    def closest(self, text: int, image: int) -> int:
        """The caption of an image that is closest to a text; -1 when it has none."""
        captions = self._of_image.get(image, [])
        if not captions:
            return -1
        return captions[int((self._data.text_pooled[captions] @ self._data.text_pooled[text]).argmax())]

    def best_of(self, image: int) -> int:
        """The caption of an image that the frozen backbone ranks first."""
        captions = self._of_image[image]
        return captions[int((self._data.text_pooled[captions] @ self._data.image_pooled[image]).argmax())]

    def agreement(self, texts: Int[Tensor, "pair"], images: Int[Tensor, "pair"]) -> Float[np.ndarray, "pair"]:
        """Mean cosine of texts with the captions of images, aligned; nan for an image without captions."""
        total, count = caption_sums(self._data)
        mean = total / count[:, None]
        return (self._data.text_pooled[texts].double() * mean[images]).sum(dim=1).numpy()


def caption_sums(data: SplitData) -> tuple[Float[Tensor, "image dim"], Float[Tensor, "image"]]:
    """Sum of the caption embeddings of every image, and their number."""
    image = data.image_of_text[data.captions]
    total = torch.zeros(len(data.image_ids), data.text_pooled.shape[1], dtype=torch.float64)
    total.index_add_(0, image, data.text_pooled[data.captions].double())
    return total, torch.bincount(image, minlength=len(data.image_ids)).double()
