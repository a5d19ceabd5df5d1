"""Retrieval at the size of COCO must not hold the score matrix: checked on a proxy, tensor by tensor."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vialign.evaluation.retrieval import recall, retrieval_ranks
from vialign.evaluation.run import evaluate
from vialign.methods.objective import Objective, assemble
from vialign.tables.data import CHOICES, QUESTIONS

IMAGES, EACH, BATCH = 200, 5, 16


class Corrected(Objective):
    """A score that depends on the pair: the image is moved towards each caption, as a corrected feature is."""

    name = "corrected"
    largest_pairs = 0

    def images(self, data, index):
        return {"pooled": data.image_pooled[index]}

    def texts(self, data, index):
        return {"pooled": data.text_pooled[index]}

    def scores(self, images, texts):
        self.largest_pairs = max(self.largest_pairs, len(images["pooled"]) * len(texts["pooled"]))
        moved = images["pooled"][:, None, :] + 0.3 * images["pooled"][:, None, :] * texts["pooled"][None, :, :]
        return torch.nn.functional.cosine_similarity(moved, texts["pooled"][None, :, :], dim=-1)

    def pair_scores(self, images, texts):
        moved = images["pooled"] + 0.3 * images["pooled"] * texts["pooled"]
        return torch.nn.functional.cosine_similarity(moved, texts["pooled"], dim=-1)


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes, in elements."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for part in made if isinstance(made, (tuple, list)) else (made,):
            # Views and expanded tensors hold no memory of their own: what counts is the storage.
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.untyped_storage().nbytes() // part.element_size())
        return made


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    image_ids = [f"i{n}" for n in range(IMAGES)]
    texts = pd.DataFrame(
        [(f"{name}#{c}", name) for name in image_ids for c in range(EACH)], columns=["text_id", "image_id"]
    )
    texts = texts.assign(kind="caption", split="test", text="a thing")
    pooled = torch.randn(IMAGES, 2, generator=generator)
    captions = pooled.repeat_interleave(EACH, dim=0) + 0.3 * torch.randn(IMAGES * EACH, 2, generator=generator)
    empty = SimpleNamespace()
    return assemble(texts, image_ids, texts["text_id"].tolist(), pooled, captions, empty, empty)


def test_retrieval_with_a_pairwise_score_holds_blocks_only(data):
    objective, largest = Corrected(), LargestTensor()
    with largest:
        outcomes = evaluate(objective, data, CHOICES.empty(), QUESTIONS.empty(), "test", "corrected", 0, BATCH)
    captions = IMAGES * EACH
    # The block handed on, and inside a method pairs of images and of a part of the captions, here with two channels.
    assert objective.largest_pairs <= BATCH * 4 * BATCH
    assert largest.elements <= max(BATCH * captions, 2 * objective.largest_pairs, 20 * captions)
    assert largest.elements < IMAGES * captions / 5
    pooled = {"pooled": data.image_pooled}, {"pooled": data.text_pooled}
    whole = LargestTensor()
    with whole, torch.no_grad():
        scores = Corrected().scores(*pooled)
    assert whole.elements >= IMAGES * captions  # the control: the matrix would have been seen
    expected = retrieval_ranks([scores], data.image_of_text, IMAGES)
    value = outcomes.groupby(["benchmark", "measure"])["value"].mean()
    for benchmark, ranks in zip(("test/image_to_text", "test/text_to_image"), expected, strict=True):
        assert value[benchmark, "r5"] == pytest.approx(recall(ranks, 5), abs=0.01)


def test_memory_of_ranks_grows_with_captions_not_with_images():
    """Twice the images in blocks of the same size: the largest tensor stays what it was."""

    def largest(images):
        seen = LargestTensor()
        generator = torch.Generator().manual_seed(0)
        blocks = (torch.randn(8, 400, generator=generator) for _ in range(images // 8))
        with seen:
            retrieval_ranks(blocks, torch.arange(400) % images, images)
        return seen.elements

    assert largest(400) == largest(800)
    assert largest(800) <= 20 * 400


def test_progress_is_shown_while_a_gallery_is_scored(data, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "vialign.evaluation.run.track_blocks", lambda blocks, what, total: shown.append((what, total)) or blocks
    )
    evaluate(Corrected(), data, CHOICES.empty(), QUESTIONS.empty(), "test", "corrected", 0, BATCH)
    images, texts = len(data.image_ids), len(data.texts)
    assert {("corrected: gallery", images), ("corrected: images", images), ("corrected: texts", texts)} <= set(shown)
