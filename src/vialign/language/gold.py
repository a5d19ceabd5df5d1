"""Gold phrase units of texts that carry gold syntax: the same rules as for a parse, on the gold tree."""

from collections.abc import Iterable, Sequence

import pandas as pd

from vialign.data.treebanks.head_rules import dependencies
from vialign.data.treebanks.penn import Sentence, Tree, align, parse_tree
from vialign.language import quality
from vialign.language.units import units_of
from vialign.tables.language import UNITS


def gold_units(captions: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """UNITS of the texts (TEXTS) that are captions with a gold tree (CAPTIONS); no rows where there is none."""
    trees = captions.loc[captions["tree"].notna() & captions["caption_id"].isin(texts["text_id"])]
    sentences = [dependencies(parse_tree(str(tree))) for tree in trees["tree"]]
    return sentence_units(sentences, trees["caption_id"].tolist())


def sentence_units(sentences: Sequence[Sentence], text_ids: Sequence[str]) -> pd.DataFrame:
    """UNITS of sentences with gold dependencies; characters count in a sentence's `text`."""
    import spacy
    from spacy.tokens import Doc

    # The blank pipeline's vocabulary knows how to lower a word; an empty one does not.
    vocab = spacy.blank("en").vocab
    rows = []
    for text_id, gold in zip(text_ids, sentences, strict=True):
        doc = Doc(vocab, words=gold.words, spaces=gold.spaces, tags=gold.tags, heads=gold.heads, deps=gold.labels)
        rows += [(text_id, number, *unit) for number, unit in enumerate(units_of(doc))]
    return _frame(rows)


def bracket_noun_phrases(trees: Sequence[Tree], texts: Sequence[str], text_ids: Sequence[str]) -> pd.DataFrame:
    """UNITS with the lowest noun phrases of gold brackets as entities (`vialign.language.quality.gold_units`).

    Nothing else of the brackets is told: no other kind of unit, no head word. Raises ValueError where a tree has other
    words than its text.
    """
    rows = []
    for tree, text, text_id in zip(trees, texts, text_ids, strict=True):
        offsets = align(tree.words(), text)
        spans = sorted(quality.gold_units(tree)["entity"])
        for number, (first, end) in enumerate(spans):
            start, stop = offsets[first][0], offsets[end - 1][1]
            rows.append((text_id, number, "entity", start, stop, start, stop, -1, -1))
    return _frame(rows)


def _frame(rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    found = list(rows)
    return pd.DataFrame(found, columns=list(UNITS.columns)) if found else UNITS.empty()
