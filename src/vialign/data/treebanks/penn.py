"""Penn Treebank brackets: trees, streams of trees, the two folder layouts, and text with character offsets.

Format: Marcus, Santorini, Marcinkiewicz, "Building a large annotated corpus of English: the Penn Treebank" (1993).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vialign.errors import UserError
from vialign.files.text import text_lines

TRACE = "-NONE-"
"""Tag of a leaf that stands for no spoken word."""
NOUNS = frozenset(("NN", "NNS", "NNP", "NNPS"))
ADJECTIVES = frozenset(("JJ", "JJR", "JJS"))
VERBS = frozenset(("VB", "VBD", "VBG", "VBN", "VBP", "VBZ"))
PUNCTUATION = frozenset((",", ".", ":", "``", "''", "-LRB-", "-RRB-", "HYPH", "NFP"))
"""Tags of punctuation, of the Penn Treebank and of the later English treebanks."""


def word_set(words: str) -> frozenset[str]:
    """The words of a string as a set: closed lists stay readable on one line."""
    return frozenset(words.split())


_TOKEN = re.compile(r"[()]|[^\s()]+")
_WRAPPERS = ("", "TOP", "ROOT")
_SURFACE = {
    "-LRB-": "(",
    "-RRB-": ")",
    "-LSB-": "[",
    "-RSB-": "]",
    "-LCB-": "{",
    "-RCB-": "}",
    "``": '"',
    "''": '"',
    "\\/": "/",
    "\\*": "*",
}
_NO_SPACE_BEFORE = frozenset((",", ".", ":", ";", "?", "!", ")", "]", "}", "%", "n't", "'"))
_CLITIC = re.compile(r"'(s|re|ve|ll|d|m)$", re.IGNORECASE)
_NO_SPACE_AFTER = frozenset(("(", "[", "{", "$", "#"))


@dataclass(frozen=True, slots=True)
class Tree:
    """A phrase with children, or a tagged word; never both."""

    label: str
    """Phrase category with its function tags (`NP-SBJ`), or the part of speech of a word."""
    children: tuple["Tree", ...] = ()
    word: str | None = None
    """The word of a leaf as written in the brackets (`-LRB-`, not a parenthesis)."""

    def __str__(self) -> str:
        return write(self)

    @property
    def category(self) -> str:
        """The label without function tags and indices: `NP-SBJ-1` is `NP`."""
        return strip_label(self.label)

    def leaves(self) -> Iterator["Tree"]:
        """Its tagged words, left to right."""
        if self.word is not None:
            yield self
        for child in self.children:
            yield from child.leaves()

    def words(self) -> list[str]:
        """Its words as written in the brackets."""
        return [leaf.word or "" for leaf in self.leaves()]

    def tags(self) -> list[str]:
        """The part of speech of each word."""
        return [leaf.label for leaf in self.leaves()]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A tagged sentence with its dependencies; all lists have one entry a word."""

    words: list[str]
    """Words as they stand in running text."""
    tags: list[str]
    """Penn Treebank parts of speech."""
    heads: list[int]
    """Position of the word that governs this one; the root governs itself."""
    labels: list[str]
    """Dependency labels of `vialign.data.treebanks.head_rules`."""
    spaces: list[bool]
    """Whether a space follows the word in running text."""

    @property
    def text(self) -> str:
        """The running text."""
        return "".join(
            word + (" " if space else "") for word, space in zip(self.words, self.spaces, strict=True)
        ).strip()


def strip_label(label: str) -> str:
    """A label without function tags: `NP-SBJ=2` is `NP`, `ADVP|PRT` is `ADVP`, `-LRB-` stays."""
    return label if label.startswith("-") else re.split(r"[-=|]", label, maxsplit=1)[0] or label


def write(tree: Tree) -> str:
    """The tree as one line of brackets; `parse_tree` reads it back."""
    if tree.word is not None:
        return f"({tree.label} {tree.word})"
    return f"({tree.label} {' '.join(write(child) for child in tree.children)})"


def parse_tree(text: str) -> Tree:
    """The one tree that a string holds.

    Raises UserError when the string does not hold exactly one well-formed tree.
    """
    trees = list(parse_trees([text], "brackets"))
    if len(trees) != 1:
        raise UserError(f"brackets {text[:60]!r}: {len(trees)} trees where one was expected; separate the sentences")
    return trees[0]


