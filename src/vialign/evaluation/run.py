"""Runs every benchmark of a split for one method, in bounded memory, through the `Objective` protocol."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vialign.errors import UserError
from vialign.evaluation.choices import choice_outcomes
from vialign.evaluation.outcomes import NotFinite, item_rows
from vialign.evaluation.ranks import RankCounter
from vialign.evaluation.rerank import Ranking, ranking_agreement, rerank_retrieval
from vialign.evaluation.retrieval import retrieval_outcomes, retrieval_ranks
from vialign.evaluation.vqa import vqa_outcomes
from vialign.files.mapped import gathered
from vialign.methods.objective import Objective, Side, SplitData
from vialign.progress import track_blocks
from vialign.random import generator
from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.evaluation import OUTCOMES, RERANKING

_TEXT_FACTOR = 4
"""Texts of a block for every image: pair tensors of a method grow with images times texts times prototypes."""
_CELLS = 1 << 21
"""Scores of a block of images with all captions, at most; with more captions the block has fewer images."""


def evaluate(
    objective: Objective,
    data: SplitData,
    choices: pd.DataFrame,
    questions: pd.DataFrame,
    split: str,
    method: str,
    seed: int,
    batch: int = 256,
    rerank: int | None = None,
    ranks: list[pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """OUTCOMES of one trained method on one split: retrieval, negatives, choices (CHOICES) and VQA (QUESTIONS).

    Rows of `choices` and `questions` that belong to other splits are left out. `batch` is the number of images of a
    block. With `rerank`, only so many candidates of a retrieval query, the best by the frozen cosine, are scored by the
    method (`reranking_table` says what that costs). To `ranks` the RANKS of the split are added, where it has captions
    and the whole gallery was scored by the method. Memory does not grow with the split but for its tables: both sides
    of the gallery lie in temporary files (`vialign.files.mapped`), a block of scores has at most two million, and a
    method that corrects features by pair takes what it needs for `batch` images with 4 `batch` texts.
    Raises UserError when a choice or question names an image or text that the split's features lack.
    """
    choices = choices[choices["split"] == split].reset_index(drop=True)
    questions = questions[questions["split"] == split].reset_index(drop=True)
    with _evaluation_mode(objective):
        sides = _Sides(objective, data, batch)
        counter = _rank_counter(sides) if ranks is not None and rerank is None else None
        frames = [
            _retrieval(sides, rerank, counter),
            _negatives(sides),
            choice_outcomes(choices, sides.pair_scores, sides.text_scores),
            vqa_outcomes(questions, sides.pair_scores),
        ]
    if ranks is not None and counter is not None:
        ranks.append(counter.rows(split, method, seed))
    return _finish(frames, split, method, seed)


def core_outcomes(
    objective: Objective, data: SplitData, method: str, seed: int, split: str, batch: int = 256
) -> pd.DataFrame:
    """OUTCOMES of retrieval and of rule-made negatives alone: what every split has of itself."""
    with _evaluation_mode(objective):
        sides = _Sides(objective, data, batch)
        frames = [_retrieval(sides, None), _negatives(sides)]
    return _finish(frames, split, method, seed)


def negatives_by_kind(
    objective: Objective, data: SplitData, method: str, seed: int, batch: int = 256, split: str = "selection"
) -> pd.DataFrame:
    """OUTCOMES of the rule-made negatives of one kind at a time, as `<split>/negatives/<kind>`."""
    kinds = data.texts["kind"].to_numpy(object)
    frames = []
    with _evaluation_mode(objective):
        sides = _Sides(objective, data, batch)
        for kind in NEGATIVE_KINDS:
            own = torch.from_numpy(kinds == kind)[data.negatives.clamp_min(0)] & (data.negatives >= 0)
            sides.data = replace(data, negatives=torch.where(own, data.negatives, -1))
            found = _negatives(sides)
            if len(found):
                frames.append(found.assign(benchmark=f"negatives/{kind}"))
    return _finish(frames, split, method, seed) if frames else OUTCOMES.empty()


def score_matrix(objective: Objective, data: SplitData, batch: int = 256) -> Float[Tensor, "image caption"]:
    """Scores of every image of a split with every caption, whole: for galleries whose matrix fits into memory."""
    with _evaluation_mode(objective):
        return torch.cat(list(_Sides(objective, data, batch).blocks(data.captions)))


def reranking_table(
    objective: Objective, data: SplitData, split: str, method: str, seed: int, *, k: int, queries: int, batch: int = 256
) -> pd.DataFrame:
    """RERANKING: on how many of `queries` drawn queries a direction the first `k` give what the exact ranking gives."""
    if not len(data.captions):
        return RERANKING.empty()
    image_of_caption = data.image_of_text[data.captions]
    rng = generator(seed, "rerank", split, method)
    drawn = [
        torch.from_numpy(np.sort(rng.permutation(everything)[:queries]))
        for everything in (torch.unique(image_of_caption).numpy(), np.arange(len(data.captions)))
    ]
    with _evaluation_mode(objective):
        sides = _Sides(objective, data, batch)
        short = _reranked(sides, k, (drawn[0], drawn[1]))
        exact = _reranked(sides, max(len(data.image_ids), len(data.captions)), (drawn[0], drawn[1]))
    rows = [
        {"method": method, "seed": seed, "benchmark": f"{split}/{direction}", "k": k, "queries": len(chosen)}
        | ranking_agreement(one, other)
        for direction, chosen, one, other in zip(("image_to_text", "text_to_image"), drawn, short, exact, strict=True)
    ]
    return RERANKING.check(pd.DataFrame(rows))


@contextmanager
def _evaluation_mode(objective: Objective) -> Iterator[None]:
    """No gradients and no dropout; afterwards every part of the objective is in the mode it was in before."""
    modes = [(module, module.training) for module in objective.modules()]
    objective.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


class _Sides:
    """Both sides of a split, encoded once when first needed, and the scores that follow from them.

    What is not small lies in temporary files: a block reads its own rows, and is handed to the method on the device
    that the method gave them on.
    """

    def __init__(self, objective: Objective, data: SplitData, batch: int) -> None:
        self.objective, self.data, self.batch = objective, data, batch
        self._image_position = {name: position for position, name in enumerate(data.image_ids)}
        self._text_position = {name: position for position, name in enumerate(data.texts["text_id"])}
        self._device = torch.device("cpu")
        self._images = self._encode(objective.images, len(data.image_ids), "images")
        self._texts = self._encode(objective.texts, len(data.texts), "texts")

    def _encode(self, encode: Callable[[SplitData, Tensor], Side], count: int, name: str) -> Side:
        def encoded() -> Iterator[Side]:
            for index in track_blocks(torch.arange(count).split(self.batch), f"{self.objective.name}: {name}", count):
                side = encode(self.data, index)
                self._device = next(iter(side.values())).device
                yield side

        return gathered(encoded(), count)

    def images(self, index: Int[Tensor, "image"]) -> Side:
        """The images at these positions."""
        return {name: values[index].to(self._device) for name, values in self._images.items()}

    def texts(self, index: Int[Tensor, "text"]) -> Side:
        """The texts at these positions."""
        return {name: values[index].to(self._device) for name, values in self._texts.items()}

    def blocks(self, captions: Int[Tensor, "caption"]) -> Iterator[Float[Tensor, "block caption"]]:
        """Scores of all images with these texts, a block of images at a time: `batch`, or as many fewer as keep the
        block within `_CELLS`.
        """
        size = max(1, min(self.batch, _CELLS // max(1, len(captions))))
        every = torch.arange(len(self.data.image_ids))
        for rows in track_blocks(every.split(size), f"{self.objective.name}: gallery", len(every)):
            images = self.images(rows)
            parts = captions.split(self.batch * _TEXT_FACTOR)
            yield torch.cat([self.objective.scores(images, self.texts(part)).cpu() for part in parts], dim=1)

    def aligned(self, images: Int[Tensor, "pair"], texts: Int[Tensor, "pair"]) -> Float[np.ndarray, "pair"]:
        """Scores of aligned positions, in batches."""
        size = self.batch * _TEXT_FACTOR
        parts = [
            self.objective.pair_scores(self.images(image), self.texts(text)).double().cpu()
            for image, text in zip(images.split(size), texts.split(size), strict=True)
        ]
        return torch.cat(parts).numpy() if len(images) else np.empty(0)

    def pair_scores(self, image_ids: list[str], text_ids: list[str]) -> Float[np.ndarray, "pair"]:
        """Scores of aligned names."""
        images = self._positions(image_ids, self._image_position, "image")
        texts = self._positions(text_ids, self._text_position, "text")
        return self.aligned(images, texts)

    def text_scores(self, first: list[str], second: list[str]) -> Float[np.ndarray, "pair"]:
        """Cosines of the method's own embeddings of aligned texts: what it says of them before it sees an image."""
        pooled = self._texts.get("pooled", self.data.text_pooled)
        size = self.batch * _TEXT_FACTOR
        one, other = (self._positions(names, self._text_position, "text").split(size) for names in (first, second))
        parts = [
            (F.normalize(pooled[left], dim=-1) * F.normalize(pooled[right], dim=-1)).sum(dim=-1).double()
            for left, right in zip(one, other, strict=True)
        ]
        return torch.cat(parts).cpu().numpy()

    @staticmethod
    def _positions(names: list[str], positions: dict[str, int], what: str) -> Int[Tensor, "pair"]:
        try:
            return torch.tensor([positions[name] for name in names], dtype=torch.int64)
        except KeyError as error:
            raise UserError(
                f"choices or questions: {what} {error.args[0]} has no features in this split; delete the split's "
                "features and run again"
            ) from None


