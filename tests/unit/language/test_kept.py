"""A parser is trained once for the same sentences, and what is kept of it reads as the trained one does."""

import pytest

from vialign import random
from vialign.data.treebanks.penn import Sentence
from vialign.errors import UserError
from vialign.language import kept, pipeline

SENTENCES = [
    Sentence(["a", colour, "dog", "runs"], ["DT", "JJ", "NN", "VBZ"], [2, 2, 3, 3], ["det", "amod", "nsubj", "ROOT"],
             [True, True, True, False])
    for colour in ("red", "blue", "green")
]  # fmt: skip


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """The arguments of every training."""
    calls, train = [], pipeline.train_pipeline
    monkeypatch.setenv(kept.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(pipeline, "train_pipeline", lambda found, **how: calls.append(how) or train(found, **how))
    return calls


def read(nlp):
    return [(word.tag_, word.dep_, word.head.i) for word in nlp("a red dog runs and a blue one sleeps")]


def weights(nlp):
    return [nlp.get_pipe(name).model.to_bytes() for name in nlp.pipe_names]


def test_the_same_sentences_are_learned_once_and_read_alike(trained):
    first, again = (kept.kept_or_trained(SENTENCES, epochs=4, seed=1) for _ in range(2))
    assert trained == [{"epochs": 4, "seed": 1}]
    assert read(first) == read(again) and weights(first) == weights(again)


def test_another_sentence_epoch_seed_or_code_is_learned_anew(trained, monkeypatch, tmp_path):
    kept.kept_or_trained(SENTENCES, epochs=4, seed=1)
    other = Sentence([*SENTENCES[0].words], ["DT", "NN", "NN", "VBZ"], *(
        getattr(SENTENCES[0], name) for name in ("heads", "labels", "spaces")
    ))  # fmt: skip
    kept.kept_or_trained([other, *SENTENCES[1:]], epochs=4, seed=1)
    kept.kept_or_trained(SENTENCES, epochs=5, seed=1)
    kept.kept_or_trained(SENTENCES, epochs=4, seed=2)
    (tmp_path / "other.py").write_text("# other code")
    for module in (pipeline, random):
        monkeypatch.setattr(module, "__file__", str(tmp_path / "other.py"))
        kept.kept_or_trained(SENTENCES, epochs=4, seed=1)
    assert len(trained) == 6 == len(list((tmp_path / "cache/parsers").iterdir()))


def test_a_kept_one_that_is_damaged_is_trained_again(trained, tmp_path):
    kept.kept_or_trained(SENTENCES, epochs=4, seed=1)
    (place,) = (tmp_path / "cache/parsers").iterdir()
    (place / "parser/model").write_bytes(b"half")
    assert read(kept.kept_or_trained(SENTENCES, epochs=4, seed=1))
    kept.kept_or_trained(SENTENCES, epochs=4, seed=1)
    assert len(trained) == 2


def test_where_nothing_can_be_written_it_is_trained_each_time(trained, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(kept.CACHE, str(tmp_path / "file"))
    for _ in range(2):
        assert read(kept.kept_or_trained(SENTENCES, epochs=4, seed=1))
    assert len(trained) == 2


def test_no_sentences_are_refused_and_nothing_is_kept(trained, tmp_path):
    with pytest.raises(UserError, match="no training sentences"):
        kept.kept_or_trained([], epochs=4, seed=1)
    assert not (tmp_path / "cache").exists()


def test_the_folder_is_the_named_one_or_the_systems(monkeypatch, tmp_path):
    monkeypatch.setenv(kept.CACHE, str(tmp_path))
    assert kept.cache_folder() == tmp_path
    monkeypatch.delenv(kept.CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept.cache_folder() == tmp_path / "vialign"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kept.cache_folder() == tmp_path / ".cache/vialign"
