"""Brackets, head rules and Universal Dependencies, against hand-made gold."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.data.treebanks.head_rules import dependencies, head_child
from vialign.data.treebanks.penn import (
    Sentence,
    Tree,
    align,
    clean,
    detokenise,
    parse_tree,
    parse_trees,
    read_trees,
    split_files,
    strip_label,
    write,
)
from vialign.data.treebanks.universal_dependencies import read_conllu
from vialign.errors import UserError

NP_STAR = "(NP (DT a) (JJ red) (NN star))"
NP_DOT = "(NP (DT a) (NN dot))"

words = st.text(st.characters(codec="utf-8", exclude_characters="()", exclude_categories=("Z", "C")), min_size=1)
labels = st.from_regex(r"[A-Z]{1,4}(-[A-Z]{3})?", fullmatch=True)
leaves = st.builds(lambda label, word: Tree(label, word=word), labels, words)
trees = st.recursive(leaves, lambda inner: st.builds(Tree, labels, st.lists(inner, min_size=1, max_size=4).map(tuple)))


def arcs(sentence: Sentence) -> dict[str, tuple[str, str]]:
    """word -> (head word, label); words must differ."""
    assert len(set(sentence.words)) == len(sentence.words)
    rows = zip(sentence.words, sentence.heads, sentence.labels, strict=True)
    return {word: (sentence.words[head], label) for word, head, label in rows}


def is_projective_tree(heads: list[int]) -> bool:
    """Brute force: one root, everything reaches it, and every head's span is unbroken."""
    if sum(head == place for place, head in enumerate(heads)) != 1:
        return False
    ancestors = []
    for place in range(len(heads)):
        chain, current = {place}, place
        while heads[current] != current:
            current = heads[current]
            if current in chain:
                return False
            chain.add(current)
        ancestors.append(chain)
    return all(
        head in ancestors[between]
        for place, head in enumerate(heads)
        for between in range(min(place, head), max(place, head))
    )


@given(trees)
def test_what_is_written_is_read_back(tree):
    assert parse_tree(write(tree)) == tree


@given(trees)
def test_dependencies_of_any_tree_are_one_projective_tree(tree):
    sentence = dependencies(tree)
    assert len(sentence.words) == len(tree.words())
    assert is_projective_tree(sentence.heads)
    assert [label == "ROOT" for label in sentence.labels] == [h == i for i, h in enumerate(sentence.heads)]


def test_the_projectivity_check_can_fail():
    assert not is_projective_tree([2, 3, 2, 2, 1])
    assert not is_projective_tree([1, 0, 2])


@given(st.lists(st.from_regex(r"[a-z]{1,6}|[,.;!?]|n't|'s|-LRB-|-RRB-", fullmatch=True), min_size=1, max_size=12))
def test_offsets_cut_the_words_out_of_running_text(tokens):
    text, offsets = detokenise(tokens)
    plain = [{"-LRB-": "(", "-RRB-": ")"}.get(token, token) for token in tokens]
    assert [text[start:end] for start, end in offsets] == plain
    assert align(tokens, text) == offsets


def test_running_text_is_spaced_as_in_print():
    tokens = "He did n't say `` yes '' -LRB- or no -RRB- , but John 's dog paid $ 5 ."
    assert detokenise(tokens.split())[0] == "He didn't say \"yes\" (or no), but John's dog paid $5."


def test_align_names_the_word_that_is_not_there():
    with pytest.raises(ValueError, match="'blue'"):
        align(["a", "blue", "star"], "a red star")


def test_outer_bracket_traces_and_function_tags_are_removed():
    raw = "( (S (NP-SBJ-1 (NNP Ann)) (VP (VBD left) (S (NP-SBJ (-NONE- *-1)) (VP (-NONE- *)))) (. .)))"
    tree = parse_tree(raw)
    assert tree.label == "S"
    kept, plain = clean(tree), clean(tree, functions=False)
    assert kept is not None and plain is not None
    assert write(kept) == "(S (NP-SBJ-1 (NNP Ann)) (VP (VBD left)) (. .))"
    assert write(plain) == "(S (NP (NNP Ann)) (VP (VBD left)) (. .))"
    assert clean(parse_tree("(S (NP (-NONE- *)))")) is None
    assert [strip_label(label) for label in ("NP-SBJ=2", "ADVP|PRT", "-LRB-", "PRP$")] == [
        "NP",
        "ADVP",
        "-LRB-",
        "PRP$",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(S (NN a))\n(S (NN b)", "x.mrg, line 2: bracket is never closed"),
        ("(S (NN a))\n)", "x.mrg, line 2: '\\)' outside"),
        ("word (S (NN a))", "x.mrg, line 1: 'word' outside"),
        ("(S\n(NP))", "x.mrg, line 2: \\(NP\\) is empty"),
        ("(NN two words)", "x.mrg, line 1: .* mixes"),
        ("(NP word (NN a))", "mixes"),
    ],
)
def test_broken_brackets_are_named_by_file_and_line(text, message):
    with pytest.raises(UserError, match=message):
        list(parse_trees(text.splitlines(), "x.mrg"))


