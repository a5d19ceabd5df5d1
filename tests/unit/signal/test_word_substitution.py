import itertools

import pytest
import spacy
import torch
from spacy.tokens import Doc

from tolerance import close, transformer
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.language.negatives import replace_spans
from vialign.signal.validation.word_substitution import _propose, find_slots, forms, substitute_words, word_pools

TAGS = {
    **dict.fromkeys(("red", "blue", "green", "small", "large", "dotted", "striped", "grey"), "JJ"),
    **dict.fromkeys(("star", "circle", "square", "ring", "heart", "left", "zebra"), "NN"),
    **dict.fromkeys(("larger",), "JJR"),
    **dict.fromkeys(("above", "of", "than", "to"), "IN"),
    **dict.fromkeys(("a", "the"), "DT"),
    "is": "VBZ",
}
CAPTIONS = [
    "a small red circle is above a blue square",
    "a striped green star to the left of a large ring",
    "the grey heart is larger than the dotted zebra",
]
WRONG = ["a red square is above a blue circle", "the green ring is above the small star", "a red zebra is above a ring"]


TOWER = close(torch.float32, transformer(width=128, layers=3))
"""Two ways through the demo text tower."""


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(BackboneConfig())


@pytest.fixture(scope="module")
def tagged():
    vocab = spacy.blank("en").vocab

    def make(text: str) -> Doc:
        words = text.split()
        return Doc(vocab, words=words, tags=[TAGS[word.lower()] for word in words])

    return make


@pytest.fixture(scope="module")
def pools(tagged, backbone):
    return word_pools([tagged(text) for text in CAPTIONS], backbone)


@pytest.fixture(scope="module")
def attack(tagged, backbone, pools):
    """Everything that `substitute_words` takes, for the wrong captions at images whose embeddings true ones have."""
    offsets = backbone.tokenize(WRONG).offsets
    slots = [find_slots(tagged(text), offsets[row], pools) for row, text in enumerate(WRONG)]
    images = backbone.encode_text(backbone.tokenize(CAPTIONS).ids)
    forbidden = [forms(text.split()) for text in CAPTIONS]
    return WRONG, images, slots, forbidden, pools, backbone


def cosines(texts, images, backbone):
    return (backbone.encode_text(backbone.tokenize(texts).ids) * images).sum(dim=-1)


def test_pools_hold_nouns_and_adjectives_of_one_length(pools, backbone):
    words = {key: pool.words for key, pool in pools.items()}
    assert words.pop(("JJ", 1)) == ("blue", "dotted", "green", "large", "red", "small", "striped")
    assert words.pop(("NN", 1)) == ("circle", "heart", "ring", "square", "star")
    # The demo tokenizer has no such words: they are several tokens.
    assert {(tag, found) for (tag, _), found in words.items()} == {("JJ", ("grey",)), ("NN", ("zebra",))}
    assert min(length for _, length in words) > 1
    ids = backbone.tokenize(["star"]).ids[:, 1:2]
    assert torch.equal(pools["NN", 1].embeddings[4], backbone.token_embeddings(ids)[0])


def test_a_word_has_the_tag_that_it_mostly_has(tagged, backbone):
    slip = tagged("a red star")
    slip[2].tag_ = "VB"
    assert word_pools([slip, tagged("a star"), tagged("the star")], backbone)["NN", 1].words == ("star",)
    assert ("NN", 1) not in word_pools([slip], backbone)


def test_slots_are_whole_words_with_a_pool(tagged, backbone, pools):
    text = "a Red zebra is above the left star"
    tokens = backbone.tokenize([text])
    found = find_slots(tagged(text), tokens.offsets[0], pools)
    assert [text[slice(*slot.span)] for slot in found] == ["Red", "zebra", "star"]
    for slot in found:
        begin, end = tokens.offsets[0, slot.token, 0], tokens.offsets[0, slot.token + slot.tokens - 1, 1]
        assert (int(begin), int(end)) == slot.span
    glued = Doc(tagged("a").vocab, words=["redstar", "re", "d"], spaces=[True, False, False], tags=["JJ", "JJ", "NN"])
    assert find_slots(glued, backbone.tokenize([glued.text]).offsets[0], pools) == []


def test_forms_know_synonyms_and_plurals():
    assert not forms(["box"]).isdisjoint(forms(["squares"]))
    assert not forms(["boxes"]).isdisjoint(forms(["square"]))
    assert not forms(["Dogs"]).isdisjoint(forms(["dog"]))
    assert forms(["dog"]).isdisjoint(forms(["cat", "ring"]))