def _rank_counter(sides: _Sides) -> RankCounter | None:
    """What counts the ranks of a split; none where it has no captions."""
    captions = sides.data.captions
    if not len(captions):
        return None
    images = sides.data.image_of_text[captions]
    return RankCounter(images, torch.from_numpy(sides.aligned(images, captions)))


def _retrieval(sides: _Sides, rerank: int | None, counter: RankCounter | None = None) -> pd.DataFrame:
    data = sides.data
    if not len(data.captions):
        return pd.DataFrame()
    if rerank is None:
        blocks = sides.blocks(data.captions)
        passing = blocks if counter is None else counter.watch(blocks)
        ranks = retrieval_ranks(passing, data.image_of_text[data.captions], len(data.image_ids))
    else:
        to_text, to_image = _reranked(sides, rerank)
        ranks = to_text.ranks, to_image.ranks
    return retrieval_outcomes(*ranks, data.image_ids, data.texts.iloc[data.captions.numpy()])


def _reranked(sides: _Sides, k: int, queries: tuple[Tensor, Tensor] | None = None) -> tuple[Ranking, Ranking]:
    """(image to text, text to image): the frozen cosine is the cheap score, the method's own the exact one."""
    data = sides.data

    def exact(images: Tensor, captions: Tensor) -> Tensor:
        return torch.from_numpy(sides.aligned(images, data.captions[captions]))

    parts = ({"pooled": data.text_pooled[part]} for part in data.captions.split(sides.batch))
    return rerank_retrieval(
        data.image_pooled.cpu(),
        gathered(parts, len(data.captions))["pooled"],
        exact,
        data.image_of_text[data.captions],
        k,
        queries=queries,
    )