def parse_trees(lines: Iterable[str], source: str) -> Iterator[Tree]:
    """Trees of a stream of lines, each yielded when its last bracket closes.

    An outer bracket without label (or TOP, ROOT) around one tree is removed. Raises UserError naming `source` and the
    line of an unbalanced bracket, of a word outside brackets, of an empty phrase, of one without label inside another
    and of a leaf with two words.
    """
    stack: list[_Open] = []
    after_bracket = False
    for number, line in enumerate(lines, start=1):
        for token in _TOKEN.findall(line):
            if token == "(":
                stack.append(_Open(number))
                after_bracket = True
                continue
            if not stack:
                raise UserError(f"{source}, line {number}: {token!r} outside any bracket; open it with '('")
            if token == ")":
                tree = stack.pop().close(source, number)
                if stack:
                    if not tree.label:
                        raise UserError(
                            f"{source}, line {number}: a bracket inside a sentence has no label; only the outermost may"
                        )
                    stack[-1].children.append(tree)
                else:
                    yield _unwrap(tree)
            elif after_bracket:
                stack[-1].label = token
            else:
                stack[-1].words.append(token)
            after_bracket = False
    if stack:
        raise UserError(f"{source}, line {stack[0].line}: bracket is never closed; add the missing ')'")


class _Open:
    """A bracket that has not been closed yet."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.label = ""
        self.children: list[Tree] = []
        self.words: list[str] = []

    def close(self, source: str, number: int) -> Tree:
        if self.words and (self.children or len(self.words) > 1):
            raise UserError(
                f"{source}, line {number}: ({self.label} ...) mixes {self.words} with other content; "
                "a leaf is one tag and one word"
            )
        if not self.words and not self.children:
            raise UserError(f"{source}, line {number}: ({self.label}) is empty; give it a word or remove it")
        return Tree(self.label, tuple(self.children), self.words[0] if self.words else None)


def _unwrap(tree: Tree) -> Tree:
    while tree.label in _WRAPPERS and len(tree.children) == 1 and tree.word is None:
        tree = tree.children[0]
    return tree


def clean(tree: Tree, functions: bool = True) -> Tree | None:
    """The tree without traces and the phrases they leave empty; None when no word is left.

    `functions=False` also strips function tags from the labels of phrases.
    """
    if tree.word is not None:
        return None if tree.label == TRACE else tree
    children = tuple(kept for child in tree.children if (kept := clean(child, functions)) is not None)
    return Tree(tree.label if functions else tree.category, children) if children else None


def read_trees(path: str | Path, functions: bool = True) -> list[Tree]:
    """Sentences of one bracket file (`.mrg`), traces removed.

    Raises UserError naming the file, and the line where the brackets are broken.
    """
    try:
        lines = (line for _, line in text_lines(path))
        trees = [clean(tree, functions) for tree in parse_trees(lines, str(path))]
    except RecursionError:
        raise UserError(f"{path}: has brackets nested too deeply to be a sentence; get it again") from None
    return [tree for tree in trees if tree is not None]


def split_files(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """Training and held-out `.mrg` files of a treebank folder.

    The LDC layout (`parsed/mrg/wsj/<section>/`) is split as usual: sections 02-21 against 23. A flat folder, such as
    the public sample, holds out its last tenth. Raises UserError when the folder has fewer than two files.
    """
    files = sorted(Path(folder).rglob("*.mrg"))
    if len(files) < 2:
        raise UserError(f"{folder}: {len(files)} .mrg files; set language.folder to a treebank folder")
    sections = {file.parent.name for file in files}
    if {"02", "23"} <= sections:
        train = [file for file in files if "02" <= file.parent.name <= "21"]
        return train, [file for file in files if file.parent.name == "23"]
    held = max(1, len(files) // 10)
    return files[:-held], files[-held:]


def surface(word: str) -> str:
    """A bracket word as it stands in running text."""
    for written, plain in _SURFACE.items():
        word = word.replace(written, plain)
    return word


def spacing(words: Sequence[str]) -> list[bool]:
    """Whether a space follows each word of running text, by the usual rules of English print."""
    spaces = []
    inside_quotes = False
    for position, word in enumerate(words):
        if word == '"':
            inside_quotes = not inside_quotes
        following = words[position + 1] if position + 1 < len(words) else None
        opens = (word == '"' and inside_quotes) or word in _NO_SPACE_AFTER
        joins = following is not None and (
            following.lower() in _NO_SPACE_BEFORE
            or _CLITIC.fullmatch(following) is not None
            or (following == '"' and inside_quotes)
        )
        spaces.append(following is not None and not opens and not joins)
    return spaces


def detokenise(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Running text of bracket words, and the characters [start, end) of each word in it."""
    plain = [surface(word) for word in words]
    text = ""
    offsets = []
    for word, space in zip(plain, spacing(plain), strict=True):
        offsets.append((len(text), len(text) + len(word)))
        text += word + (" " if space else "")
    return text, offsets


def align(words: Sequence[str], text: str) -> list[tuple[int, int]]:
    """Characters [start, end) of each bracket word in a text that holds the words in order (case is ignored).

    Raises ValueError naming the first word that the text does not hold where it should.
    """
    offsets = []
    place = 0
    lowered = text.lower()
    for word in words:
        plain = surface(word).lower()
        while place < len(text) and text[place].isspace():
            place += 1
        if not lowered.startswith(plain, place):
            raise ValueError(f"text {text!r} has {text[place : place + 12]!r} where the tree has {word!r}")
        offsets.append((place, place + len(plain)))
        place += len(plain)
    return offsets
