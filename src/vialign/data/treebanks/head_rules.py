"""From brackets to dependencies: which child of a phrase is its head, and what the others are to it.

Head tables after Magerman (1995) and Collins (1999), with two changes: a content verb governs its auxiliaries, and a
clause governs its complementiser. Labels are the common English ones of ClearNLP (nsubj, dobj, prep, pobj, amod, ...),
so that a preposition governs its noun.
"""

from vialign.data.treebanks.penn import ADJECTIVES, NOUNS, PUNCTUATION, VERBS, Sentence, Tree, spacing, surface

ROOT = "ROOT"
COPULAS = frozenset(("is", "are", "was", "were", "be", "been", "being", "am", "'s", "'re", "'m"))
"""Forms of the verb that links a subject and what is said of it."""
AUXILIARIES = COPULAS | frozenset(
    ("has", "have", "had", "having", "do", "does", "did", "'ve", "'d", "'ll", "get", "gets")
)

_VERBAL = "VBD VBN MD VBZ VB VBG VBP TO"
_NOMINAL = "NN NNP NNPS NNS NX NML POS JJR"
_RULES: dict[str, tuple[tuple[str, str], ...]] = {
    "NP": (("right", _NOMINAL), ("left", "NP"), ("right", "$ ADJP PRN"), ("right", "CD"), ("right", "JJ JJS RB QP")),
    "VP": (("left", _VERBAL), ("left", "VP"), ("left", "ADJP JJ NN NNS NP")),
    "S": (("left", "VP"), ("left", "S SINV SBAR"), ("left", "ADJP UCP PP"), ("left", "NP")),
    "SINV": (("left", "VP"), ("left", _VERBAL), ("left", "S SINV"), ("left", "NP")),
    "SQ": (("left", "VP"), ("left", _VERBAL), ("left", "SQ")),
    "SBARQ": (("left", "SQ S SINV SBARQ"),),
    "SBAR": (("left", "S SQ SINV SBAR"), ("left", "WHNP WHPP WHADVP WHADJP IN DT")),
    "PP": (("right", "IN TO"), ("left", "VBG VBN RP FW JJ RB"), ("left", "PP")),
    "ADJP": (("right", "JJ JJR JJS VBN VBG"), ("left", "ADJP"), ("right", "NN NNS QP $ CD RB")),
    "ADVP": (("right", "RB RBR RBS FW"), ("left", "ADVP"), ("right", "JJ JJR JJS IN TO CD NN RP")),
    "QP": (("right", "CD NN NNS $ QP"), ("right", "JJ JJR RB IN DT")),
    "PRT": (("right", "RP"),),
    "CONJP": (("right", "CC RB IN"),),
    "WHNP": (("right", "NN NNS NNP NNPS"), ("left", "WDT WP WP$ WHADJP WHPP WHNP"), ("right", "CD JJ")),
    "WHADVP": (("right", "CC WRB"),),
    "WHADJP": (("right", "JJ ADJP WRB"),),
    "WHPP": (("right", "IN TO"),),
    "RRC": (("right", "VP NP ADVP ADJP PP"),),
    "FRAG": (("left", "S VP SQ SBAR NP"), ("left", "PP ADJP ADVP")),
}
_RULES["NX"] = _RULES["NML"] = _RULES["NP"]

_COARSE = {"N": "noun", "P": "preposition", "V": "verb", "J": "adjective", "R": "adverb", "S": "clause"}
_SPECIAL = {"ADJP": "adjective", "ADVP": "adverb", "IN": "preposition", "TO": "preposition", "PRP": "noun"}
_CLAUSES = ("S", "SBAR", "SINV", "SQ", "SBARQ", "FRAG")
_NOUN_PHRASES = ("NP", "NX", "NML", "WHNP")


def dependencies(tree: Tree) -> Sentence:
    """The sentence of a tree without traces: words, tags, heads and labels; always one root, always projective."""
    leaves = list(tree.leaves())
    heads = list(range(len(leaves)))
    labels = [ROOT] * len(leaves)

    def visit(node: Tree, start: int) -> tuple[int, int]:
        if node.word is not None:
            return start, start + 1
        tops = []
        end = start
        for child in node.children:
            top, end = visit(child, end)
            tops.append(top)
        head = head_child(node)
        tags = [leaves[top].label for top in tops]
        for position, top in enumerate(tops):
            if position != head:
                heads[top] = tops[head]
                labels[top] = _label(node, position, head, tags, leaves[tops[head]].word or "")
        return tops[head], end

    visit(tree, 0)
    words = [surface(leaf.word or "") for leaf in leaves]
    return Sentence(words, [leaf.label for leaf in leaves], heads, labels, spacing(words))


def head_child(node: Tree) -> int:
    """Position of the head among the children of a phrase."""
    categories = [child.category for child in node.children]
    if node.category in _NOUN_PHRASES and categories[-1] == "POS":
        return _noun_before_possessive(categories)
    if node.category in ("VP", "SQ", "SINV") and "VP" in categories:
        first = next((child for child in node.children if child.label in (*VERBS, "MD", "TO")), None)
        if first is not None and (first.label in ("MD", "TO") or (first.word or "").lower() in AUXILIARIES):
            return categories.index("VP")
    predicate = [i for i, child in enumerate(node.children) if "-PRD" in child.label]
    if node.category == "S" and "VP" not in categories and predicate:
        return predicate[0]
    for direction, wanted in _RULES.get(node.category, ()):
        order = range(len(categories)) if direction == "left" else range(len(categories) - 1, -1, -1)
        for position in order:
            if categories[position] in wanted.split():
                return _first_conjunct(categories, position)
    plain = [i for i, category in enumerate(categories) if category not in PUNCTUATION and category != "CC"]
    if not plain:
        return 0
    return plain[-1] if node.category in _NOUN_PHRASES else plain[0]


