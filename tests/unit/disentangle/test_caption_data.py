"""Captions read in memory, with typos, and what the fit makes of them."""

import numpy as np
import pandas as pd
import pytest
import spacy
import torch
import torch.nn.functional as F
from spacy.tokens import Doc

from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.config.disentangle import TextConfig
from vialign.disentangle import fit_text, text_fitting
from vialign.disentangle.caption_data import CaptionData, TypedCaptions, cut, padded, type_captions
from vialign.disentangle.readings import Readings, TokenStates, parse_again, read_states
from vialign.disentangle.text_fitting import fit_reader, with_share
from vialign.disentangle.types import Prototypes, TokenStructure
from vialign.language.units import extract_units

TEXT = TextConfig(units=6, width=8, adapter_rank=4, steps=60, batch=32, typed_texts=20, gate_texts=10)
TEXTS = ["a red circle is above a small blue square", "there is a ring", "a green star, a box and a white heart"]


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(BackboneConfig())


class EveryWordANoun:
    """Stands for the parser: each word is an entity of its own, so a swap of letters never changes what it finds."""

    def pipe(self, texts, batch_size, n_process):
        vocab = spacy.blank("en").vocab
        for text in texts:
            words = text.replace(",", "").split()
            yield Doc(vocab, words=words, tags=["NN"] * len(words), heads=[0] * len(words), deps=["dep"] * len(words))


def test_states_in_memory_are_those_of_single_texts(backbone):
    together = read_states(backbone, TEXTS, batch=2)
    for row, text in enumerate(TEXTS):
        tokens = backbone.tokenize([text])
        with torch.no_grad():
            _, states = backbone.text_tokens(tokens.ids)
        real = tokens.mask[0]
        length = len(real)
        assert together.mask[row, :length].tolist() == real.tolist() and not together.mask[row, length:].any()
        assert torch.equal(together.offsets[row, :length], tokens.offsets[0])
        torch.testing.assert_close(together.states[row, :length][real].float(), states[0][real], atol=0.02, rtol=0.01)
    assert together.cut.tolist() == [False] * 3
    long = read_states(backbone, ["a red circle " * 20, TEXTS[1]])
    assert long.cut.tolist() == [True, False]


def test_captions_of_the_gate_are_not_fitted_and_the_draw_follows_the_seed(backbone):
    texts = pd.DataFrame({"text_id": [f"t{n}" for n in range(60)], "text": [TEXTS[n % 3] for n in range(60)]})
    parser = EveryWordANoun()
    units, _ = extract_units(texts, parser)
    captions = torch.arange(0, 60, 2)

    def draw(seed):
        return type_captions(texts, units, captions, TEXT, backbone, parser, seed)

    typed = draw(0)
    assert len(typed.gate_rows) == 6 and len(typed.rows) == 15  # a fifth and half of thirty
    chosen = [*typed.rows.tolist(), *typed.gate_rows.tolist()]
    assert len(set(chosen)) == 21 and set(chosen) <= set(captions.tolist())
    assert bool((typed.captions.structure.kind > 0).any(dim=1).all())
    assert torch.equal(draw(0).captions.states, typed.captions.states)
    assert draw(1).rows.tolist() != typed.rows.tolist()


def test_joined_captions_are_padded_and_kept():
    one = CaptionData(torch.ones(2, 3, 4).half(), torch.ones(2, 3).bool(), empty_structure(2, 3))
    two = CaptionData(torch.zeros(1, 5, 4).half(), torch.ones(1, 5).bool(), empty_structure(1, 5))
    both = one.joined(two)
    assert both.mask.tolist() == [[True] * 3 + [False] * 2] * 2 + [[True] * 5]
    assert both.states[:2, 3:].abs().sum() == 0 and len(both.structure) == 3
    assert torch.equal(cut(padded(one.structure, 7), 3).subject, one.structure.subject)


def empty_structure(texts, tokens):
    nowhere = torch.full((texts, tokens), -1)
    return TokenStructure(nowhere + 1, nowhere > 0, nowhere, nowhere)


@pytest.mark.parametrize(("clean", "typed", "share"), [(100, 10, 0.5), (100, 30, 0.2), (40, 80, 0.4), (10, 0, 0.5)])
def test_typed_captions_make_up_their_share(clean, typed, share):
    rows = with_share(clean, typed, share)
    assert set(rows[rows < clean]) == set(range(clean)) and set(rows[rows >= clean]) == set(range(clean, clean + typed))
    repeats = (rows >= clean).sum() / max(typed, 1)
    expected = share / (1 - share) * clean / typed if typed else 0
    assert repeats == (max(1, round(expected)) if typed else 0)
    assert with_share(clean, typed, 0.0).tolist() == list(range(clean))