def test_a_string_with_two_trees_is_not_one_tree():
    with pytest.raises(UserError, match="2 trees"):
        parse_tree("(NN a) (NN b)")


def test_missing_and_badly_encoded_files_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="none.mrg: no such file"):
        read_trees(tmp_path / "none.mrg")
    (tmp_path / "bad.mrg").write_bytes(b"(NN caf\xe9)")
    with pytest.raises(UserError, match="not UTF-8"):
        read_trees(tmp_path / "bad.mrg")


def write_files(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("( (S (NN a)) )\n")


def test_flat_folder_holds_out_its_last_tenth_and_ldc_its_section_23(tmp_path):
    write_files(tmp_path / "flat", [f"wsj_{n:04d}.mrg" for n in range(20)])
    train, held = split_files(tmp_path / "flat")
    assert (len(train), [file.name for file in held]) == (18, ["wsj_0018.mrg", "wsj_0019.mrg"])
    sections = ["00", "01", "02", "21", "22", "23", "24"]
    write_files(tmp_path / "ldc", [f"parsed/mrg/wsj/{section}/wsj_{section}01.mrg" for section in sections])
    train, held = split_files(tmp_path / "ldc")
    assert [file.parent.name for file in train] == ["02", "21"]
    assert [file.parent.name for file in held] == ["23"]
    with pytest.raises(UserError, match="0 .mrg files"):
        split_files(tmp_path / "nothing")


CAPTIONS = {
    f"(S {NP_STAR} (VP (VBZ is) (PP (IN above) (NP (DT the) (NN dot)))))": {
        "a": ("star", "det"),
        "red": ("star", "amod"),
        "star": ("is", "nsubj"),
        "is": ("is", "ROOT"),
        "above": ("is", "prep"),
        "the": ("dot", "det"),
        "dot": ("above", "pobj"),
    },
    f"(S (PP (IN below) {NP_DOT}) (NP (EX there)) (VP (VBZ is) (NP (CD one) (NN star))))": {
        "below": ("is", "prep"),
        "a": ("dot", "det"),
        "dot": ("below", "pobj"),
        "there": ("is", "expl"),
        "is": ("is", "ROOT"),
        "one": ("star", "nummod"),
        "star": ("is", "attr"),
    },
    f"(NP (NP (NN star)) (PP (JJ left) (IN of) {NP_DOT}))": {
        "star": ("star", "ROOT"),
        "left": ("of", "advmod"),
        "of": ("star", "prep"),
        "a": ("dot", "det"),
        "dot": ("of", "pobj"),
    },
    f"(NP (NP (NN star)) (PP (TO to) (NP (NP (DT the) (NN left)) (PP (IN of) {NP_DOT}))))": {
        "star": ("star", "ROOT"),
        "to": ("star", "prep"),
        "the": ("left", "det"),
        "left": ("to", "pobj"),
        "of": ("left", "prep"),
        "a": ("dot", "det"),
        "dot": ("of", "pobj"),
    },
    f"(S (NP (NN star)) (VP (VBZ is) (ADJP (JJR larger) (PP (IN than) {NP_DOT}))))": {
        "star": ("is", "nsubj"),
        "is": ("is", "ROOT"),
        "larger": ("is", "acomp"),
        "than": ("larger", "prep"),
        "a": ("dot", "det"),
        "dot": ("than", "pobj"),
    },
    f"(S (NP (NN star)) (VP (VBZ is) (VP (VBG sitting) (PP (IN on) {NP_DOT}))))": {
        "star": ("sitting", "nsubj"),
        "is": ("sitting", "aux"),
        "sitting": ("sitting", "ROOT"),
        "on": ("sitting", "prep"),
        "a": ("dot", "det"),
        "dot": ("on", "pobj"),
    },
    "(NP (NP (NN star)) (, ,) (NP (NN dot)) (CC and) (NP (NN ring)))": {
        "star": ("star", "ROOT"),
        ",": ("star", "punct"),
        "dot": ("star", "conj"),
        "and": ("star", "cc"),
        "ring": ("star", "conj"),
    },
    "(NP (NP (DT the) (NN man) (POS 's)) (JJ black) (CC and) (JJ white) (NN hat))": {
        "the": ("man", "det"),
        "man": ("hat", "poss"),
        "'s": ("man", "case"),
        "black": ("hat", "amod"),
        "and": ("hat", "cc"),
        "white": ("hat", "amod"),
        "hat": ("hat", "ROOT"),
    },
    "(NP (NP (NN man)) (SBAR (WHNP (WDT that)) (S (VP (VBZ rides) (NP (NNS horses))))))": {
        "man": ("man", "ROOT"),
        "that": ("rides", "nsubj"),
        "rides": ("man", "relcl"),
        "horses": ("rides", "dobj"),
    },
}


@pytest.mark.parametrize("brackets", CAPTIONS)
def test_dependencies_of_captions(brackets):
    found = arcs(dependencies(parse_tree(brackets)))
    expected = dict(CAPTIONS[brackets])
    if "that" in expected:
        # The relative pronoun is the clause's wh-phrase; only its head matters.
        assert found.pop("that")[0] == expected.pop("that")[0]
    assert found == expected


def test_the_first_member_of_a_flat_coordination_is_its_head():
    tree = parse_tree("(ADJP (JJ red) (, ,) (JJ green) (CC and) (JJ blue))")
    assert head_child(tree) == 0
    assert head_child(parse_tree("(ADJP (JJ dark) (JJ blue))")) == 1


def conllu(*rows: str) -> list[str]:
    return [row.replace(" ", "\t") + "\n" for row in rows] + ["\n"]


def read_lines(folder, lines):
    """Sentences of a file with these lines."""
    path = folder / "x.conllu"
    path.write_text("".join(lines), encoding="utf-8")
    return read_conllu(path)


def row(number, form, tag, head, relation, misc="_"):
    return f"{number} {form} _ X {tag} _ {head} {relation} _ {misc}"


def test_universal_dependencies_get_prepositions_and_copulas_as_heads(tmp_path):
    lines = conllu(
        row(1, "the", "DT", 2, "det"),
        row(2, "star", "NN", 6, "nsubj"),
        row(3, "is", "VBZ", 6, "cop"),
        row(4, "above", "IN", 6, "case"),
        row(5, "a", "DT", 6, "det"),
        row(6, "dot", "NN", 0, "root", "SpaceAfter=No"),
        row(7, ".", ".", 6, "punct"),
    )
    (sentence,) = read_lines(tmp_path, lines)
    brackets = (
        "(S (NP (DT the) (NN star)) (VP (VBZ is) (PP (IN above) (NP (DT a) (NN dot)))) (. .))"  # an independent oracle
    )
    assert sentence == dependencies(parse_tree(brackets))
    assert sentence.text == "the star is above a dot."


def test_comparatives_agree_between_both_treebank_families(tmp_path):
    lines = conllu(
        row(1, "star", "NN", 3, "nsubj"),
        row(2, "is", "VBZ", 3, "cop"),
        row(3, "larger", "JJR", 0, "root"),
        row(4, "than", "IN", 6, "case"),
        row(5, "a", "DT", 6, "det"),
        row(6, "dot", "NN", 3, "obl"),
    )
    (sentence,) = read_lines(tmp_path, lines)
    brackets = f"(S (NP (NN star)) (VP (VBZ is) (ADJP (JJR larger) (PP (IN than) {NP_DOT}))))"
    assert sentence == dependencies(parse_tree(brackets))


def test_coordinated_prepositional_phrases_stay_coordinated(tmp_path):
    lines = conllu(
        row(1, "runs", "VBZ", 0, "root"),
        row(2, "in", "IN", 3, "case"),
        row(3, "grass", "NN", 1, "obl"),
        row(4, "and", "CC", 6, "cc"),
        row(5, "on", "IN", 6, "case"),
        row(6, "sand", "NN", 3, "conj"),
    )
    (sentence,) = read_lines(tmp_path, lines)
    found = arcs(sentence)
    assert found["in"] == ("runs", "prep") and found["grass"] == ("in", "pobj")
    assert found["on"] == ("in", "conj") and found["sand"] == ("on", "pobj")


def test_multiword_tokens_are_split_and_empty_nodes_left_out(tmp_path):
    lines = conllu(
        "# text = don't go",
        "1-2 don't _ _ _ _ _ _ _ _",
        row(1, "do", "VBP", 3, "aux"),
        row(2, "n't", "RB", 3, "advmod"),
        "2.1 extra _ _ _ _ _ _ _ _",
        row(3, "go", "VB", 0, "root"),
    )
    (sentence,) = read_lines(tmp_path, lines)
    assert sentence.words == ["do", "n't", "go"]
    assert sentence.text == "don't go"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1 only two"], "line 1: 3 fields"),
        ([row(1, "a", "DT", "x", "det")], "line 1: field HEAD is 'x'"),
        ([row(1, "a", "DT", 0, "root"), row(3, "b", "DT", 1, "det")], "line 2: word 3 follows word 1"),
        ([row(1, "a", "DT", 2, "det"), row(2, "b", "DT", 1, "det")], "line 1: the sentence has 0 roots"),
        ([row(1, "a", "DT", 0, "root"), row(2, "b", "DT", 9, "det")], "line 1: HEAD 9 names no word"),
        (
            [row(1, "a", "DT", 0, "root"), row(2, "b", "DT", 3, "det"), row(3, "c", "DT", 2, "det")],
            "line 1: the heads of word 2 run in a circle",
        ),
    ],
)
def test_broken_conllu_is_named_by_file_and_line(tmp_path, rows, message):
    path = tmp_path / "broken.conllu"
    path.write_text("".join(conllu(*rows)))
    with pytest.raises(UserError, match=f"broken.conllu, {message}"):
        read_conllu(path)


def test_only_the_outermost_bracket_may_have_no_label():
    assert str(parse_tree("( (NP (DT the) (NN cat)))")) == "(NP (DT the) (NN cat))"
    with pytest.raises(UserError, match="brackets, line 1: a bracket inside a sentence has no label"):
        parse_tree("(NP ( (DT the)) (NN cat))")
