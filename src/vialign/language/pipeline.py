"""A small English spaCy pipeline (Penn tags and dependencies), trained from a treebank; nothing is downloaded."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vialign.data.treebanks.penn import PUNCTUATION, Sentence
from vialign.errors import UserError
from vialign.progress import track
from vialign.random import derive_seed, generator

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

_ROWS = (2000, 1000, 1000, 500)
"""Hash table rows for norm, prefix, suffix and shape of a word."""


def train_pipeline(
    sentences: Sequence[Sentence],
    *,
    epochs: int,
    seed: int,
    width: int = 64,
    depth: int = 3,
    dropout: float = 0.1,
) -> "Language":
    """A tagger and a transition-based dependency parser on one shared convolutional encoder.

    The same sentences and seed give the same weights. A tenth of the sentences is also shown in lower case and without
    its final stop, so that captions do not surprise a parser that has read newspapers. Raises UserError when
    `sentences` is empty.
    """
    import spacy
    from spacy.training import Example
    from spacy.util import compounding, fix_random_seed, minibatch

    if not sentences:
        raise UserError("language: no training sentences; check language.treebank and language.folder")
    fix_random_seed(derive_seed(seed, "parser") % 2**32)
    nlp = spacy.blank("en")
    _add_components(nlp, width, depth, len(sentences))
    random = generator(seed, "parser order")
    plain = [_plain_variant(s) for s in sentences if random.random() < 0.1]
    examples = [Example(nlp.make_doc(""), _gold(s, nlp)) for s in [*sentences, *plain] if s.words]
    for example in examples:
        example.predicted = _blank(example.reference)
    optimizer = nlp.initialize(lambda: examples[:2000])
    sizes = compounding(8, 128, 1.005)
    batches = []
    for _ in range(epochs):
        batches += minibatch([examples[i] for i in random.permutation(len(examples))], size=sizes)
    for batch in track(batches, "train tagger and parser", len(batches)):
        nlp.update(batch, sgd=optimizer, drop=dropout)
    return nlp


def _add_components(nlp: "Language", width: int, depth: int, sentences: int) -> None:
    embed = {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": width,
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
        "rows": list(_ROWS),
        "include_static_vectors": False,
    }
    encode = {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": width,
        "window_size": 1,
        "maxout_pieces": 3,
        "depth": depth,
    }
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": width}
    nlp.add_pipe("tok2vec", config={"model": {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": encode}})
    nlp.add_pipe("tagger", config={"model": {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}})
    parser: dict[str, Any] = {
        "min_action_freq": max(1, min(30, sentences // 100)),
        "model": {
            "@architectures": "spacy.TransitionBasedParser.v2",
            "state_type": "parser",
            "extra_state_tokens": False,
            "hidden_width": 64,
            "maxout_pieces": 2,
            "use_upper": True,
            "tok2vec": listener,
        },
    }
    nlp.add_pipe("parser", config=parser)


def _plain_variant(sentence: Sentence) -> Sentence:
    """The sentence in lower case, without its final stop where nothing hangs on it."""
    keep = len(sentence.words)
    last = keep - 1
    if sentence.tags[last] in PUNCTUATION and last > 0 and sentence.heads.count(last) == 0:
        keep = last
    spaces = [*sentence.spaces[: keep - 1], False]
    words = [word.lower() for word in sentence.words[:keep]]
    return Sentence(words, sentence.tags[:keep], sentence.heads[:keep], sentence.labels[:keep], spaces)


def _gold(sentence: Sentence, nlp: "Language") -> "Doc":
    from spacy.tokens import Doc

    return Doc(
        nlp.vocab,
        words=sentence.words,
        spaces=sentence.spaces,
        tags=sentence.tags,
        heads=sentence.heads,
        deps=sentence.labels,
    )


def _blank(doc: "Doc") -> "Doc":
    from spacy.tokens import Doc

    return Doc(doc.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])


def tag_texts(nlp: "Language", texts: Sequence[str]) -> list[list[tuple[str, str]]]:
    """The words of each text with their Penn Treebank tags."""
    docs = nlp.pipe(texts, disable=["parser"], batch_size=256)
    return [[(token.text, token.tag_) for token in doc if not token.is_space] for doc in docs]


def evaluate_pipeline(
    nlp: "Language", sentences: Sequence[Sentence], domain: str, *, seed: int, bootstrap: int = 1000
) -> pd.DataFrame:
    """QUALITY rows: tag accuracy over all words, UAS and LAS over words that are not punctuation.

    Words are given, not found. Intervals: 95 % bootstrap over sentences.
    """
    docs = [_blank(_gold(sentence, nlp)) for sentence in sentences]
    tagged, attached, labelled, words, scored = (np.zeros(len(docs)) for _ in range(5))
    predictions = track(nlp.pipe(docs, batch_size=256), f"parse held-out {domain}", len(docs))
    for row, (doc, gold) in enumerate(zip(predictions, sentences, strict=True)):
        words[row] = len(gold.words)
        for token, tag, head, label in zip(doc, gold.tags, gold.heads, gold.labels, strict=True):
            tagged[row] += token.tag_ == tag
            if tag in PUNCTUATION:
                continue
            scored[row] += 1
            attached[row] += token.head.i == head
            labelled[row] += token.head.i == head and token.dep_ == label
    measures = (
        ("tagger", "tag_accuracy", tagged, words),
        ("parser", "uas", attached, scored),
        ("parser", "las", labelled, scored),
    )
    rows = [
        quality_row(subject, domain, measure, hits, totals, seed=seed, bootstrap=bootstrap)
        for subject, measure, hits, totals in measures
        if totals.sum() > 0
    ]
    return pd.DataFrame(rows)


def quality_row(
    subject: str,
    domain: str,
    measure: str,
    hits: np.ndarray,
    totals: np.ndarray,
    *,
    seed: int,
    bootstrap: int,
) -> dict[str, Any]:
    """One QUALITY row: sum of `hits` over sum of `totals`, one entry a sentence, with a bootstrap interval."""
    draws = bootstrap_sums(np.stack([hits, totals]), seed=seed, bootstrap=bootstrap)
    low, high = np.nanquantile(draws[:, 0] / np.where(draws[:, 1] > 0, draws[:, 1], np.nan), (0.025, 0.975))
    return {
        "subject": subject,
        "domain": domain,
        "measure": measure,
        "value": float(hits.sum() / totals.sum()),
        "low": float(low),
        "high": float(high),
        "count": int(totals.sum()),
    }


def bootstrap_sums(counts: np.ndarray, *, seed: int, bootstrap: int) -> np.ndarray:
    """Sums of `counts` (measure, sentence) over `bootstrap` resamples of the sentences: (bootstrap, measure)."""
    sentences = counts.shape[1]
    random = generator(seed, "bootstrap over sentences")
    weights = random.multinomial(sentences, np.full(sentences, 1 / sentences), size=bootstrap)
    return weights @ counts.T


def save_pipeline(nlp: "Language", folder: str | Path, provenance: Mapping[str, str]) -> None:
    """Write the pipeline so that the folder appears only when it is complete; what made it stands in its meta.json."""
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    nlp.meta["vialign"] = dict(provenance)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        nlp.to_disk(temporary)
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_pipeline(folder: str | Path) -> "Language":
    """A pipeline that `save_pipeline` wrote, or any English spaCy pipeline with Penn tags and a parser.

    Raises UserError when the folder is missing, unreadable, or lacks the tagger or the parser.
    """
    import spacy

    if not (Path(folder) / "meta.json").is_file():
        raise UserError(f"{folder}: no spaCy pipeline there; make it with `snakemake language`")
    try:
        nlp = spacy.load(folder)
        nlp("a red circle")  # some damage is only found at the first text
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{folder}: spaCy cannot read it ({reason}); delete the folder and run again") from None
    missing = [name for name in ("tagger", "parser") if name not in nlp.pipe_names]
    if missing:
        raise UserError(f"{folder}: the pipeline has no {' and no '.join(missing)}; delete the folder and run again")
    return nlp
