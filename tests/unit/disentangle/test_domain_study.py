"""The study across domains, end to end on a small scale."""

import itertools

import numpy as np
import pytest

from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig, LanguageConfig
from vialign.config.disentangle import TextConfig
from vialign.data.treebanks.head_rules import dependencies
from vialign.data.treebanks.penn import parse_tree
from vialign.disentangle.domains import study_domains
from vialign.language.domains import Domain, read_domains
from vialign.tables.language import SPANS

NAMES, VERBS, THINGS = ("Ann", "Bob", "Carl", "Dora"), ("sold", "bought", "kept", "lost"), ("shares", "bonds", "gold")


def wire():
    """Sentences of another world, all different, with their brackets."""
    said = itertools.product(NAMES, VERBS, THINGS)
    trees = [
        parse_tree(f"(S (NP (NNP {name})) (VP (VBD {verb}) (NP (DT the) (JJ old) (NNS {thing}))) (. .))")
        for name, verb, thing in said
    ]
    sentences = [dependencies(tree) for tree in trees]
    return Domain("wire", sentences[:30], sentences[30:40], sentences[40:], trees[40:])


@pytest.fixture(scope="module")
def spans():
    captions = read_domains(LanguageConfig(domain_sentences=80, domain_texts=15), 0)[0]
    config = TextConfig(steps=40, batch=16, typed_texts=30, typos=(0.0, 0.3))
    return study_domains([captions, wire()], load_backbone(BackboneConfig()), config, epochs=8, seed=0)


def test_every_domain_is_judged_on_every_one_at_every_rate(spans):
    assert SPANS.check(spans) is not None
    for (_, _, typos), part in spans.groupby(["trained_on", "domain", "typos"]):
        assert set(part["path"]) == {"main", "fallback", "mixed", "asked"} and typos in (0.0, 0.3)
        assert {"all", "entity", "noun phrase"} <= set(part["kind"])
    assert len(spans.groupby(["trained_on", "domain", "typos"])) == 8
    counts = spans.groupby("domain")["count"].unique()
    assert counts["wire"].tolist() == [8] and counts["captions"].tolist() == [15]


def test_the_parser_knows_its_own_domain_and_typos_hurt_it(spans):
    f1 = spans[(spans["path"] == "fallback") & (spans["kind"] == "all")].set_index(["trained_on", "domain", "typos"])[
        "f1"
    ]
    assert f1["captions", "captions", 0.0] > 0.9 and f1["wire", "wire", 0.0] > 0.9
    for one, other in (("captions", "wire"), ("wire", "captions")):
        assert f1[one, other, 0.0] < f1[one, one, 0.0] - 0.2
        assert f1[one, one, 0.3] <= f1[one, one, 0.0]


def test_margins_are_differences_of_the_same_table(spans):
    best = (
        spans[spans["path"].isin(["main", "fallback"])].groupby(["trained_on", "domain", "typos", "kind"])["f1"].max()
    )
    mixed = spans[spans["path"] == "mixed"].set_index(["trained_on", "domain", "typos", "kind"])
    difference = mixed["f1"] - best.loc[mixed.index]
    assert np.allclose(mixed["margin"], difference)
