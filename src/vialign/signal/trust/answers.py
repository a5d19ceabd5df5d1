"""The top answers of a split's queries, in both directions of retrieval, with every predictor of their being wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.config.signal import SignalConfig
from vialign.errors import UserError
from vialign.progress import track_blocks
from vialign.random import generator
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import SplitFeatures, positions
from vialign.signal.score import agreement, consistency, match_entropy
from vialign.signal.trust.gallery import all_local
from vialign.signal.trust.predictors import local_ranking, log_odds, log_total, simple_confidences, top_answers
from vialign.tables.signal import TRUST_DIRECTIONS

SHUFFLED = "shuffled"
"""The control: the local ranking of another query's answer."""
LOCAL = {"with geometry": True, "without geometry": False}
"""Ways to look locally, and whether relation phrases are matched with the geometry of their arguments."""
_GLOBAL = "global"
_ELEMENTS = 1 << 24
"""Numbers that the matches of one block of queries may take."""
_GALLERY = 8192
"""Items of the side that is searched whose prototypes or phrases are in memory at a time."""


@dataclass(frozen=True)
class Answers:
    """Top answers of the queries of one direction."""

    wrong: Bool[np.ndarray, "query"]
    images: Int[np.ndarray, "query"]
    """Image of each query, from 0: queries of one image are resampled together."""
    simple: pd.DataFrame
    """Columns `TRUST_SIMPLE` and `return_odds`."""
    local: Mapping[str, pd.DataFrame]
    """By the way of looking: columns `TRUST_SIGNALS`, `TRUST_RANKING` and `fused_return`. Empty where there is no local
    part."""


def gallery_answers(
    features: SplitFeatures,
    texts: pd.DataFrame,
    calibration: SignalCalibration,
    config: SignalConfig,
    scale: float,
    ways: Mapping[str, bool] = LOCAL,
) -> dict[str, Answers]:
    """Answers of the frozen backbone, by direction; none where fewer than two images have a caption.

    `texts` has the columns of `TEXTS`; only its captions take part, and images without one are in the gallery but no
    queries. The captions of one image say the same and are one candidate, with the best of their scores and the sum of
    their shares of a softmax: otherwise the second of two right captions would count as a rival of the first.

    `scale` is the backbone's logit scale. `fused_odds` are the log-odds of the answer under the softmax of
    `scale` times the sum of both raw similarities; `return_odds` and `fused_return` those of the query when its answer
    searches all queries, by the global scores and by the sum. Blocks of queries meet the whole gallery, so the matrices
    of scores are never held whole. Raises UserError when there are no captions.
    """
    captions = texts[texts["kind"] == "caption"]
    if captions.empty:
        raise UserError("trust: the split has no captions, so there are no queries; check captions.parquet")
    rows = positions(captions["text_id"], features.text_ids, "text")
    owner = positions(captions["image_id"], features.image_ids, "image")
    if len(torch.unique(owner)) < 2:
        return {}
    sides = _Sides(features, rows, owner, calibration, config, scale, ways)
    looks = {direction: sides.look(direction) for direction in TRUST_DIRECTIONS}
    asked = {"image_to_text": torch.unique(owner).numpy(), "text_to_image": np.arange(len(rows))}
    owners = {"image_to_text": np.arange(len(features.image_ids)), "text_to_image": owner.numpy()}
    other = dict(zip(TRUST_DIRECTIONS, reversed(TRUST_DIRECTIONS), strict=True))
    return {
        direction: _answers(looks[direction], looks[other[direction]], asked[direction], owners[direction])
        for direction in TRUST_DIRECTIONS
    }


def with_control(answers: Answers, seed: int) -> pd.DataFrame:
    """The local predictors of the first way of looking, with the rows exchanged at random: they must tell nothing."""
    frame = next(iter(answers.local.values()))
    order = generator(seed, "shuffled trust", len(frame)).permutation(len(frame))
    return frame.iloc[order].reset_index(drop=True)