def planted_readings(world, rng, parser_right):
    """Planted captions; the parser is right on a share of the captions and sees one entity in the others."""
    features = world.features
    tokens = TokenStates(features.states.half(), features.mask, features.offsets, torch.zeros(len(features.ids)).bool())
    truth = tokens.structure(world.units, features.ids)
    lost = torch.from_numpy(rng.random(len(features.ids)) >= parser_right)[:, None]
    kind = torch.where(lost, features.mask.long(), truth.kind)
    begin = torch.where(lost, torch.arange(features.mask.shape[1]) == 0, truth.begin)
    return Readings(tokens, TokenStructure(kind, begin, truth.subject, truth.object), truth)


@pytest.mark.parametrize(("parser_right", "share"), [(0.0, "main"), (1.0, "parser")])
def test_the_gate_leans_on_the_path_that_is_right(train_captions, test_captions, parser_right, share):
    rng = np.random.default_rng(0)
    known = CaptionData.of(planted_readings(train_captions, rng, 1.0))
    held = planted_readings(test_captions, rng, parser_right)
    text, log = fit_reader(known, known, held, TEXT, 32, 0)
    assert list(log.columns) == ["step", "loss", "kind", "begin", "subject", "object"]
    main = text.read(held.tokens.states, held.tokens.mask).distributions
    mixed = text.decide(main, held.tokens.mask, held.parsed, "asked")
    wanted = text.decide(main, held.tokens.mask, held.parsed, "main" if share == "main" else "fallback")
    agree = (mixed.kind == wanted.kind)[held.tokens.mask].float().mean()
    assert agree > 0.95
    assert not text.gate.requires_grad


def test_fitting_with_typed_captions_leaves_the_gates_captions_out(train_captions, monkeypatch):
    """Their states are made unusable: a fit that looked at one would have no finite loss."""
    world = train_captions
    readings = planted_readings(world, np.random.default_rng(0), 1.0)
    gate_rows, rows = torch.arange(50), torch.arange(50, 80)
    some = CaptionData(readings.tokens.states[50:80], readings.tokens.mask[50:80], readings.truth.taken(slice(50, 80)))
    typed = TypedCaptions(rows, some, gate_rows, readings)
    prototypes = Prototypes(
        F.normalize(torch.randn(300, 4, 32), dim=-1), torch.full((300, 4), 0.25), None, torch.rand(300, 4, 5)
    )
    states = world.features.states.clone()
    states[:50] = float("nan")
    monkeypatch.setattr(world.features, "states", states)
    config = TEXT.model_copy(update={"steps": 4})

    def fit(typed):
        return fit_text(world.features, world.units, world.image_of_text, prototypes, config, 0, typed=typed)

    text, log = fit(typed)
    assert np.isfinite(log["loss"]).all()
    assert text.gate.tolist() != text_fitting.TextDisentangler.from_config(config, 32).gate.tolist()
    assert not np.isfinite(fit(None)[1]["loss"]).all()


@pytest.mark.parametrize("term", ["kind", "begin", "subject", "object"])
def test_a_term_without_weight_does_not_count(train_captions, term):
    known = CaptionData.of(planted_readings(train_captions, np.random.default_rng(0), 1.0))
    config = TEXT.model_copy(update={"steps": 1, term: 0.0})
    _, log = fit_reader(known, known, planted_readings(train_captions, np.random.default_rng(0), 1.0), config, 32, 0)
    row = log.iloc[0]
    others = [name for name in ("kind", "begin", "subject", "object") if name != term]
    assert row["loss"] == pytest.approx(row[others].sum(), rel=1e-5) and row[term] > 0


def test_texts_whose_tokens_are_known_are_only_parsed_again(backbone):
    texts = pd.DataFrame({"text_id": ["x", "y"], "text": TEXTS[:2]})
    tokens = read_states(backbone, TEXTS[:2])
    units, _ = extract_units(texts, EveryWordANoun())
    readings = parse_again(texts, units, tokens, EveryWordANoun())
    assert readings.tokens is tokens
    assert torch.equal(readings.parsed.kind, readings.truth.kind) and bool((readings.truth.kind == 1).any())