def _negatives(sides: _Sides) -> pd.DataFrame:
    """For every caption with rule-made negatives: the share of them that score strictly below it."""
    data = sides.data
    negatives = data.negatives[data.captions]
    row, column = (negatives >= 0).nonzero(as_tuple=True)
    if not len(row):
        return pd.DataFrame()
    captions = data.captions[row]
    images = data.image_of_text[captions]
    wrong = sides.aligned(images, negatives[row, column])
    used = torch.unique(row)
    right = sides.aligned(data.image_of_text[data.captions[used]], data.captions[used])
    scores = np.full(negatives.shape, np.nan)
    # As arrays: NumPy takes a tensor with one number for that number.
    scores[row.numpy(), column.numpy()] = wrong
    scores = scores[used.numpy()]
    if not (np.isfinite(right).all() and np.isfinite(wrong).all()):
        raise NotFinite("scores of captions and their negatives are not finite")
    present = ~np.isnan(scores)
    beaten = ((scores < right[:, None]) & present).sum(axis=1)
    tied = (scores == right[:, None]).any(axis=1)
    strongest = torch.as_tensor(np.nanargmax(scores, axis=1))
    text_ids, image_ids = data.texts["text_id"].to_numpy(object), data.texts["image_id"].to_numpy(object)
    names = data.captions[used].numpy()
    return item_rows(
        benchmark="negatives",
        item_id=text_ids[names].tolist(),
        measure="accuracy",
        value=beaten / present.sum(axis=1),
        tie=tied,
        chosen=text_ids[negatives[used, strongest].numpy()].tolist(),
        image_id=image_ids[names].tolist(),
    )


def _finish(frames: list[pd.DataFrame], split: str, method: str, seed: int) -> pd.DataFrame:
    outcomes = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    outcomes["benchmark"] = split + "/" + outcomes["benchmark"].astype(str)
    outcomes["method"] = method
    outcomes["seed"] = seed
    return OUTCOMES.check(outcomes)
