"""`evaluate` with a small objective whose scores are known, held against scores computed here in full."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from vialign.errors import UserError
from vialign.evaluation.run import core_outcomes, evaluate, reranking_table
from vialign.methods.objective import Objective, assemble
from vialign.tables.evaluation import OUTCOMES

IMAGES, EACH, DIM = 23, 3, 6


class Cosine(Objective):
    """Frozen embeddings, in float64 so that blocks of any size give the same scores."""

    name = "cosine"

    def images(self, data, index):
        return {"pooled": data.image_pooled[index]}

    def texts(self, data, index):
        return {"pooled": data.text_pooled[index], "position": index}

    def scores(self, images, texts):
        return images["pooled"] @ texts["pooled"].T

    def pair_scores(self, images, texts):
        return (images["pooled"] * texts["pooled"]).sum(dim=-1)


@pytest.fixture
def world():
    """23 images with three captions each, a negative for most captions, two choice items and a question."""
    rng = np.random.default_rng(0)
    image_ids = [f"i{n}" for n in range(IMAGES)]
    texts = [(f"i{n}#{c}", f"i{n}", "caption") for n in range(IMAGES) for c in range(EACH)]
    texts += [(f"{name}!swap_roles", image, "swap_roles") for name, image, _ in texts if not name.endswith("#2")]
    texts += [(f"{name}!shuffle", image, "shuffle") for name, image, _ in texts if name.endswith("#0")]
    texts += [(f"aro_relation/0:{j}", "i3", "choice") for j in range(2)]
    texts += [(f"winoground/0:{j}", "i4", "choice") for j in range(2)]
    texts += [(f"vqa/0:{j}", "i5", "answer") for j in range(3)]
    order = rng.permutation(len(texts))
    frame = pd.DataFrame([texts[n] for n in order], columns=["text_id", "image_id", "kind"])
    frame = frame.assign(split="test", text=frame["text_id"])
    image_pooled = torch.tensor(rng.normal(size=(IMAGES, DIM)))
    noise = torch.tensor(rng.normal(size=(len(frame), DIM)))
    position = [int(name[1:]) for name in frame["image_id"]]
    text_pooled = image_pooled[position] + 0.8 * noise
    unit = torch.nn.functional.normalize
    data = assemble(
        frame,
        image_ids,
        frame["text_id"].tolist(),
        unit(image_pooled, dim=1),
        unit(text_pooled, dim=1),
        SimpleNamespace(),
        SimpleNamespace(),
    )
    choices = pd.DataFrame(
        [
            ("aro_relation/0", "aro_relation", "test", "above", ["i3"], ["x", "y"], None),
            ("winoground/0", "winoground", "test", "", ["i4", "i6"], ["x", "y"], None),
            ("winoground/1", "winoground", "selection", "", ["nowhere", "i6"], ["x", "y"], None),
        ],
        columns=["item_id", "benchmark", "split", "tag", "images", "texts", "right"],
    )
    questions = pd.DataFrame(
        [("vqa/0", "test", "i5", "what?", "relation", ["b"] * 10, ["a", "b", "c"], ["a.", "b.", "c."])],
        columns=["question_id", "split", "image_id", "question", "kind", "answers", "candidates", "statements"],
    )
    return data, choices, questions


def full_scores(data):
    scores = (data.image_pooled @ data.text_pooled.T).numpy()
    return pd.DataFrame(scores, index=data.image_ids, columns=data.texts["text_id"])


def test_every_benchmark_agrees_with_the_full_score_matrix(world):
    data, choices, questions = world
    outcomes = evaluate(Cosine(), data, choices, questions, "test", "frozen", 3, batch=4)
    scores = full_scores(data)
    captions = data.texts.loc[data.texts["kind"] == "caption"]
    gallery = scores[captions["text_id"]]
    value = outcomes.set_index(["benchmark", "measure", "item_id"])["value"]
    for row in captions.itertuples():
        rank = (gallery[row.text_id] >= gallery.at[row.image_id, row.text_id]).sum()
        for k in (1, 5, 10):
            assert value["test/text_to_image", f"r{k}", row.text_id] == (rank <= k)
    for image in data.image_ids:
        own = captions.loc[captions["image_id"] == image, "text_id"]
        rank = (gallery.loc[image].drop(own) >= gallery.loc[image, own].max()).sum() + 1
        for k in (1, 5, 10):
            assert value["test/image_to_text", f"r{k}", image] == (rank <= k)
    for caption in captions["text_id"]:
        image = caption.split("#")[0]
        wrong = [name for name in data.texts["text_id"] if name.startswith(f"{caption}!")]
        key = ("test/negatives", "accuracy", caption)
        if wrong:
            assert value[key] == pytest.approx(
                np.mean([scores.at[image, caption] > scores.at[image, w] for w in wrong])
            )
        else:
            assert key not in value.index
    assert value["test/aro_relation", "accuracy", "aro_relation/0"] == (
        scores.at["i3", "aro_relation/0:0"] > scores.at["i3", "aro_relation/0:1"]
    )
    best = scores.loc["i5", [f"vqa/0:{j}" for j in range(3)]].to_numpy().argmax()
    assert value["test/vqa", "soft_accuracy", "vqa/0"] == (best == 1)
    assert set(outcomes["benchmark"]) == {
        f"test/{name}" for name in ("image_to_text", "text_to_image", "negatives", "aro_relation", "winoground", "vqa")
    }
    assert set(outcomes["method"]) == {"frozen"}
    assert set(outcomes["seed"]) == {3}


def test_the_block_size_changes_nothing(world):
    data, choices, questions = world
    first = evaluate(Cosine(), data, choices, questions, "test", "frozen", 0, batch=1)
    second = evaluate(Cosine(), data, choices, questions, "test", "frozen", 0, batch=1000)
    pd.testing.assert_frame_equal(first, second)
    OUTCOMES.check(first)


def test_many_captions_make_blocks_of_few_images_and_change_nothing(world, monkeypatch):
    data, choices, questions = world
    whole, sizes, method = evaluate(Cosine(), data, choices, questions, "test", "frozen", 0), [], Cosine()
    scored = method.scores
    monkeypatch.setattr("vialign.evaluation.run._CELLS", 2 * len(data.captions) + 1)
    monkeypatch.setattr("vialign.files.mapped.SMALL", 0)
    method.scores = lambda images, texts: sizes.append(len(images["pooled"])) or scored(images, texts)
    pd.testing.assert_frame_equal(evaluate(method, data, choices, questions, "test", "frozen", 0), whole)
    assert max(sizes) == 2


def test_the_core_holds_retrieval_and_negatives_under_its_own_name(world):
    data, choices, questions = world
    outcomes = core_outcomes(Cosine(), data, "lora", 1, "selection", batch=5)
    assert set(outcomes["benchmark"]) == {
        "selection/image_to_text",
        "selection/text_to_image",
        "selection/negatives",
    }
    test = evaluate(Cosine(), data, choices, questions, "test", "lora", 1)
    same = test[test["benchmark"] == "test/negatives"]["value"].reset_index(drop=True)
    selected = outcomes[outcomes["benchmark"] == "selection/negatives"]["value"].reset_index(drop=True)
    pd.testing.assert_series_equal(same, selected)


def test_the_strongest_negative_is_named_where_a_caption_loses(world):
    data, _, _ = world
    outcomes = core_outcomes(Cosine(), data, "lora", 1, "selection")
    scores = full_scores(data)
    lost = outcomes[(outcomes["benchmark"] == "selection/negatives") & (outcomes["value"] < 1)]
    assert len(lost) > 3
    for row in lost.itertuples():
        wrong = [name for name in data.texts["text_id"] if name.startswith(f"{row.item_id}!")]
        assert row.chosen == scores.loc[row.image_id, wrong].idxmax()


def test_a_choice_without_features_is_one_line_that_names_it(world):
    data, choices, questions = world
    choices = choices.assign(split="test")
    with pytest.raises(UserError, match="image nowhere has no features"):
        evaluate(Cosine(), data, choices, questions, "test", "frozen", 0)


def test_no_gradient_is_kept(world):
    data, choices, questions = world

    class Learned(Cosine):
        def __init__(self):
            super().__init__()
            self.turn = torch.nn.Parameter(torch.eye(DIM, dtype=torch.float64))

        def images(self, data, index):
            side = {"pooled": data.image_pooled[index] @ self.turn}
            assert not side["pooled"].requires_grad
            return side

    assert len(evaluate(Learned(), data, choices, questions, "test", "learned", 0))


def test_dropout_is_off_and_every_mode_is_restored(world):
    data, choices, questions = world

    class Noisy(Cosine):
        def __init__(self):
            super().__init__()
            self.drop, self.frozen = torch.nn.Dropout(0.9), torch.nn.Dropout(0.9)

        def images(self, data, index):
            return {"pooled": self.frozen(self.drop(data.image_pooled[index]))}

    noisy = Noisy().train()
    noisy.frozen.eval()
    outcomes = evaluate(noisy, data, choices, questions, "test", "cosine", 0)
    pd.testing.assert_frame_equal(outcomes, evaluate(Cosine(), data, choices, questions, "test", "cosine", 0))
    assert (noisy.training, noisy.drop.training, noisy.frozen.training) == (True, True, False)


def test_a_shortlist_of_everything_is_the_exact_ranking_and_a_short_one_says_how_often_it_agrees(world):
    data, choices, questions = world

    class Other(Cosine):
        """Another order than that of the frozen cosine."""

        def scores(self, images, texts):
            return -super().scores(images, texts)

        def pair_scores(self, images, texts):
            return -super().pair_scores(images, texts)

    exact = evaluate(Other(), data, choices, questions, "test", "other", 0)
    everything = evaluate(Other(), data, choices, questions, "test", "other", 0, rerank=10_000)
    columns = ["benchmark", "item_id", "measure", "value"]
    pd.testing.assert_frame_equal(exact[columns], everything[columns])
    short = evaluate(Other(), data, choices, questions, "test", "other", 0, rerank=2)
    assert not short["value"].equals(exact["value"])
    whole = reranking_table(Other(), data, "test", "other", 0, k=10_000, queries=9)
    assert whole["queries"].tolist() == [9, 9] and (whole[["r1", "r5", "r10", "first"]] == 1).all(axis=None)
    part = reranking_table(Other(), data, "test", "other", 0, k=2, queries=1000)
    assert part["queries"].tolist() == [IMAGES, IMAGES * EACH] and part["first"].max() < 1
    assert part["benchmark"].tolist() == ["test/image_to_text", "test/text_to_image"]


def test_a_split_without_captions_has_no_retrieval(world):
    data, choices, questions = world
    none = replace(data, captions=data.captions[:0])
    outcomes = evaluate(Cosine(), none, choices, questions, "test", "frozen", 0)
    assert {name.split("/")[1] for name in outcomes["benchmark"]} == {"aro_relation", "winoground", "vqa"}
    assert reranking_table(Cosine(), none, "test", "frozen", 0, k=2, queries=5).empty
