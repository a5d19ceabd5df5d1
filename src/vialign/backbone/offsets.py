"""Byte-pair tokens with their place in the original text.

open_clip's tokenizer repairs, unescapes, squeezes and lowercases a text before it cuts it. Here its own pattern and
merges run on the cleaned text, and the cleaned text is aligned with the original character by character.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher

from open_clip.tokenizer import SimpleTokenizer

Span = tuple[int, int]
"""First character and one past the last character."""


def encode_with_offsets(tokenizer: SimpleTokenizer, text: str) -> tuple[list[int], list[Span]]:
    """Token ids as `tokenizer.encode(text)` gives them, and each token's span in `text`.

    Spans lie inside the text; their starts and their ends never decrease. A token of several bytes of one character
    spans that character; a token that the cleaning put in has an empty span where it would stand.
    """
    cleaned = tokenizer.clean_fn(text)
    origin = align(cleaned, text)
    ids: list[int] = []
    spans: list[Span] = []
    for match in tokenizer.pat.finditer(cleaned):
        characters = _places(match.group(), match.start())
        word = "".join(tokenizer.byte_encoder[byte] for byte in match.group().encode())
        first = 0
        for piece in tokenizer.bpe(word).split(" "):
            last = first + len(piece.removesuffix("</w>"))
            ids.append(tokenizer.encoder[piece])
            spans.append((origin[characters[first]][0], origin[characters[last - 1]][1]))
            first = last
    return ids, spans


def align(cleaned: str, original: str) -> list[Span]:
    """The span in `original` that each character of `cleaned` comes from; starts and ends never decrease.

    White space is left out of the matching, because cleaning squeezes it; its own spans are of no use.
    """
    if original.isascii() and cleaned == original.lower():
        return [(place, place + 1) for place in range(len(cleaned))]
    sources = [
        (letter, at) for at, letters in enumerate(original) for letter in letters.lower() if not letter.isspace()
    ]
    targets = [(letter.lower(), at) for at, letter in enumerate(cleaned) if not letter.isspace()]
    spans: list[Span] = [(0, 0)] * len(cleaned)
    left, right = [letter for letter, _ in sources], [letter for letter, _ in targets]
    blocks = [(0, len(left), 0, len(right))]
    if left != right:
        blocks = [block[1:] for block in SequenceMatcher(None, left, right, autojunk=False).get_opcodes()]
    start = end = 0
    for source, source_end, target, target_end in blocks:
        same = source_end - source == target_end - target
        for number in range(target, target_end):
            if same:
                first = sources[source + number - target][1]
                last = first + 1
            elif source_end > source:
                first, last = sources[source][1], sources[source_end - 1][1] + 1
            else:
                first = last = sources[source][1] if source < len(sources) else len(original)
            start, end = max(start, first), max(end, last)
            spans[targets[number][1]] = (start, end)
    return spans


def _places(word: str, start: int) -> Sequence[int]:
    """The place of each byte's character in a text where `word` begins at `start`."""
    if word.isascii():
        return range(start, start + len(word))
    return [place for place, letter in enumerate(word, start) for _ in letter.encode()]
