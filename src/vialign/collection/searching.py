"""Searching an index: an exact first stage over all embeddings, a corrected second look at the best, trust in each."""

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vialign.aligner.aligner import Aligner
from vialign.aligner.ranking import Trust, trust_of
from vialign.aligner.sides import reads_units, side_of, split_data
from vialign.analysis.explain import Match, phrase_finds, read_phrases
from vialign.collection.pinning import check_units, open_aligner, units_digest
from vialign.collection.store import SHARDS, Embedded, picture_file, read_head, read_pictures, read_shard
from vialign.disentangle import Phrases, Prototypes
from vialign.errors import UserError, reading
from vialign.progress import track
from vialign.signal.calibration import SignalCalibration
from vialign.signal.score import agreement
from vialign.signal.trust.gallery import all_local
from vialign.toolkit.captions import tell_cut

CANDIDATES = 100
"""Pictures of the first stage that the method looks at again."""
MANY = 100_000
"""Pictures from which on FAISS searches, where it is installed."""


@dataclass(frozen=True)
class Hit:
    """One picture that was found."""

    picture: int
    """Its row in PICTURES."""
    path: str
    content: str
    score: float
    """By which it was ranked: the cosine, or the method's score of the second look."""
    local_rank: int | None
    """Pictures of the whole collection that the local look puts before it; None without units."""
    agreement: float | None
    """Chance by the calibration that both looks call the pair aligned; None without units."""
    matches: tuple[Match, ...] = ()
    """What each phrase found, and where."""


@dataclass(frozen=True)
class Answer:
    """What a search found."""

    words: str
    hits: tuple[Hit, ...]
    trust: Trust | None
    """In the first of them; how likely it is right only where the trained method ranked them."""
    reranked: bool


