"""An explained pair: the numbers are those of the toolkit, the maps those of the prototypes that match best."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import spacy
import torch
from PIL import Image

from explained import CAPTION, SEEDS, finished_run
from tolerance import close, transformer
from vialign.analysis.explain import _read_texts, _words, explain_pair, open_run
from vialign.errors import UserError
from vialign.methods.build import build_method
from vialign.methods.checkpoint import load_checkpoint
from vialign.methods.ground import word_summary
from vialign.methods.objective import assemble
from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.language import UNIT_KINDS
from vialign.toolkit.encoder import image_features, to_pixels

SCORES = close(torch.float32, transformer(width=32, layers=2), scale=2)
"""Two ways from pixels and words to a calibrated similarity."""


@pytest.fixture(scope="module")
def run():
    return finished_run()[0]


@pytest.fixture(scope="module")
def picture():
    return Image.open(finished_run()[2]).convert("RGB")


@pytest.fixture(scope="module")
def explanation(run, picture):
    return explain_pair(run, picture, CAPTION)


def test_numbers_are_those_of_the_toolkit(explanation, picture):
    signal = finished_run()[1]
    texts = explanation.scores["text"].tolist()
    expected = signal.score([picture] * len(texts), texts)
    for column in expected.columns:
        assert np.allclose(explanation.scores[column], expected[column], atol=SCORES), column


def test_a_caption_beyond_the_context_is_told(run, capsys):
    texts = pd.DataFrame({"text_id": ["0"], "text": ["red circle " * 50]})
    _read_texts(run.encoder, texts)
    assert "explain: the caption: longer than the model reads" in capsys.readouterr().err


def test_the_caption_comes_first_and_then_itself_made_wrong(explanation):
    kinds = explanation.scores["kind"].tolist()
    assert kinds[0] == "aligned" and explanation.scores["text"][0] == CAPTION
    assert set(kinds[1:]) <= set(NEGATIVE_KINDS) and "swap_roles" in kinds
    assert explanation.scores["text"].is_unique


def test_matches_with_their_weights_make_the_local_similarity(explanation):
    total = sum(match.weight * match.match for match in explanation.matches)
    assert total == pytest.approx(explanation.scores["s_local"][0], abs=SCORES)
    assert sum(match.weight for match in explanation.matches) == pytest.approx(1, abs=SCORES)


def test_every_phrase_is_in_the_caption_and_found_where_its_prototype_is(run, picture, explanation):
    assert explanation.parsed
    _, patches = image_features(run.encoder.backbone, to_pixels(run.encoder.backbone, [picture]), run.encoder.readout)
    with torch.no_grad():
        prototypes = run.encoder.visual(patches)
    for match in explanation.matches:
        assert match.kind in UNIT_KINDS
        for found in match.found:
            assert found.words and all(part in CAPTION for part in found.words.split(" … "))
            assert found.map.shape == run.encoder.backbone.grid and found.map.sum() == pytest.approx(1, abs=SCORES)
            assert np.allclose(found.map.ravel(), prototypes.maps[0, found.prototype], atol=SCORES)
            y, x = np.indices(found.map.shape)
            rows, columns = found.map.shape
            centre = ((found.map * (x + 0.5)).sum() / columns, (found.map * (y + 0.5)).sum() / rows)
            assert found.centre == pytest.approx(centre, abs=SCORES)
    phrases = run.encoder.texts([CAPTION]).phrases
    cosines = phrases.features[0] @ prototypes.features[0].T
    single = [match for match in explanation.matches if len(match.found) == 1]
    shown = {(round(match.match, 4), match.found[0].prototype) for match in single}
    best = {(round(float(row.max()), 4), int(row.argmax())) for row in cosines if row.any()}
    assert shown <= best and single


def test_a_relation_shows_what_its_arguments_found(explanation):
    relation = next(match for match in explanation.matches if len(match.found) == 2)
    entities = {match.words: match for match in explanation.matches if match.kind == "entity"}
    for found in relation.found:
        assert found.prototype == entities[found.words].found[0].prototype
        assert found.cosine == pytest.approx(entities[found.words].match)
    assert relation.kind == "relation" and relation.found[0].words != relation.found[1].words


def test_trained_methods_score_the_pair_and_frozen_is_the_cosine(explanation):
    texts = len(explanation.scores)
    assert {name: scores.shape for name, scores in explanation.methods.items()} == {
        "frozen": (texts, 1),
        "vialign": (texts, len(SEEDS)),
    }
    assert np.allclose(explanation.methods["frozen"][:, 0], explanation.scores["s_global"], atol=SCORES)
    assert not np.allclose(*explanation.methods["vialign"].T)


def test_the_score_of_a_method_is_that_of_its_weights_on_the_pair_alone(run, picture, explanation):
    sides = run.encoder.images([picture]), run.encoder.texts([CAPTION])
    row = {"text_id": "t", "split": "test", "image_id": "i", "kind": "caption", "text": CAPTION}
    features = [sides[0].pooled, sides[1].pooled, sides[0].prototypes, sides[1].phrases]
    tokens = run.encoder.backbone.tokenize([CAPTION])
    _, states = run.encoder.backbone.text_tokens(tokens.ids)
    words = word_summary(states, tokens.mask, run.encoder.backbone.dimension)
    data = assemble(pd.DataFrame([row]), ["i"], ["t"], *features, words=words)
    first = torch.zeros(1, dtype=torch.long)
    for place, seed in enumerate(SEEDS):
        method = build_method("vialign", run.config, run.encoder.backbone, run.calibration, seed)
        method.load_state(load_checkpoint(run.results / f"train/vialign/{seed}/final.safetensors").best)
        score = method.eval().pair_scores(method.images(data, first), method.texts(data, first))
        assert float(score.detach()) == pytest.approx(explanation.methods["vialign"][0, place], abs=SCORES)


def test_a_run_without_trained_methods_shows_the_signal_alone(run, picture, tmp_path):
    found = explain_pair(replace(run, results=tmp_path), picture, CAPTION)
    assert found.methods == {} and len(found.scores) > 1


def test_the_control_of_the_config_changes_nothing_here(run, picture, explanation):
    signal = run.config.signal.model_copy(update={"shuffle_prototypes": True})
    other = replace(run, config=run.config.model_copy(update={"signal": signal}))
    found = explain_pair(other, picture, CAPTION)
    assert found.scores["s_local"].tolist() == explanation.scores["s_local"].tolist()


def test_words_that_no_parser_reads_stand_as_one(run, picture):
    # A parser that was never trained: what a trained one makes of such words hangs on the last digits of its weights.
    untrained = replace(run, encoder=replace(run.encoder, parser=spacy.blank("en")))
    found = explain_pair(untrained, picture, "qqq")
    assert not found.parsed and [match.words for match in found.matches] == ["qqq"]


@pytest.mark.parametrize("caption", ["", "  \n "])
def test_an_empty_caption_is_refused(run, picture, caption):
    with pytest.raises(UserError, match="the caption is empty"):
        explain_pair(run, picture, caption)


def test_another_backbone_is_refused(run):
    backbone = run.config.backbone.model_copy(update={"architecture": "vialign-scenes", "definition": None})
    with pytest.raises(UserError, match="made with backbone_"):
        open_run(run.config.model_copy(update={"backbone": backbone}))


def test_words_of_tokens_join_where_nothing_lies_between():
    text = "ring that is blue"
    assert _words(text, [(0, 2), (2, 4), (5, 9)]) == "ring that"
    assert _words(text, [(0, 4), (13, 17)]) == "ring … blue"
