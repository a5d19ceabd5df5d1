"""Every text of a split, with its phrase units: captions, their hard negatives, choice candidates, statements."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from vialign.language.lexicon import Vocabulary
from vialign.language.negatives import make_negative
from vialign.language.units import Unit, extract_units
from vialign.progress import track
from vialign.random import generator
from vialign.tables.language import TEXTS, UNITS

if TYPE_CHECKING:
    from spacy.language import Language

_SHUFFLE_EVERY = 4
"""Outside the diagnosis, one caption in four gets its words shuffled; the others a compositional negative."""


def build_texts(
    captions: pd.DataFrame,
    images: pd.DataFrame,
    choices: pd.DataFrame,
    questions: pd.DataFrame,
    nlp: "Language",
    *,
    split: str,
    kinds: Sequence[str],
    seed: int,
    every_kind: bool,
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """TEXTS and UNITS of one split, and how many texts had no phrase that could be found (see `extract_units`).

    `every_kind` makes all negatives of each image's first caption and none of its others (phase 1); otherwise each
    caption gets one negative where a rule applies. Texts stand in the order captions, negatives, choices, answers.
    """
    true, others = caption_texts(captions, images, split), item_texts(choices, questions, split)
    true_units, fallbacks = extract_units(true, nlp)
    made = make_negatives(true, true_units, kinds=kinds, seed=seed, every_kind=every_kind)
    rest = pd.concat([made, others], ignore_index=True)
    rest_units, more = extract_units(rest, nlp)
    texts = pd.concat([true, rest], ignore_index=True)
    units = pd.concat([true_units, rest_units], ignore_index=True)
    return TEXTS.check(texts), UNITS.check(units), fallbacks + more


def caption_texts(captions: pd.DataFrame, images: pd.DataFrame, split: str) -> pd.DataFrame:
    """TEXTS rows of the captions of a split's images."""
    in_split = set(images.loc[images["split"] == split, "image_id"])
    own = captions[captions["image_id"].isin(in_split)]
    rows = [
        (caption.caption_id, split, caption.image_id, "caption", caption.text)
        for caption in own.itertuples(index=False)
    ]
    return pd.DataFrame(rows, columns=list(TEXTS.columns))


def item_texts(choices: pd.DataFrame, questions: pd.DataFrame, split: str) -> pd.DataFrame:
    """TEXTS rows of the candidates of a split's choice items and of the statements of its questions."""
    rows = [*_choice_rows(choices, split), *_answer_rows(questions, split)]
    return pd.DataFrame(rows, columns=list(TEXTS.columns))


def make_negatives(
    captions: pd.DataFrame, units: pd.DataFrame, *, kinds: Sequence[str], seed: int, every_kind: bool
) -> pd.DataFrame:
    """TEXTS rows `<caption_id>!<kind>` for captions (TEXTS rows) with their UNITS.

    Each text draws from its own generator, so one caption never changes the negative of another but through the
    relations seen in the whole.
    """
    of_text = units_by_text(units)
    relations = {
        text_id: [text[unit.start : unit.end].lower() for unit in of_text[text_id] if unit.kind == "relation"]
        for text_id, text in zip(captions["text_id"], captions["text"], strict=True)
    }
    vocabulary = Vocabulary.of(relation for found in relations.values() for relation in found)
    rows = []
    position = 0
    for image_id, group in track(captions.groupby("image_id", sort=False), "make negatives"):
        ids, texts, splits = (group[name].tolist() for name in ("text_id", "text", "split"))
        known = {relation for text_id in ids for relation in relations[text_id]}
        for text_id, text, split in list(zip(ids, texts, splits, strict=True))[: 1 if every_kind else None]:
            orders = [(kind,) for kind in kinds] if every_kind else [_turn(kinds, position)]
            position += 1
            for order in orders:
                for kind in order:
                    random = generator(seed, "negative", text_id, kind)
                    made = make_negative(kind, text, of_text[text_id], vocabulary, random, texts, known)
                    if made is not None:
                        rows.append((f"{text_id}!{kind}", split, image_id, kind, made))
                        break
    return pd.DataFrame(rows, columns=list(TEXTS.columns))


def _turn(kinds: Sequence[str], position: int) -> tuple[str, ...]:
    """Kinds to try for the caption at `position`: the compositional ones in turn, shuffling last, or first in four."""
    compositional = [kind for kind in kinds if kind != "shuffle"]
    shuffle = [kind for kind in kinds if kind == "shuffle"]
    if not compositional or (shuffle and position % _SHUFFLE_EVERY == _SHUFFLE_EVERY - 1):
        return (*shuffle, *compositional)
    start = (position - position // _SHUFFLE_EVERY) % len(compositional) if shuffle else position % len(compositional)
    return (*compositional[start:], *compositional[:start], *shuffle)


def units_by_text(units: pd.DataFrame) -> Mapping[str, list[Unit]]:
    """Units of each text of a UNITS frame, in order."""
    found: dict[str, list[Unit]] = {}
    columns = [units[name].tolist() for name in ("text_id", "kind", "start", "end", "head_start", "head_end")]
    arguments = [units[name].tolist() for name in ("subject", "object")]
    for text_id, *rest in zip(*columns, *arguments, strict=True):
        found.setdefault(text_id, []).append(Unit(*rest))
    return found


def _choice_rows(choices: pd.DataFrame, split: str) -> Iterable[tuple[str, str, str, str, str]]:
    chosen = choices[choices["split"] == split]
    for item_id, images, texts in zip(chosen["item_id"], chosen["images"], chosen["texts"], strict=True):
        for place, text in enumerate(texts):
            yield f"{item_id}:{place}", split, images[min(place, len(images) - 1)], "choice", text


def _answer_rows(questions: pd.DataFrame, split: str) -> Iterable[tuple[str, str, str, str, str]]:
    chosen = questions[questions["split"] == split]
    columns = (chosen["question_id"], chosen["image_id"], chosen["statements"])
    for question_id, image_id, statements in zip(*columns, strict=True):
        for place, text in enumerate(statements):
            yield f"{question_id}:{place}", split, image_id, "answer", text