class Collection:
    """An index in memory, with its model; opened once, searched often.

    Holds all embeddings, and for the second look and the local one all prototypes in half precision. Raises UserError
    where the index is damaged, or its model is not the one that it was made with.
    """

    def __init__(self, folder: str | Path, device: str = "cpu", aligner: Aligner | None = None) -> None:
        self.folder = Path(folder)
        self.head = read_head(self.folder)
        self.pictures = read_pictures(self.folder)
        if self.pictures.empty:
            raise UserError(f"{folder}: holds no picture yet; let `vialign index` end")
        self.aligner = open_aligner(self.head, device) if aligner is None else aligner
        if self.aligner.backbone.contract != self.head.contract:
            raise UserError(f"{folder}: was made with another backbone; make the index again")
        with reading(self.folder, "make the index again"):
            self.pooled, self.units = self._read()
        if self.units is not None or self.head.units_digest is not None:
            check_units(self.head, units_digest(self.aligner), self.folder)

    def __len__(self) -> int:
        return len(self.pictures)

    def file(self, picture: int) -> Path | None:
        """The file of a picture, if it still lies in the folder and is no link."""
        return picture_file(Path(self.head.pictures), str(self.pictures["path"].iloc[picture]))

    def search(self, words: str, top: int = 20, rerank: bool = False, matches: bool = True) -> Answer:
        """The best pictures for some words, best first.

        With `rerank` the method of an exported folder scores the first `CANDIDATES` again. Where it reads prototypes,
        its score may differ by some thousandths from the one that it gives the file itself: an index holds them in half
        precision. Words beyond the model's context are told on stderr. Raises UserError for words without a token.

        How likely the first is right is said where the method's own scores rank: with `rerank`, or where the method is
        the frozen one. On such scores the rule was fitted; with `rerank` what it reads comes from the candidates alone.
        """
        words = " ".join(words.split())
        if not words:
            raise UserError('search: no words given; write some in quotes, such as "a dog on a sofa"')
        with torch.no_grad():
            text, phrases, named = self._read_words(words)
            scores = self._scores(text)
            rerank = rerank and self.aligner.method.name != "frozen"
            order = self._best(text, scores, max(top, CANDIDATES if rerank else 2))
            local = None if self.units is None else self._local(phrases)
            judged = scores[order]
            if rerank:
                judged = self._again(words, order)
                better = judged.argsort(descending=True, stable=True)
                order, judged = order[better], judged[better]
            trust = self._trust(judged, order, local) if rerank else self._trust(scores, None, local)
            hits = tuple(
                self._hit(int(row), float(score), scores, local, phrases if matches else None, named)
                for row, score in zip(order[:top], judged[:top], strict=True)
            )
        return Answer(words, hits, trust, rerank)

    def _read(self) -> tuple[Float[Tensor, "picture dim"], Prototypes | None]:
        """Embeddings and units of the pictures, in the order of the table."""
        shards: dict[str, Embedded] = {}
        starts: dict[str, int] = {}
        total = 0
        for name in track(dict.fromkeys(self.pictures["shard"]), "read the index"):
            shards[name] = read_shard(self.folder / SHARDS / name)
            starts[name] = total
            total += len(shards[name].pooled)
        rows = self.pictures["row"].to_numpy() + self.pictures["shard"].map(starts).to_numpy()
        index = torch.from_numpy(rows.astype(np.int64))
        units = [shard.prototypes for shard in shards.values() if shard.prototypes is not None]
        pooled = torch.cat([shard.pooled for shard in shards.values()])
        fits = pooled.shape[1:] == (self.head.dimension,) and len(units) in (0, len(shards))
        if not fits or bool((index >= total).any()):
            raise UserError(f"{self.folder}: its shards do not fit its table; make the index again")
        return pooled[index], Prototypes.concatenate(units).index(index) if units else None

    def _read_words(self, words: str) -> tuple[Float[Tensor, "dim"], Phrases | None, list[str]]:
        """Embedding and phrases of the words, and the words of each phrase."""
        signal = self.aligner.signal
        if signal is None or self.units is None:
            tokens = self.aligner.backbone.tokenize([words])
            if not bool(tokens.mask.any()):
                raise UserError(f"search: {words!r} has no word that the model reads; write others")
            tell_cut("search: the words", bool(tokens.cut[0]))
            return self.aligner.backbone.encode_text(tokens.ids.to(self.aligner.device))[0].float().cpu(), None, []
        phrases, named, _, read = read_phrases(signal.encoder, [words], ["words"])
        tell_cut("search: the words", read.cut[0])
        return read.pooled[0], phrases, named[0]

    def _scores(self, text: Float[Tensor, "dim"]) -> Float[Tensor, "picture"]:
        return self.pooled @ text

    def _best(self, text: Float[Tensor, "dim"], scores: Float[Tensor, "picture"], count: int) -> Tensor:
        """Rows of the best pictures, best first; ties in the order of the table."""
        if self._faiss is not None:
            _, found = self._faiss.search(text[None].numpy(), min(count, len(self)))
            return torch.from_numpy(found[0])
        return scores.argsort(descending=True, stable=True)[:count]

    @cached_property
    def _faiss(self) -> Any:
        """An exact inner-product index, from `MANY` pictures on and where the library is installed."""
        if len(self) < MANY or find_spec("faiss") is None:
            return None
        import faiss

        index = faiss.IndexFlatIP(self.pooled.shape[1])
        index.add(self.pooled.numpy())
        return index

    def _local(self, phrases: Phrases | None) -> Float[Tensor, "picture"]:
        assert self.units is not None and phrases is not None
        return all_local(self.units, phrases)[0]

    def _again(self, words: str, rows: Tensor) -> Float[Tensor, "candidate"]:
        """The method's own scores of some pictures: from the index where it reads what lies there, else from files."""
        method, aligner = self.aligner.method, self.aligner
        if reads_units(method):
            assert self.units is not None
            units = self.units.index(rows).to(aligner.device)
            data = split_data(aligner.backbone, image_pooled=self.pooled[rows].to(aligner.device), prototypes=units)
            side = side_of(method.images, data, len(rows), len(rows))
        elif method.needs.isdisjoint({"pixels", "trunk", "patches"}):
            data = split_data(aligner.backbone, image_pooled=self.pooled[rows].to(aligner.device))
            side = side_of(method.images, data, len(rows), len(rows))
        else:
            files = [self.file(row) for row in rows.tolist()]
            gone = next((row for row, file in zip(rows.tolist(), files, strict=True) if file is None), None)
            if gone is not None:
                name = self.pictures["path"].iloc[gone]
                raise UserError(f"{name}: is no longer there, or cannot be read; run `vialign index` again")
            side = aligner.image_side([file for file in files if file is not None])
        return aligner.scores(side, aligner.text_side([words]))[:, 0]

    def _trust(
        self, scores: Float[Tensor, "picture"], rows: Tensor | None, local: Float[Tensor, "picture"] | None
    ) -> Trust | None:
        """Trust in the first answer, among all pictures or among those of the second look.

        The rule was fitted on the method's scores, which those of the first stage are for the frozen method alone.
        """
        own = local if local is None or rows is None else local[rows]
        aligner = self.aligner
        rule = aligner.trust if rows is not None or aligner.method.name == "frozen" else None
        values = None if own is None else own.double().numpy()
        return trust_of(scores.double().numpy(), aligner.backbone.logit_scale, values, rule)

    def _hit(
        self,
        row: int,
        score: float,
        scores: Float[Tensor, "picture"],
        local: Float[Tensor, "picture"] | None,
        phrases: Phrases | None,
        named: list[str],
    ) -> Hit:
        known = self.pictures.iloc[row]
        rank = agreed = None
        matches: tuple[Match, ...] = ()
        if local is not None and self.units is not None and self.aligner.signal is not None:
            rank = int((local > local[row]).sum())
            maps = SignalCalibration.from_table(self.aligner.signal.calibration)
            agreed = float(agreement(maps.s_global.torch(scores[row]), maps.s_local.torch(local[row])))
            if phrases is not None:
                own = self.units.index(slice(row, row + 1))
                matches = phrase_finds(own, phrases, named, self.aligner.backbone.grid)
        return Hit(row, str(known["path"]), str(known["content"]), score, rank, agreed, matches)


def hits_table(answer: Answer) -> pd.DataFrame:
    """The hits of an answer, a row each."""
    rows = [
        {
            "rank": place,
            "path": hit.path,
            "score": hit.score,
            "local_rank": hit.local_rank,
            "agreement": hit.agreement,
            "phrases": ", ".join(match.words for match in hit.matches),
        }
        for place, hit in enumerate(answer.hits, start=1)
    ]
    return pd.DataFrame(rows, columns=["rank", "path", "score", "local_rank", "agreement", "phrases"])
