"""Adversarial captions: a few words replaced so that a wrong caption looks right (HotFlip).

The first-order change of the cosine, by its gradient in the token embeddings, proposes replacements; the true cosine
of the new text decides (Ebrahimi et al. 2018, arXiv:1712.06751). Only nouns and adjectives are replaced, and only by
words that no caption of the image uses: what was wrong of the image stays wrong. A verb or preposition that no caption
uses may well hold, so those stay.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from vialign.data.treebanks.penn import NOUNS
from vialign.language.lexicon import canonical
from vialign.language.negatives import replace_spans
from vialign.language.units import RELATIONAL_NOUNS
from vialign.progress import track

if TYPE_CHECKING:
    from spacy.tokens import Doc

    from vialign.backbone import Backbone

REPLACED = NOUNS | {"JJ"}
"""Part-of-speech tags (Penn) of words that are replaced; comparatives are relations."""
_BATCH = 512


class Slot(NamedTuple):
    """A word of a text that may be replaced."""

    span: tuple[int, int]
    """Its characters."""
    token: int
    """Its first token."""
    tokens: int
    """How many tokens it is."""
    tag: str

    @property
    def pool(self) -> tuple[str, int]:
        """Which words can stand in its place."""
        return self.tag, self.tokens


@dataclass(frozen=True)
class Pool:
    """Words that can stand in each other's place: of one part of speech and one number of tokens."""

    words: tuple[str, ...]
    embeddings: Float[Tensor, "word token width"]
    """Of their tokens, as the text tower takes them in."""


Pools = dict[tuple[str, int], Pool]
"""Pools by part-of-speech tag and number of tokens."""


class _Flip(NamedTuple):
    """One replacement of one text, and how much it should raise the cosine to first order."""

    row: int
    slot: Slot
    word: str
    gain: float