def _noun_before_possessive(categories: list[str]) -> int:
    nouns = [i for i, category in enumerate(categories[:-1]) if category in (*NOUNS, *_NOUN_PHRASES, "PRP", "CD")]
    return nouns[-1] if nouns else max(0, len(categories) - 2)


def _first_conjunct(categories: list[str], position: int) -> int:
    """Walk from the last member of a flat coordination (`black , white and red`) to its first."""
    if "CC" not in categories[:position]:
        return position
    kind = _coarse(categories[position])
    while True:
        before = position - 1
        while before >= 0 and categories[before] in ("CC", ",", ":"):
            before -= 1
        if before == position - 1 or before < 0 or _coarse(categories[before]) != kind:
            return position
        position = before


def _coarse(category: str) -> str:
    if category in _SPECIAL:
        return _SPECIAL[category]
    return _COARSE.get(category[0], category) if category[0].isalpha() else category


def _label(node: Tree, position: int, head: int, tags: list[str], head_word: str) -> str:
    """What the child at `position` is to the head child; `tags` are the parts of speech of the children's heads."""
    child, category, tag = node.children[position], node.children[position].category, tags[position]
    if category in PUNCTUATION or tag in PUNCTUATION:
        return "punct"
    if category in ("CC", "CONJP"):
        return "cc"
    if _is_conjunct(node, position, head):
        return "conj"
    if category in ("RP", "PRT"):
        return "prt"
    parent = "VP" if node.category in _CLAUSES else node.category
    if parent == "VP":
        return _verb_argument(node, child, position < head, tag, head_word)
    if parent in ("PP", "WHPP"):
        return _preposition_argument(category, position < head)
    if parent in _NOUN_PHRASES:
        return _noun_modifier(child, position < head, tag)
    if category in ("PP", "WHPP"):
        return "prep"
    if category in ("S", "SBAR"):
        return "ccomp"
    if category in ("NP", "QP", "CD"):
        return "npadvmod"
    return "advmod"


def _is_conjunct(node: Tree, position: int, head: int) -> bool:
    if position < head:
        return False
    between = [child.category for child in node.children[head + 1 : position]]
    after_head = [child.category for child in node.children[head + 1 :]]
    joined = any(category in ("CC", "CONJP") for category in after_head)
    separated = any(category in ("CC", "CONJP", ",", ":") for category in between)
    alike = _coarse(node.children[position].category) == _coarse(node.children[head].category)
    return joined and separated and (alike or node.category == "UCP")


def _verb_argument(node: Tree, child: Tree, before: bool, tag: str, head_word: str) -> str:
    category = child.category
    adverbial = any(f"-{function}" in child.label for function in ("TMP", "ADV", "EXT", "LOC", "VOC"))
    if tag == "EX":
        return "expl"
    if category in ("NP", "WHNP", "NX", *NOUNS, "PRP", "DT", "CD", "QP"):
        if adverbial:
            return "npadvmod"
        subject = node.category in _CLAUSES and (before or node.category in ("SINV", "SQ"))
        if subject:
            return "nsubj"
        return "attr" if head_word.lower() in COPULAS or "-PRD" in child.label else "dobj"
    if category in ("PP", "WHPP", "IN"):
        return "mark" if category == "IN" and before else "prep"
    if category in VERBS or category in ("MD", "TO"):
        return "aux"
    if category in ("ADJP", *ADJECTIVES):
        return "acomp" if not before else "advmod"
    if category in ("VP", "S", "SBAR", "SINV", "SQ"):
        if before:
            return "advcl"
        return "ccomp" if category != "VP" else "xcomp"
    return "advmod"


def _preposition_argument(category: str, before: bool) -> str:
    if before:
        return "advmod"
    if category in ("PP", "IN", "TO"):
        return "prep"
    if category in _CLAUSES or category in ("VP", *VERBS):
        return "pcomp"
    return "pobj"


def _noun_modifier(child: Tree, before: bool, tag: str) -> str:
    category = child.category
    if category == "POS":
        return "case"
    if category == "PRP$" or (before and category in _NOUN_PHRASES and child.tags()[-1] == "POS"):
        return "poss"
    if category in ("PP", "WHPP", "IN", "TO"):
        return "prep"
    if category == "SBAR":
        return "relcl"
    if category in ("VP", "S", "RRC"):
        return "acl"
    if before and category in ("DT", "PDT", "WDT", "WP$"):
        return "det"
    if category in ("CD", "QP"):
        return "nummod"
    if category in ("ADJP", *ADJECTIVES, *VERBS) or (before and tag in ADJECTIVES):
        return "amod"
    if category in (*NOUNS, *_NOUN_PHRASES):
        return "compound" if before else "appos"
    return "advmod"
