"""Gold phrase units of captions that carry gold brackets: the same rules as for a parse, on the gold tree."""

import pandas as pd

from vialign.data.head_rules import dependencies
from vialign.data.treebank import parse_tree
from vialign.language.units import units_of
from vialign.tables import UNITS


def gold_units(captions: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """UNITS of the texts (TEXTS) that are captions with a gold tree (CAPTIONS); no rows where there is none."""
    import spacy
    from spacy.tokens import Doc

    # The blank pipeline's vocabulary knows how to lower a word; an empty one does not.
    vocab = spacy.blank("en").vocab
    trees = captions.loc[captions["tree"].notna() & captions["caption_id"].isin(texts["text_id"])]
    rows = []
    for caption in trees.itertuples(index=False):
        gold = dependencies(parse_tree(str(caption.tree)))
        doc = Doc(vocab, words=gold.words, spaces=gold.spaces, tags=gold.tags, heads=gold.heads, deps=gold.labels)
        rows += [(caption.caption_id, number, *unit) for number, unit in enumerate(units_of(doc))]
    return pd.DataFrame(rows, columns=list(UNITS.columns)) if rows else UNITS.empty()
