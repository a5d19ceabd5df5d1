"""Hard negatives: each kind as a worked example, its control where nothing may be made, and the guarantees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.language.lexicon import Vocabulary, is_symmetric, replacements
from vialign.language.negatives import make_negative, normal_form, replace_spans
from vialign.language.units import Unit, units_of
from vialign.random import generator

SEEN = Vocabulary.of(
    ["above", "below", "to the left of", "to the right of", "left of", "right of", "larger than", "smaller than"]
    + ["rides", "rides", "holds", "holds", "carries", "carries", "eats", "riding", "riding", "holding", "holding"]
    + ["inside", "on", "sitting on", "sitting on", "sleeping on", "sleeping on", "across", "across"]
)


def noun(*words: str) -> str:
    *adjectives, head = words
    return f"(NP (DT a) {' '.join(f'(JJ {word})' for word in adjectives)} (NN {head}))"


def says(first: str, relation: str, second: str) -> str:
    return f"(S {first} (VP (VBZ is) (PP {relation} {second})))"


@pytest.fixture
def made(gold_doc):
    """Every different negative that a hundred seeds make of a bracket string."""

    def make(kind, brackets, true_texts=(), true_relations=(), vocabulary=SEEN):
        doc = gold_doc(brackets)
        found = (
            make_negative(
                kind, doc.text, units_of(doc), vocabulary, generator(seed, "test"), true_texts, true_relations
            )
            for seed in range(100)
        )
        return {text for text in found if text is not None}

    return make


ABOVE = says(noun("red", "star"), "(IN above)", noun("blue", "circle"))


def test_roles_are_swapped_with_their_whole_phrases(made):
    assert made("swap_roles", ABOVE) == {"a blue circle is above a red star"}
    inverted = f"(S (PP (IN below) {noun('dot')}) (NP (EX there)) (VP (VBZ is) {noun('red', 'star')}))"
    assert made("swap_roles", inverted) == {"below a red star there is a dot"}


@pytest.mark.parametrize(
    "brackets",
    [
        f"(NP {noun('red', 'star')} (CC and) {noun('blue', 'circle')})",
        says(noun("red", "star"), "(IN near)", noun("blue", "circle")),
        says(noun("red", "star"), "(RB next) (TO to)", noun("blue", "circle")),
        says(noun("red", "star"), "(IN with)", noun("blue", "circle")),
        says(noun("red", "star"), "(IN beside)", noun("blue", "circle")),
        says(noun("red", "star"), "(IN above)", noun("red", "star")),
        says(noun("small", "circle"), "(IN above)", noun("little", "disc")),
    ],
)
def test_roles_are_never_swapped_where_the_statement_may_stay_true(made, brackets):
    assert made("swap_roles", brackets) == set()


def test_attributes_are_swapped_within_their_kind(made):
    assert made("swap_attributes", ABOVE) == {"a blue star is above a red circle"}
    sized = says(noun("small", "red", "star"), "(IN above)", noun("large", "blue", "circle"))
    assert made("swap_attributes", sized) == {
        "a large red star is above a small blue circle",
        "a small blue star is above a large red circle",
    }
    mixed = says(noun("small", "star"), "(IN above)", noun("blue", "circle"))
    assert made("swap_attributes", mixed) == {"a blue star is above a small circle"}


@pytest.mark.parametrize(
    "brackets",
    [
        f"(NP {noun('red', 'star')} (CC and) {noun('blue', 'star')})",
        f"(NP {noun('red', 'diamond')} (CC and) {noun('blue', 'rhombus')})",
        f"(NP {noun('dotted', 'star')} (CC and) {noun('spotted', 'ring')})",
        says(noun("red", "star"), "(IN above)", noun("red", "circle")),
        says(noun("red", "star"), "(IN above)", noun("circle")),
    ],
)
def test_attributes_are_never_swapped_where_the_statement_may_stay_true(made, brackets):
    assert made("swap_attributes", brackets) == set()


def test_like_things_told_apart_by_a_relation_can_swap_attributes(made):
    brackets = says(noun("red", "star"), "(IN above)", noun("blue", "star"))
    assert made("swap_attributes", brackets) == {"a blue star is above a red star"}


def test_the_article_follows_the_word_it_stands_before(made):
    brackets = says(noun("orange", "star").replace("DT a", "DT an"), "(IN above)", noun("blue", "circle"))
    assert made("swap_attributes", brackets) == {"a blue star is above an orange circle"}


def test_a_spatial_relation_is_replaced_only_by_what_excludes_it(made):
    assert made("replace_relation", ABOVE) == {"a red star is below a blue circle"}
    left = says(noun("star"), f"(TO to) (NP (NP (DT the) (NN left)) (PP (IN of) {noun('dot')}))", "").replace(" )", ")")
    assert made("replace_relation", left) == {"a star is to the right of a dot"}


def test_a_verb_is_replaced_by_a_seen_one_of_its_form_that_is_no_synonym(made):
    brackets = f"(S {noun('man')} (VP (VBZ holds) {noun('dog')}))"
    assert made("replace_relation", brackets) == {"a man rides a dog"}, "not carries (synonym), eats (seen once)"
    assert made("replace_relation", brackets, true_relations=["rides"]) == set()
    assert replacements("sitting on", SEEN) == ["sitting below"]
    assert replacements("across", SEEN) == [] and replacements("of", SEEN) == []


def test_a_shuffle_keeps_the_words_and_the_final_stop(made):
    texts = made("shuffle", f"(S {noun('red', 'star')} (VP (VBZ is) (ADJP (JJ nice))) (. .))")
    assert len(texts) > 10
    for text in texts:
        assert text.endswith(".") and "a red star" not in text
        assert sorted(text.rstrip(".").split()) == ["a", "is", "nice", "red", "star"]


def test_nothing_is_made_of_one_word(made):
    for kind in ("swap_roles", "swap_attributes", "replace_relation", "shuffle"):
        assert made(kind, "(NP (NN star))") == set()


def test_a_true_caption_of_the_image_is_never_made(made):
    assert made("swap_roles", ABOVE, true_texts=["A blue circle is  above a red star."]) == set()
    assert made("replace_relation", ABOVE, true_texts=["a red star is Below a blue circle"]) == set()


def test_an_unknown_kind_is_refused(made):
    with pytest.raises(ValueError, match="unknown kind"):
        made("mirror", ABOVE)


def test_capitals_stay_at_the_beginning(gold_doc):
    doc = gold_doc("(S (NP (DT A) (NN man)) (VP (VBZ rides) (NP (DT a) (NN horse))) (. .))")
    made = make_negative("swap_roles", doc.text, units_of(doc), SEEN, generator(0, "x"))
    assert made == "A horse rides a man."


@pytest.mark.parametrize(
    ("relation", "symmetric"),
    [("near", True), ("sitting next to", True), ("playing with", True), ("standing by", True), ("", True)]
    + [("ridden by", False), ("covered with", False), ("above", False), ("larger than", False), ("rides", False)],
)
def test_symmetric_relations(relation, symmetric):
    assert is_symmetric(relation) == symmetric


@pytest.mark.parametrize("relation", ["above", "below", "left of", "to the right of", "inside", "on", "larger than"])
def test_exclusion_never_offers_the_relation_itself_or_a_synonym(relation):
    groups = [{"above", "on", "on top of", "over"}, {"inside", "in", "within"}, {"left of", "to the left of"}]
    options = replacements(relation, SEEN)
    assert options and relation not in options
    for group in groups:
        assert relation not in group or not group & set(options)


PIECES = st.lists(st.sampled_from(["red star", "apple", "hour", "unicorn", "blue dot"]), min_size=2, max_size=2)


@given(PIECES)
def test_replaced_spans_hold_the_new_words_and_the_rest_is_untouched(pieces):
    text = "see a cat above a dog now"
    first, second = (text.index(word) for word in ("cat", "dog"))
    made = replace_spans(text, {(first, first + 3): pieces[0], (second, second + 3): pieces[1]})
    article = {"red star": "a", "apple": "an", "hour": "an", "unicorn": "a", "blue dot": "a"}
    expected = f"see {article[pieces[0]]} {pieces[0]} above {article[pieces[1]]} {pieces[1]} now"
    assert made == expected


@given(st.integers(0, 2**32), st.sampled_from(["swap_roles", "swap_attributes", "replace_relation", "shuffle"]))
def test_the_same_seed_makes_the_same_negative_and_never_the_text(seed, kind):
    text = "a red star is above a blue circle"
    units = [
        Unit("entity", 0, 10, 6, 10),
        Unit("attribute", 2, 5, 2, 5, 0),
        Unit("relation", 14, 19, 14, 19, 0, 3),
        Unit("entity", 20, 33, 27, 33),
        Unit("attribute", 22, 26, 22, 26, 3),
    ]
    one, two = (make_negative(kind, text, units, SEEN, generator(seed, kind)) for _ in range(2))
    assert one is not None and one == two
    assert normal_form(one) != normal_form(text)