@dataclass(frozen=True)
class _Look:
    """What every item of one side sees when it searches the other one."""

    answer: Int[np.ndarray, "item"]
    """Item of the other side."""
    wrong: Bool[np.ndarray, "item"]
    simple: pd.DataFrame
    local: Mapping[str, pd.DataFrame]
    totals: pd.DataFrame
    """Logarithm of the softmax's sum by the global scores (column `global`) and by the sum of both, a column a way."""
    logits: pd.DataFrame
    """The answer's own logit in it."""


def _answers(look: _Look, back: _Look, asked: Int[np.ndarray, "query"], owners: Int[np.ndarray, "item"]) -> Answers:
    """The items that are queries, each with the odds that its answer leads back to it."""
    odds = {
        name: log_odds(look.logits[name].to_numpy(), back.totals[name].to_numpy()[look.answer])[asked]
        for name in look.logits
    }
    simple = look.simple.iloc[asked].reset_index(drop=True)
    local = {way: frame.iloc[asked].reset_index(drop=True) for way, frame in look.local.items()}
    return Answers(
        wrong=look.wrong[asked],
        images=pd.factorize(owners[asked])[0].astype(np.int64),
        simple=simple.assign(return_odds=odds[_GLOBAL]),
        local={way: frame.assign(fused_return=odds[way]) for way, frame in local.items()},
    )