def test_proposals_are_the_largest_first_order_gains(attack, backbone):
    """The oracle moves each word's embedding a little towards the other word's and measures the slope."""
    texts, images, slots, forbidden, pools, _ = attack
    found = _propose(texts, images, slots, forbidden, pools, backbone, tries=3)
    double = backbone.model.double()
    try:
        for row, text in enumerate(texts):
            ids = backbone.tokenize([text]).ids
            base = backbone.token_embeddings(ids)
            slopes = {}
            for slot in slots[row]:
                for word, ending in zip(pools[slot.pool].words, pools[slot.pool].embeddings.double(), strict=True):
                    if not forms([word]).isdisjoint(forbidden[row]):
                        continue
                    way = torch.zeros_like(base)
                    place = slice(slot.token, slot.token + slot.tokens)
                    way[0, place] = ending - base[0, place]
                    up, down = (
                        (backbone.encode_token_embeddings(base + t * way, ids)[0] * images[row]).sum()
                        for t in (1e-4, -1e-4)
                    )
                    slopes[slot, word] = float((up - down) / 2e-4)
            best = sorted(slopes, key=lambda key: -slopes[key])[:3]
            own = [flip for flip in found if flip.row == row]
            assert [(flip.slot, flip.word) for flip in own] == best
            assert [flip.gain for flip in own] == pytest.approx([slopes[key] for key in best], abs=1e-4)
    finally:
        double.float()


def test_with_every_try_the_first_word_is_the_best_there_is(attack, backbone):
    texts, images, slots, forbidden, pools, _ = attack
    (found,) = substitute_words(*attack, words=1, tries=1000)
    for row, text in enumerate(texts):
        single = [text] + [
            replace_spans(text, {slot.span: word})
            for slot in slots[row]
            for word in pools[slot.pool].words
            if forms([word]).isdisjoint(forbidden[row])
        ]
        scores = cosines(single, images[row], backbone)
        assert cosines([found[row]], images[row], backbone).item() == pytest.approx(scores.max().item(), abs=TOWER)


def test_more_words_reach_more_and_only_allowed_words_come_in(attack, backbone):
    texts, images, _, forbidden, pools, _ = attack
    results = substitute_words(*attack, words=3)
    reached = [cosines(list(texts), images, backbone)] + [cosines(found, images, backbone) for found in results]
    for before, after in itertools.pairwise(reached):
        assert (after >= before - TOWER).all()
    assert (reached[1] > reached[0] + 0.01).any() and (reached[2] > reached[1] + 1e-3).any()
    known = {word: tag for (tag, _), pool in pools.items() for word in pool.words}
    for count, found in enumerate(results, start=1):
        for row, (old, new) in enumerate(zip(texts, found, strict=True)):
            changed = [(a, b) for a, b in zip(old.split(), new.split(), strict=True) if a != b and b not in ("a", "an")]
            assert len(changed) <= count
            for before, after in changed:
                assert forms([after]).isdisjoint(forbidden[row]) and known[after] == TAGS[before]
        assert backbone.tokenize(found).mask.sum(dim=1).tolist() == backbone.tokenize(list(texts)).mask.sum(1).tolist()
    assert results == substitute_words(*attack, words=3)


def test_the_gradient_finds_better_words_than_chance(attack, backbone):
    """With one try, the first proposal against the mean over all allowed replacements."""
    texts, images, slots, forbidden, pools, _ = attack
    (first,) = substitute_words(*attack, words=1, tries=1)
    gains = cosines(first, images, backbone) - cosines(list(texts), images, backbone)
    chance = []
    for row, text in enumerate(texts):
        others = [
            replace_spans(text, {slot.span: word})
            for slot in slots[row]
            for word in pools[slot.pool].words
            if forms([word]).isdisjoint(forbidden[row])
        ]
        chance.append((cosines(others, images[row], backbone) - cosines([text], images[row], backbone)).mean())
    assert gains.mean() > torch.stack(chance).mean() + 0.03


def test_nothing_to_replace_leaves_the_text(attack, backbone):
    texts, images, slots, _, pools, _ = attack
    everything = [forms(word for pool in pools.values() for word in pool.words)] * len(texts)
    assert substitute_words(texts, images, slots, everything, pools, backbone, words=2) == [list(texts)] * 2
    assert substitute_words(texts, images, [[]] * len(texts), everything, pools, backbone, words=1) == [list(texts)]
    assert word_pools([], backbone) == {}
