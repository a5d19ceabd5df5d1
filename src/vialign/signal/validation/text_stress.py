"""Disturbed texts for the stress test: typos, words out of order, and adversarial words in wrong captions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from vialign.config.signal import SignalConfig
from vialign.disentangle import Phrases, TextDisentangler
from vialign.language.typos import add_typos
from vialign.random import generator
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import SplitFeatures, positions, score_pairs
from vialign.signal.validation.decay import Stressed
from vialign.signal.validation.statements import encode_statements
from vialign.signal.validation.word_substitution import find_slots, forms, substitute_words, word_pools

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from vialign.backbone import Backbone

_UNITS = {
    "typos": "percent of words misspelt",
    "word order": "percent of words moved",
    "word substitution": "words replaced",
}
"""What the strength of each disturbance counts."""


@dataclass(frozen=True)
class TextSide:
    """All that turns a text into the text side of the signal."""

    backbone: "Backbone"
    nlp: "Language"
    text: TextDisentangler

    def encode(self, texts: Sequence[str]) -> tuple[torch.Tensor, Phrases]:
        """Unit global embeddings and phrase units, one a text."""
        frame = pd.DataFrame({"text_id": [str(number) for number in range(len(texts))], "text": list(texts)})
        return encode_statements(frame, self.backbone, self.nlp, self.text)


def disturbed_texts(
    texts: pd.DataFrame,
    pairs: pd.DataFrame,
    features: SplitFeatures,
    side: TextSide,
    calibration: SignalCalibration,
    config: SignalConfig,
    seed: int,
) -> Iterator[Stressed]:
    """Scores of the pairs under each disturbance of their texts; the images are those of `features`.

    `texts` (TEXTS) has the texts of the pairs and all captions of their images. Typos and word order disturb aligned
    and misaligned texts alike; word substitution attacks the misaligned ones and leaves the aligned ones as they are.
    Every distinct text is parsed and encoded once.
    """
    said = texts.set_index("text_id")["text"]
    original = said.loc[pairs["text_id"]].tolist()
    versions = {
        **_noisy_versions(pairs["text_id"].tolist(), original, config, seed),
        **_substituted_versions(texts, pairs, original, features, side, config),
    }
    distinct = list(dict.fromkeys(text for version in versions.values() for text in version))
    pooled, phrases = side.encode(distinct)
    place = {text: number for number, text in enumerate(distinct)}
    rows = [str(number) for number in range(len(pairs))]
    for (attack, strength), version in versions.items():
        index = torch.tensor([place[text] for text in version])
        stated = replace(features, text_ids=rows, text_pooled=pooled[index], phrases=phrases.index(index))
        scores = score_pairs(pairs.assign(text_id=rows), stated, calibration, config, seed)
        yield Stressed(attack, strength, scores.assign(text_id=pairs["text_id"].to_numpy()), _UNITS[attack])


def shuffle_words(text: str, share: float, random: np.random.Generator) -> str:
    """The text with a share of its words (rounded up, two at least) moved to one another's places, none left in place.

    A generator in the same state moves at a higher share all the words of a lower one and more. Punctuation that stands
    alone stays where it is, and a text of one word stays as it is.
    """
    words = text.split()
    places = [place for place, word in enumerate(words) if any(letter.isalnum() for letter in word)]
    count = max(2, int(np.ceil(share * len(places)))) if share > 0 else 0
    moved = random.permutation(places)[:count]
    if len(moved) < 2:
        return text
    cycle = random.permutation(moved)
    shuffled = list(words)
    for target, source in zip(cycle, np.roll(cycle, 1), strict=True):
        shuffled[target] = words[source]
    return " ".join(shuffled)


def _noisy_versions(
    ids: Sequence[str], texts: Sequence[str], config: SignalConfig, seed: int
) -> dict[tuple[str, float], list[str]]:
    """Each text draws from its own generator, the same for every strength."""
    versions = {}
    for percent in config.stress_typos:
        versions["typos", percent] = [
            add_typos(text, percent / 100, generator(seed, "typos", text_id)).text
            for text_id, text in zip(ids, texts, strict=True)
        ]
    for percent in config.stress_word_order:
        versions["word order", percent] = [
            shuffle_words(text, percent / 100, generator(seed, "word order", text_id))
            for text_id, text in zip(ids, texts, strict=True)
        ]
    return versions


def _substituted_versions(
    texts: pd.DataFrame,
    pairs: pd.DataFrame,
    original: Sequence[str],
    features: SplitFeatures,
    side: TextSide,
    config: SignalConfig,
) -> dict[tuple[str, float], list[str]]:
    captions = texts[texts["kind"] == "caption"]
    words: dict[str, set[str]] = {image_id: set() for image_id in pairs["image_id"]}

    def tagged() -> Iterator["Doc"]:
        docs = side.nlp.pipe(captions["text"], disable=["parser"])
        for image_id, doc in zip(captions["image_id"], docs, strict=True):
            if image_id in words:
                words[image_id].update(token.lower_ for token in doc)
            yield doc

    pools = word_pools(tagged(), side.backbone)
    known = {image_id: forms(found) for image_id, found in words.items()}
    wrong = np.flatnonzero((pairs["kind"] != "aligned").to_numpy()).tolist()
    attacked = [original[row] for row in wrong]
    offsets = side.backbone.tokenize(attacked).offsets
    slots = [
        find_slots(doc, offsets[row], pools) for row, doc in enumerate(side.nlp.pipe(attacked, disable=["parser"]))
    ]
    images = pairs["image_id"].iloc[wrong]
    results = substitute_words(
        attacked,
        features.image_pooled[positions(images, features.image_ids, "image")],
        slots,
        [known[image_id] for image_id in images],
        pools,
        side.backbone,
        words=config.stress_substitutions,
    )
    versions = {}
    for number, changed in enumerate(results, start=1):
        version = list(original)
        for row, text in zip(wrong, changed, strict=True):
            version[row] = text
        versions["word substitution", float(number)] = version
    return versions
