"""Texts of a split and the stage that trains the pipeline."""

import pandas as pd
import pytest

from vialign.config.data import LanguageConfig
from vialign.data.treebanks.penn import parse_tree
from vialign.errors import UserError
from vialign.language.negatives import normal_form
from vialign.language.stage import predicative, read_treebank, train_language
from vialign.language.texts import _turn, build_texts, make_negatives
from vialign.tables.data import CHOICES, NEGATIVE_KINDS, QUESTIONS
from vialign.tables.language import QUALITY, TEXTS, UNITS

NEAR = "a red star is above a blue ring"


@pytest.fixture(scope="module")
def world(brackets_of_captions):
    """Sixty images with two captions each in three splits, one choice item and one question."""
    images, captions = [], []
    for number in range(60):
        split = ("train", "selection", "diagnosis")[number % 3]
        image_id = f"{split}-{number}"
        images.append((image_id, split, "x.png", 10, 10))
        for place in range(2):
            tree = brackets_of_captions[(7 * (number // 3) + 50 * (number % 3) + 3 * place) % len(brackets_of_captions)]
            captions.append((f"{image_id}#{place}", image_id, " ".join(parse_tree(tree).words()), tree))
    choices = pd.DataFrame(
        [
            (
                "w/0",
                "winoground",
                "diagnosis",
                "roles",
                ["diagnosis-2", "diagnosis-5"],
                [NEAR, NEAR, "a white star"],
                None,
            )
        ],
        columns=list(CHOICES.columns),
    )
    questions = pd.DataFrame(
        [("vqa/0", "diagnosis", "diagnosis-8", "?", "relation", ["a"] * 10, ["a", "b"], [NEAR, "a red ring"])],
        columns=list(QUESTIONS.columns),
    )
    return (
        pd.DataFrame(captions, columns=["caption_id", "image_id", "text", "tree"]),
        pd.DataFrame(images, columns=["image_id", "split", "path", "width", "height"]),
        choices,
        questions,
    )


def build(world, pipeline, split, every_kind, kinds=NEGATIVE_KINDS, seed=0):
    return build_texts(*world, pipeline, split=split, kinds=kinds, seed=seed, every_kind=every_kind)


def test_the_diagnosis_gets_every_kind_for_the_first_caption_only(world, pipeline):
    texts, units, fallbacks = build(world, pipeline, "diagnosis", True)
    TEXTS.check(texts), UNITS.check(units)
    assert fallbacks == 0 and set(units["text_id"]) == set(texts["text_id"])
    assert (texts["kind"] == "caption").sum() == 40
    negatives = texts[texts["kind"].isin(NEGATIVE_KINDS)]
    assert set(negatives["text_id"]) <= {f"{i}#0!{k}" for i in texts["image_id"] for k in NEGATIVE_KINDS}
    counts = negatives["kind"].value_counts()
    assert counts["shuffle"] == 20 and 10 <= counts["swap_attributes"] <= 20, (
        "like colours and like things swap nothing"
    )
    assert 10 <= counts["swap_roles"] < 20, "a list has no roles"
    assert set(texts["split"]) == {"diagnosis"}


def test_candidates_and_statements_keep_their_image(world, pipeline):
    texts, _, _ = build(world, pipeline, "diagnosis", True)
    by_id = texts.set_index("text_id")
    assert by_id.loc[["w/0:0", "w/0:1", "w/0:2"], "image_id"].tolist() == ["diagnosis-2", "diagnosis-5", "diagnosis-5"]
    assert by_id.loc[["w/0:0", "vqa/0:1"], "kind"].tolist() == ["choice", "answer"]
    assert by_id.loc["vqa/0:1", "image_id"] == "diagnosis-8" and by_id.loc["vqa/0:1", "text"] == "a red ring"
    other, _, _ = build(world, pipeline, "train", False)
    assert not other["kind"].isin(["choice", "answer"]).any()


def test_other_splits_get_one_negative_a_caption_and_kinds_take_turns(world, pipeline):
    texts, _, _ = build(world, pipeline, "train", False)
    negatives = texts[texts["kind"].isin(NEGATIVE_KINDS)]
    assert negatives["text_id"].str.split("!").str[0].is_unique and len(negatives) == 40
    counts = negatives["kind"].value_counts()
    assert 10 <= counts["shuffle"] <= 14 and counts.min() >= 5 and set(counts.index) == set(NEGATIVE_KINDS)


def test_no_negative_is_a_true_caption_of_its_image(world, pipeline):
    for split, every in (("train", False), ("diagnosis", True)):
        texts, _, _ = build(world, pipeline, split, every)
        true = texts[texts["kind"] == "caption"].groupby("image_id")["text"].agg(lambda t: set(map(normal_form, t)))
        for row in texts[texts["kind"].isin(NEGATIVE_KINDS)].itertuples():
            assert normal_form(row.text) not in true[row.image_id]


def test_the_seed_decides_and_only_the_configured_kinds_appear(world, pipeline):
    one, _, _ = build(world, pipeline, "train", False)
    again, _, _ = build(world, pipeline, "train", False)
    other, _, _ = build(world, pipeline, "train", False, seed=5)
    pd.testing.assert_frame_equal(one, again)
    assert not one["text"].equals(other["text"])
    swaps, _, _ = build(world, pipeline, "train", False, kinds=("swap_roles",))
    assert set(swaps["kind"]) == {"caption", "swap_roles"}


def test_turns_visit_every_compositional_kind_and_shuffle_one_time_in_four():
    first = [_turn(NEGATIVE_KINDS, position)[0] for position in range(24)]
    assert [kind == "shuffle" for kind in first] == [position % 4 == 3 for position in range(24)]
    assert {first.count(kind) for kind in NEGATIVE_KINDS[:3]} == {6}
    assert all(sorted(_turn(NEGATIVE_KINDS, p)) == sorted(NEGATIVE_KINDS) for p in range(24))
    assert _turn(("shuffle",), 0) == ("shuffle",) and _turn((), 0) == ()


def test_without_captions_there_are_no_negatives():
    made = make_negatives(TEXTS.empty(), UNITS.empty(), kinds=NEGATIVE_KINDS, seed=0, every_kind=False)
    assert TEXTS.check(made).empty


def test_the_stage_trains_on_the_captions_and_judges_on_selection(world):
    captions, images, _, _ = world
    config = LanguageConfig(sentences=30, epochs=1)
    treebank = read_treebank(config, captions, images, seed=0)
    assert len(treebank.train) == 30 + 3 and len(treebank.held_out) == 40
    nlp, quality = train_language(config, captions, images, seed=0)
    assert nlp.pipe_names == ["tok2vec", "tagger", "parser"]
    quality = QUALITY.check(quality)
    assert set(quality["domain"]) == {"captions selection"}
    assert {"tagger", "parser", "syntax entity", "syntax relation"} <= set(quality["subject"])


def test_a_real_treebank_is_judged_on_itself_and_on_gold_captions(world, tmp_path):
    captions, images, _, _ = world
    for number in range(4):
        (tmp_path / f"wsj_{number:04d}.mrg").write_text("\n".join(f"( {tree} )" for tree in captions["tree"][:12]))
    config = LanguageConfig(treebank="ptb", folder=str(tmp_path), epochs=1)
    treebank = read_treebank(config, captions, images, seed=0)
    assert (len(treebank.train), len(treebank.held_out)) == (36, 12)
    _, quality = train_language(config, captions, images, seed=0)
    assert set(quality["domain"]) == {"ptb", "captions selection"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LanguageConfig(treebank="ptb"), "language.folder.*None is no folder"),
        (LanguageConfig(treebank="ud", folder="/nowhere"), "'/nowhere' is no folder"),
        (LanguageConfig(), "no gold trees"),
    ],
)
def test_a_missing_treebank_is_a_user_error(world, config, message):
    captions, images, _, _ = world
    with pytest.raises(UserError, match=message):
        read_treebank(config, captions.assign(tree=None), images, seed=0)


def test_an_empty_universal_dependencies_folder_is_a_user_error(world, tmp_path):
    config = LanguageConfig(treebank="ud", folder=str(tmp_path))
    with pytest.raises(UserError, match="no file \\*-train.conllu"):
        read_treebank(config, world[0], world[1], seed=0)


def test_predicative_statement_of_a_caption():
    found = predicative(parse_tree("(NP (NP (DT a) (JJ small) (JJ red) (NN star)) (PP (IN on) (NP (DT a) (NN dot))))"))
    assert str(found) == "(S (NP (DT the) (NN star)) (VP (VBZ is) (ADJP (JJ red))))"
    assert predicative(parse_tree("(NP (DT a) (NN dot))")) is None
