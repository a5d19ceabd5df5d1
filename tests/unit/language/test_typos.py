"""Typos change words and nothing else, and spans can be carried over."""

import itertools
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.language.typos import NEIGHBOURS, add_typos, with_typos
from vialign.tables.language import UNITS

texts = st.text(alphabet=string.ascii_letters + "éß12'- .,", max_size=60)
rates = st.floats(0, 1)
seeds = st.integers(0, 2**32 - 1)


def one_slip(old: str, new: str) -> bool:
    """Whether one swap, deletion, doubling or neighbouring key leads from a word to another, by trying all."""
    makes = [old[:i] + old[i + 1] + old[i] + old[i + 2 :] for i in range(len(old) - 1)]
    makes += [old[:i] + old[i + 1 :] for i in range(len(old))]
    makes += [old[:i] + old[i] + old[i:] for i in range(len(old))]
    for i, letter in enumerate(old):
        near = NEIGHBOURS.get(letter.lower(), "")
        makes += [old[:i] + other + old[i + 1 :] for other in (near.upper() if letter.isupper() else near)]
    return new != old and new in makes


@given(texts, rates, seeds)
def test_spaces_and_the_number_of_words_stay(text: str, rate: float, seed: int) -> None:
    typed = add_typos(text, rate, np.random.default_rng(seed))
    assert [i for i, c in enumerate(text) if c == " "] == [
        typed.offsets.index(i) for i, c in enumerate(typed.text) if c == " "
    ]
    assert len(typed.text.split()) == len(text.split())


@given(texts, rates, seeds)
def test_offsets_grow_from_the_first_to_the_last_boundary(text: str, rate: float, seed: int) -> None:
    typed = add_typos(text, rate, np.random.default_rng(seed))
    assert len(typed.offsets) == len(text) + 1
    assert typed.offsets[0] == 0 and typed.offsets[-1] == len(typed.text)
    assert all(0 <= b - a <= 2 for a, b in itertools.pairwise(typed.offsets))


@given(st.lists(st.text(alphabet=string.ascii_letters, min_size=2, max_size=9), min_size=1, max_size=8), seeds)
def test_every_word_gets_exactly_one_slip_at_rate_one(words: list[str], seed: int) -> None:
    text = " ".join(words)
    typed = add_typos(text, 1.0, np.random.default_rng(seed))
    start = 0
    for word in words:
        first, last = typed.span(start, start + len(word))
        assert one_slip(word, typed.text[first:last])
        start += len(word) + 1


@given(texts, seeds)
def test_no_typos_at_rate_zero(text: str, seed: int) -> None:
    typed = add_typos(text, 0.0, np.random.default_rng(seed))
    assert typed.text == text
    assert typed.offsets == tuple(range(len(text) + 1))


@given(seeds)
def test_words_of_one_letter_and_numbers_are_left_alone(seed: int) -> None:
    text = "a 12 3rd I 1990s B2B ?"
    assert add_typos(text, 1.0, np.random.default_rng(seed)).text == text


@given(st.floats(0, 1), st.floats(0, 1), seeds)
def test_a_higher_rate_keeps_the_typos_of_a_lower_one(one: float, two: float, seed: int) -> None:
    text = "a brown dog is running along the beach"
    low, high = (add_typos(text, rate, np.random.default_rng(seed)).text.split() for rate in sorted((one, two)))
    assert all(less in (word, more) for word, less, more in zip(text.split(), low, high, strict=True))


def test_the_share_of_changed_words_is_the_rate() -> None:
    text = "some people walk " * 2000
    words = add_typos(text, 0.1, np.random.default_rng(0)).text.split()
    changed = np.mean([a != b for a, b in zip(text.split(), words, strict=True)])
    assert abs(changed - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 6000)


def test_all_four_kinds_occur_equally_often() -> None:
    lengths, same_letters = [], []
    random = np.random.default_rng(1)
    for _ in range(4000):
        word = add_typos("garden", 1.0, random).text
        lengths.append(len(word))
        same_letters.append(sorted(word) == sorted("garden"))
    shares = [lengths.count(5) / 4000, lengths.count(7) / 4000, np.mean(same_letters)]
    assert np.allclose([*shares, 1 - sum(shares)], 0.25, atol=0.03)


def test_neighbouring_keys_are_mutual() -> None:
    assert set(NEIGHBOURS) == set(string.ascii_lowercase)
    assert all(letter in NEIGHBOURS[other] for letter, near in NEIGHBOURS.items() for other in near)
    assert set(NEIGHBOURS["g"]) == set("fhtyvb")


def test_a_rate_that_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rate is 1\.5"):
        add_typos("a dog", 1.5, np.random.default_rng(0))


@pytest.fixture(scope="module")
def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    texts = pd.DataFrame({"text_id": ["x", "y"], "text": ["a brown dog near two boats", "the dog runs"]})
    rows = [
        ("x", 0, "entity", 0, 11, 8, 11, -1, -1),
        ("x", 1, "relation", 12, 16, 12, 16, 0, 2),
        ("x", 2, "entity", 17, 26, 21, 26, -1, -1),
        ("y", 0, "entity", 0, 7, 4, 7, -1, -1),
        ("z", 0, "entity", 0, 3, 0, 3, -1, -1),
    ]
    return texts, pd.DataFrame(rows, columns=list(UNITS.columns))


@given(seeds)
def test_units_cover_the_same_words_after_typos(frames, seed: int) -> None:
    texts, units = frames
    typed, moved = with_typos(texts, units, 1.0, seed)
    assert moved["text_id"].tolist() == ["x", "x", "x", "y"]  # z is no text of the frame
    old, new = texts.set_index("text_id")["text"], typed.set_index("text_id")["text"]
    for before, after in zip(units.itertuples(), moved.itertuples(), strict=False):
        for start, end in (("start", "end"), ("head_start", "head_end")):
            text = old[before.text_id]
            first = text[: getattr(before, start)].count(" ")
            count = text[getattr(before, start) : getattr(before, end)].count(" ") + 1
            words = new[after.text_id].split()[first : first + count]
            assert new[after.text_id][getattr(after, start) : getattr(after, end)] == " ".join(words)


def test_a_text_draws_by_its_own_id_and_at_its_own_rate(frames) -> None:
    texts, units = frames
    both, _ = with_typos(texts, units, 1.0, 3)
    alone, _ = with_typos(texts.iloc[1:], units, [1.0], 3)
    assert alone["text"].tolist() == both["text"].tolist()[1:]
    mixed, _ = with_typos(texts, units, [0.0, 1.0], 3)
    assert mixed["text"].tolist() == [texts["text"][0], both["text"][1]]
    assert texts["text"][0] == "a brown dog near two boats"  # the frame that was given stays as it was
