"""Gold units of sentences, and noun phrases of brackets."""

import pandas as pd

from vialign.data.treebanks.head_rules import dependencies
from vialign.data.treebanks.penn import align, parse_tree
from vialign.language.gold import bracket_noun_phrases, gold_units, sentence_units
from vialign.language.quality import gold_units as bracket_units
from vialign.tables.data import CAPTIONS
from vialign.tables.language import UNITS

POSSESSED = "(NP (NP (DT the) (NN man) (POS 's)) (JJ red) (NN hat))"


def test_units_of_captions_are_those_of_their_sentences(brackets_of_captions):
    trees = brackets_of_captions[:12]
    sentences = [dependencies(parse_tree(tree)) for tree in trees]
    captions = pd.DataFrame(
        {
            "caption_id": [f"c{n}" for n in range(12)],
            "image_id": "i",
            "text": [sentence.text for sentence in sentences],
            "tree": [*trees[:11], None],
        }
    )
    texts = captions.rename(columns={"caption_id": "text_id"}).iloc[1:]
    found = UNITS.check(gold_units(CAPTIONS.check(captions), texts))
    assert sorted(set(found["text_id"]), key=lambda name: int(name[1:])) == [f"c{n}" for n in range(1, 11)]
    expected = sentence_units(sentences[1:11], [f"c{n}" for n in range(1, 11)])
    pd.testing.assert_frame_equal(found, expected)


def test_no_sentence_gives_an_empty_table():
    assert UNITS.check(sentence_units([], [])).empty


def test_noun_phrases_are_the_lowest_brackets_in_characters(brackets_of_captions):
    trees = [parse_tree(tree) for tree in (*brackets_of_captions[::40], POSSESSED)]
    texts = [dependencies(tree).text for tree in trees]
    ids = [str(n) for n in range(len(trees))]
    found = UNITS.check(bracket_noun_phrases(trees, texts, ids))
    assert set(found["kind"]) == {"entity"}
    for tree, text, text_id in zip(trees, texts, ids, strict=True):
        offsets = align(tree.words(), text)
        expected = {(offsets[a][0], offsets[b - 1][1]) for a, b in bracket_units(tree)["entity"]}
        rows = found[found["text_id"] == text_id]
        assert set(zip(rows["start"], rows["end"], strict=True)) == expected
    said = found[found["text_id"] == ids[-1]]
    assert [texts[-1][a:b] for a, b in zip(said["start"], said["end"], strict=True)] == ["the man", "red hat"]