def word_pools(captions: Iterable["Doc"], backbone: "Backbone") -> Pools:
    """All nouns and adjectives of tagged captions, in lower case; a word has the tag that it mostly has."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for doc in captions:
        for token in doc:
            seen[token.lower_][token.tag_] += 1
    tags = {word: counts.most_common(1)[0][0] for word, counts in sorted(seen.items()) if _is_replaceable(word)}
    words = [word for word, tag in tags.items() if tag in REPLACED]
    if not words:
        return {}
    tokens = backbone.tokenize(words)
    rows: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row, (word, length) in enumerate(zip(words, tokens.mask.sum(dim=1).tolist(), strict=True)):
        rows[tags[word], length].append(row)
    pools = {}
    for key, members in rows.items():
        ids = torch.stack([tokens.ids[row][tokens.mask[row]] for row in members])
        pools[key] = Pool(tuple(words[row] for row in members), backbone.token_embeddings(ids.to(backbone.device)))
    return pools


def find_slots(doc: "Doc", offsets: Int[Tensor, "token 2"], pools: Pools) -> list[Slot]:
    """The words of a tagged text that have a pool and are whole tokens; `offsets` are those of its `Tokens`."""
    begins, ends = offsets.unbind(dim=1)
    found = []
    for word in doc:
        start, end = word.idx, word.idx + len(word.text)
        own = torch.nonzero((begins >= start) & (ends <= end) & (ends > begins)).flatten().tolist()
        slot = Slot((start, end), own[0] if own else -1, len(own), word.tag_)
        whole = bool(own) and int(begins[own[0]]) == start and int(ends[own[-1]]) == end
        if whole and slot.pool in pools and _is_replaceable(word.lower_):
            found.append(slot)
    return found


def forms(words: Iterable[str]) -> frozenset[str]:
    """What a word counts as when words are compared: itself and its singular, with one name for all synonyms."""
    variants = {form for word in words for form in (word, word.removesuffix("s"), word.removesuffix("es"))}
    return frozenset("".join(canonical(form.lower())) for form in variants)


def substitute_words(
    texts: Sequence[str],
    images: Float[Tensor, "text dim"],
    slots: Sequence[Sequence[Slot]],
    forbidden: Sequence[frozenset[str]],
    pools: Pools,
    backbone: "Backbone",
    *,
    words: int,
    tries: int = 4,
) -> list[list[str]]:
    """The texts with up to 1, 2, ... `words` words replaced so that the cosine with their images rises.

    `images` are unit embeddings, one a text; `slots` the words that may be replaced; a word with one of its `forms`
    among the `forbidden` of a text does not come in. One word after the other: the `tries` replacements of the largest
    first-order gain are scored as texts, and the best of them is kept where it raises the cosine. A word is replaced
    once at most. Deterministic.
    """
    images = images.to(backbone.device)
    flips: list[dict[Slot, str]] = [{} for _ in texts]
    current = list(texts)
    reached, lengths = _cosines(current, images, backbone)
    results = []
    for _ in track(range(words), "word substitution"):
        free = [[slot for slot in own if slot not in used] for own, used in zip(slots, flips, strict=True)]
        proposed = _propose(current, images, free, forbidden, pools, backbone, tries)
        rows = [flip.row for flip in proposed]
        made = [_replaced(texts[flip.row], flips[flip.row] | {flip.slot: flip.word}) for flip in proposed]
        cosines, made_lengths = _cosines(made, images[rows], backbone)
        # Where an article changed its number of tokens, the slots would no longer lie where they were.
        cosines = torch.where(made_lengths == lengths[rows], cosines, -torch.inf)
        best = {rows[number]: number for number in cosines.argsort(stable=True).tolist()}
        for row, number in best.items():
            if cosines[number] > reached[row]:
                reached[row], current[row] = cosines[number], made[number]
                flips[row][proposed[number].slot] = proposed[number].word
        results.append(list(current))
    return results


def _replaced(text: str, flips: dict[Slot, str]) -> str:
    return replace_spans(text, {slot.span: word for slot, word in flips.items()})


def _propose(
    texts: Sequence[str],
    images: Float[Tensor, "text dim"],
    slots: Sequence[Sequence[Slot]],
    forbidden: Sequence[frozenset[str]],
    pools: Pools,
    backbone: "Backbone",
    tries: int,
) -> list[_Flip]:
    """For each text the `tries` flips of largest first-order gain."""
    proposed = []
    allowed: dict[tuple[frozenset[str], tuple[str, int]], Tensor] = {}
    names = {key: [forms([word]) for word in pool.words] for key, pool in pools.items()}
    for start in range(0, len(texts), _BATCH):
        rows = range(start, min(start + _BATCH, len(texts)))
        embeddings, gradient = _gradient([texts[row] for row in rows], images[start : start + _BATCH], backbone)
        grouped: dict[tuple[str, int], list[tuple[int, Slot]]] = defaultdict(list)
        for row in rows:
            for slot in slots[row]:
                grouped[slot.pool].append((row, slot))
        for key, members in grouped.items():
            place = torch.tensor([row - start for row, _ in members])[:, None]
            token = torch.tensor([slot.token for _, slot in members])[:, None] + torch.arange(key[1])
            slope, own = gradient[place, token], embeddings[place, token]
            gains = einsum(slope, pools[key].embeddings, "s t w, v t w -> s v") - (slope * own).sum(dim=(1, 2))[:, None]
            for row, _ in members:
                if (forbidden[row], key) not in allowed:
                    free = [form.isdisjoint(forbidden[row]) for form in names[key]]
                    allowed[forbidden[row], key] = torch.tensor(free)
            mask = torch.stack([allowed[forbidden[row], key] for row, _ in members]).to(gains.device)
            values, found = gains.masked_fill(~mask, -torch.inf).topk(min(tries, gains.shape[1]), dim=1)
            proposed += [
                _Flip(row, slot, pools[key].words[word], gain)
                for (row, slot), top, best in zip(members, found.tolist(), values.tolist(), strict=True)
                for word, gain in zip(top, best, strict=True)
                if gain > -torch.inf
            ]
    return _strongest(proposed, tries)


def _strongest(flips: Sequence[_Flip], tries: int) -> list[_Flip]:
    by_row: dict[int, list[_Flip]] = defaultdict(list)
    for flip in sorted(flips, key=lambda flip: -flip.gain):
        if len(by_row[flip.row]) < tries:
            by_row[flip.row].append(flip)
    return [flip for row in sorted(by_row) for flip in by_row[row]]


def _gradient(texts: list[str], images: Float[Tensor, "text dim"], backbone: "Backbone") -> tuple[Tensor, Tensor]:
    """Token embeddings of the texts, and the gradient of their cosines with the images in them."""
    ids = backbone.tokenize(texts).ids.to(backbone.device)
    embeddings = backbone.token_embeddings(ids).detach().requires_grad_(True)
    with torch.enable_grad():
        cosine = (backbone.encode_token_embeddings(embeddings, ids) * images).sum()
    (gradient,) = torch.autograd.grad(cosine, embeddings)
    return embeddings.detach(), gradient


@torch.no_grad()
def _cosines(
    texts: Sequence[str], images: Float[Tensor, "text dim"], backbone: "Backbone"
) -> tuple[Float[Tensor, "text"], Int[Tensor, "text"]]:
    """Of each text with its image, and its number of tokens; texts of like length are encoded together."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    cosines, lengths = torch.zeros(len(texts)), torch.zeros(len(texts), dtype=torch.long)
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        tokens = backbone.tokenize([texts[row] for row in rows])
        cosines[rows] = (backbone.encode_text(tokens.ids.to(backbone.device)) * images[rows]).sum(dim=-1).cpu()
        lengths[rows] = tokens.mask.sum(dim=1)
    return cosines, lengths


def _is_replaceable(word: str) -> bool:
    """Letters only, and no part of a complex preposition."""
    return word.isalpha() and len(word) > 1 and word not in RELATIONAL_NOUNS
