"""When two answers of VQA are one: the normalisation of the official evaluation.

Source: "VQA: Visual Question Answering" (Agrawal et al. 2015, arXiv:1505.00468) and the evaluation that visualqa.org
describes; where its words and its program differ, this follows the program, in the version that published results are
measured with. It is applied to answers of people and of the model alike.
"""

import re
from collections import Counter
from collections.abc import Iterable

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(value) for value, word in enumerate(_NUMBERS)} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS = 32
"""Periods that the program takes away at most: it hands a flag over where a count belongs."""
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(contractions: Iterable[str]) -> dict[str, str]:
    """Every spelling that lacks exactly one apostrophe, with the full spelling it stands for."""
    return {
        full[:place] + full[place + 1 :]: full
        for full in contractions
        for place, letter in enumerate(full)
        if letter == "'"
    }


# The program's own entry for this one word takes the apostrophe away.
_APOSTROPHES = _without_one_apostrophe(_CONTRACTIONS.split()) | {"somebody'd": "somebodyd"}


def normalise_answer(answer: str) -> str:
    """The answer as the official evaluation compares it.

    Lower case; marks become a space, but vanish where the answer has the same mark beside a space, and all of them do
    where it has a comma between digits (1,000-2,000 is 10002000); periods that no digit follows go; number words become
    digits; articles go; a contraction that lacks one apostrophe gets it back. Apostrophe and colon are no marks.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip().lower()
    number = _COMMA_IN_NUMBER.search(text) is not None
    plain = text
    for mark in _MARKS:
        gone = number or f"{mark} " in text or f" {mark}" in text
        plain = plain.replace(mark, "" if gone else " ")
    plain = _PERIOD.sub("", plain, count=_PERIODS)
    words = (_DIGITS.get(word, word) for word in plain.split())
    return " ".join(_APOSTROPHES.get(word, word) for word in words if word not in _ARTICLES)


def distinct_answers(answers: Iterable[str]) -> list[tuple[str, int]]:
    """Answers that are one to the evaluation, taken together: how they are most often written, and how often given.

    Most frequent first, ties by the alphabet. An answer of which the normalisation leaves nothing is left out.
    """
    spellings: dict[str, Counter[str]] = {}
    for answer in answers:
        key = normalise_answer(answer)
        if key:
            spellings.setdefault(key, Counter())[" ".join(answer.lower().split())] += 1
    found = [(min(kinds, key=lambda name: (-kinds[name], name)), kinds.total()) for kinds in spellings.values()]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))