@dataclass(frozen=True)
class _Sides:
    features: SplitFeatures
    rows: Int[Tensor, "caption"]
    owner: Int[Tensor, "caption"]
    calibration: SignalCalibration
    config: SignalConfig
    scale: float
    ways: Mapping[str, bool]

    def look(self, direction: str) -> _Look:
        """Every item of one side searches the other one, block by block."""
        to_image = direction == "text_to_image"
        queries = torch.arange(len(self.rows if to_image else self.features.image_ids))
        blocks = track_blocks(
            queries.split(self._block(to_image)), f"trust: {direction.replace('_', ' ')}", len(queries)
        )
        parts = [self._part(block, to_image) for block in blocks]
        return _Look(
            answer=np.concatenate([part.answer for part in parts]),
            wrong=np.concatenate([part.wrong for part in parts]),
            simple=_stacked([part.simple for part in parts]),
            local={way: _stacked([part.local[way] for part in parts]) for way in self.ways},
            totals=_stacked([part.totals for part in parts]),
            logits=_stacked([part.logits for part in parts]),
        )

    @torch.no_grad()
    def _part(self, queries: Int[Tensor, "query"], to_image: bool) -> _Look:
        every = torch.arange(len(self.features.image_ids))
        texts = self.rows[queries] if to_image else self.rows
        images = every if to_image else queries
        searched = self._searched(images, texts, to_image)
        if not to_image:
            searched = {name: values.T for name, values in searched.items()}
        scores = searched[_GLOBAL]
        fused = {name: scores if name == _GLOBAL else scores + values for name, values in searched.items()}
        candidates = self._best(scores, to_image)
        right = self.owner[queries][:, None] == every if to_image else queries[:, None] == torch.unique(self.owner)
        answer, wrong = top_answers(candidates.numpy(), right.numpy())
        # Of the candidate's captions, the one that made it the answer.
        best = torch.from_numpy(answer)[:, None]
        item = best[:, 0] if to_image else scores.masked_fill(self._group() != best, -torch.inf).argmax(dim=1)
        pair = (images[item], texts) if to_image else (images, texts[item])
        s_global = scores.gather(1, item[:, None])[:, 0].double()
        logits = {name: self.scale * values.double() for name, values in fused.items()}
        own = {name: values.gather(1, item[:, None])[:, 0].numpy() for name, values in logits.items()}
        local = {}
        for way in self.ways:
            mass = self._mass(logits[way], to_image)
            odds = log_odds(mass.gather(1, best)[:, 0].numpy(), log_total(mass.numpy()))
            signals = self._signals(*pair, s_global, searched[way].gather(1, item[:, None])[:, 0].double())
            ranking = local_ranking(self._best(searched[way], to_image).numpy(), answer)
            local[way] = pd.concat([signals, ranking], axis=1).assign(fused_odds=odds)
        return _Look(
            answer=item.numpy(),
            wrong=wrong,
            simple=simple_confidences(candidates.numpy(), self._mass(logits[_GLOBAL], to_image).numpy(), answer),
            local=local,
            totals=pd.DataFrame({name: log_total(values.numpy()) for name, values in logits.items()}),
            logits=pd.DataFrame(own),
        )

    def _searched(self, images: Tensor, texts: Tensor, to_image: bool) -> dict[str, Float[Tensor, "text image"]]:
        """S_global of all pairs, and S_local by the way of looking; of the side that is searched, `_GALLERY` items are
        in memory at a time.
        """
        features, found = self.features, {name: list[Tensor]() for name in (_GLOBAL, *self.ways)}
        for part in (images if to_image else texts).split(_GALLERY):
            seen, said = (part, texts) if to_image else (images, part)
            prototypes, phrases = features.prototypes.index(seen), features.phrases.index(said)
            found[_GLOBAL].append(features.text_pooled[said] @ features.image_pooled[seen].T)
            for way, geometry in self.ways.items():
                found[way].append(all_local(prototypes, phrases, geometry=geometry))
        return {name: torch.cat(parts, dim=1 if to_image else 0) for name, parts in found.items()}

    def _group(self) -> Int[Tensor, "caption"]:
        """Number of each caption's image among the images that have one."""
        return torch.unique(self.owner, return_inverse=True)[1]

    def _best(self, values: Float[Tensor, "query item"], to_image: bool) -> Float[Tensor, "query candidate"]:
        """The best value of each candidate: an image, or the captions of one image together."""
        if to_image:
            return values
        group = self._group()
        pooled = values.new_full((len(values), int(group.max()) + 1), -torch.inf)
        return pooled.scatter_reduce(1, group.expand_as(values), values, "amax")

    def _mass(self, logits: Float[Tensor, "query item"], to_image: bool) -> Float[Tensor, "query candidate"]:
        """The logarithm of each candidate's share of the softmax, up to the sum of all."""
        if to_image:
            return logits
        group, largest = self._group(), logits.amax(dim=1, keepdim=True)
        shares = logits.new_zeros(len(logits), int(group.max()) + 1)
        shares = shares.scatter_add(1, group.expand_as(logits), (logits - largest).exp())
        return shares.clamp_min(torch.finfo(logits.dtype).tiny).log() + largest

    def _signals(
        self, images: Tensor, texts: Tensor, s_global: Float[Tensor, "query"], s_local: Float[Tensor, "query"]
    ) -> pd.DataFrame:
        """C, agreement and H_local of every answer's pair."""
        prototypes, phrases = self.features.prototypes.index(images), self.features.phrases.index(texts)
        mapped = self.calibration.s_global.torch(s_global), self.calibration.s_local.torch(s_local)
        sides = prototypes.features, phrases.features, phrases.weight
        entropy = match_entropy(*sides, self.config.temperature, prototypes.mass)
        columns = {"consistency": consistency(*mapped), "agreement": agreement(*mapped), "local_entropy": entropy}
        return pd.DataFrame({name: column.double().numpy() for name, column in columns.items()})

    def _block(self, to_image: bool) -> int:
        """Queries whose matches with the whole gallery take at most `_ELEMENTS` numbers."""
        prototypes, units = self.features.prototypes.features.shape[1], self.features.phrases.features.shape[1]
        gallery = len(self.features.image_ids) if to_image else len(self.rows)
        return max(1, _ELEMENTS // (gallery * prototypes * units))


def _stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)
