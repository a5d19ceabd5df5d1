"""Domains: parts that share no sentence, drawn captions, and treebanks by name."""

import pytest

from vialign.config.data import LanguageConfig, TreebankConfig
from vialign.errors import UserError
from vialign.language.domains import gold_texts, read_domains
from vialign.tables.language import UNITS

SIZES = {"domain_sentences": 30, "domain_texts": 10}


@pytest.fixture
def bank(tmp_path, brackets_of_captions):
    """A small bracket treebank of twelve files."""
    for number in range(12):
        lines = brackets_of_captions[number * 10 : number * 10 + 10]
        (tmp_path / f"wsj_{number:04d}.mrg").write_text("\n".join(f"( {line} )" for line in lines), encoding="utf-8")
    return tmp_path


def texts_of(sentences):
    return [sentence.text for sentence in sentences]


def test_parts_of_drawn_captions_share_no_text_and_follow_the_seed():
    config = LanguageConfig(**SIZES)
    (captions,) = read_domains(config, 0)
    assert (captions.name, len(captions.train), len(captions.gate), len(captions.held_out)) == ("captions", 32, 8, 10)
    known = {*texts_of(captions.train), *texts_of(captions.gate)}
    assert not known & set(texts_of(captions.held_out))
    assert [tree.words() for tree in captions.trees] == [sentence.words for sentence in captions.held_out]
    assert texts_of(read_domains(config, 0)[0].train) == texts_of(captions.train)
    assert texts_of(read_domains(config, 1)[0].train) != texts_of(captions.train)


def test_a_named_treebank_is_a_domain_with_brackets(bank):
    named = {"wire": TreebankConfig(treebank="ptb", folder=str(bank))}
    captions, wire = read_domains(LanguageConfig(domains=named, **SIZES), 0)
    assert (captions.name, wire.name) == ("captions", "wire")
    assert len(wire.train) + len(wire.gate) == 40 and len(wire.held_out) == len(wire.trees) == 10
    gold = gold_texts(wire.held_out, wire.trees)
    assert set(UNITS.check(gold.units)["text_id"]) == set(gold.texts["text_id"])
    assert gold.noun_phrases is not None and len(UNITS.check(gold.noun_phrases)) >= 10
    assert gold_texts(wire.held_out).noun_phrases is None


def test_user_errors_name_the_field(bank, tmp_path):
    def read(**domains):
        return read_domains(LanguageConfig(domains=domains, **SIZES), 0)

    with pytest.raises(UserError, match=r"language\.domains\.web\.folder.*no folder"):
        read(web=TreebankConfig(treebank="ud", folder=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match="choose another"):
        read(captions=TreebankConfig(treebank="ptb", folder=str(bank)))
    for path in sorted(bank.glob("*.mrg")):
        path.write_text("( (NN dog) )", encoding="utf-8")
    with pytest.raises(UserError, match=r"domain wire: 0 training"):
        read(wire=TreebankConfig(treebank="ptb", folder=str(bank)))
