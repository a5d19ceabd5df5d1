"""A small planted world: what is where is known, so fitting must find it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from vialign.features.boxes import box_coverage, object_labels
from vialign.features.store import Rows

GRID = (7, 7)
DIMENSION = 32
COLOURS = ("red", "green", "blue")
SHAPES = ("circle", "square")
RELATIONS = ("above", "beside")
LABELS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)


@dataclass
class Images:
    """Patches of images with labelled boxes, and of the same images moved."""

    images: pd.DataFrame
    boxes: pd.DataFrame
    patches: torch.Tensor
    moved: dict[str, torch.Tensor]
    labels: dict[str, torch.Tensor]
    ids: list[str]


class FakeImageFeatures:
    """Tensors behind the interface of the feature store."""

    def __init__(self, patches: torch.Tensor) -> None:
        self.tensor = patches
        self.ids = [f"i{row}" for row in range(len(patches))]
        self.grid = GRID

    def patches(self, start: int, stop: int) -> torch.Tensor:
        return self.tensor[start:stop]

    def rows(self, name: str) -> Rows:
        return Rows(({"patches": self.tensor}[name],))


class FakeTextFeatures:
    """Token states behind the interface of the feature store; blocks are cut to their longest text."""

    def __init__(self, ids: list[str], states: torch.Tensor, mask: torch.Tensor, offsets: torch.Tensor) -> None:
        self.ids, self.states, self.mask, self.offsets = ids, states, mask, offsets

    def block(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        length = int(self.mask[start:stop].any(dim=0).nonzero().max()) + 1
        rows = slice(start, stop)
        return self.states[rows, :length], self.mask[rows, :length], self.offsets[rows, :length]


def _vectors(rng: np.random.Generator, count: int) -> torch.Tensor:
    return F.normalize(torch.from_numpy(rng.normal(size=(count, DIMENSION))).float(), dim=-1)


def make_images(count: int, seed: int) -> Images:
    """Two objects an image, whose class vectors have nothing in common with the text embeddings of their labels.

    Every patch, on an object or not, has one of eight textures, so that clusters of patches follow textures.
    """
    vectors = _vectors(np.random.default_rng(7), 6 + 8 + 6 + 1)
    classes, textures, words, common = vectors[:6], vectors[6:14], vectors[14:20], vectors[20]
    rng = np.random.default_rng(seed)
    rows = []
    for image in range(count):
        left = rng.integers(0, 2) * 56
        for number, (label, x) in enumerate(zip(rng.choice(6, 2, replace=False), (left, 56 - left), strict=True)):
            size, top = rng.uniform(30, 50), rng.uniform(0, 60)
            colour, shape = LABELS[label].split()
            row = {"object_id": f"i{image}/{number}", "image_id": f"i{image}", "name": shape, "attributes": [colour]}
            rows.append(row | {"x": x + rng.uniform(0, 56 - size), "y": top, "width": size, "height": size})
    boxes = pd.DataFrame(rows)
    images = pd.DataFrame({"image_id": [f"i{k}" for k in range(count)], "width": 112, "height": 112})
    low = boxes[["x", "y"]].to_numpy()
    corners = np.concatenate([low, low + boxes[["width", "height"]].to_numpy()], axis=1) / 112
    coverage = box_coverage(corners.clip(0, 1), GRID)
    coverage = torch.from_numpy(coverage).float().reshape(count, 2, 49)
    label = torch.tensor([LABELS.index(text) for text in object_labels(boxes)]).reshape(count, 2)
    content = torch.einsum("btn,btd->bnd", coverage, classes[label])
    content = 3 * common + content + textures[torch.from_numpy(rng.integers(8, size=(count, 49)))]

    def seen(tensor: torch.Tensor) -> torch.Tensor:
        return tensor + torch.from_numpy(rng.normal(size=tensor.shape)).float() * 0.15

    square = content.reshape(count, 7, 7, DIMENSION)
    labels = {text: F.normalize(words[k] + common, dim=-1) for k, text in enumerate(LABELS)}
    return Images(
        images,
        boxes,
        seen(content),
        {
            "flip": seen(square.flip(2).reshape(count, 49, DIMENSION)),
            "shift": seen(square.roll((1, 1), (1, 2)).reshape(count, 49, DIMENSION)),
        },
        labels,
        list(images["image_id"]),
    )


@dataclass
class Captions:
    """Captions "a red circle above the blue square" with their units, and the image each goes with."""

    features: FakeTextFeatures
    units: pd.DataFrame
    image_of_text: torch.Tensor
    content: torch.Tensor
    """Entity labels of each caption, as indices into LABELS."""
    texts: list[str]


def make_captions(count: int, seed: int) -> Captions:
    """Token states are a word vector, a trace of the word before, a common vector and noise."""
    rng = np.random.default_rng(seed)
    words = ["a", "the", *COLOURS, *SHAPES, *RELATIONS, "is"]
    vectors = _vectors(np.random.default_rng(11), len(words) + 1)
    rows, tokens, spans, content, texts = [], [], [], [], []
    for text in range(count):
        first, second = rng.choice(6, 2, replace=False)
        content.append((first, second))
        phrase = ["a", *LABELS[first].split(), *(["is"] if rng.random() < 0.5 else []), RELATIONS[rng.integers(2)]]
        phrase += ["the", *LABELS[second].split()]
        ends = np.cumsum([len(word) + 1 for word in phrase]) - 1
        span = [(int(end) - len(word), int(end)) for word, end in zip(phrase, ends, strict=True)]
        texts.append(" ".join(phrase))
        tokens.append([words.index(word) for word in phrase])
        spans.append(span)
        relation = len(phrase) - 4
        for number, (kind, begin, end, head, subject, target) in enumerate(
            [
                ("entity", 0, 2, 2, -1, -1),
                ("attribute", 1, 1, 1, 0, -1),
                ("relation", relation, relation, relation, 0, 3),
                ("entity", relation + 1, relation + 3, relation + 3, -1, -1),
                ("attribute", relation + 2, relation + 2, relation + 2, 3, -1),
            ]
        ):
            row = {"text_id": f"t{text}", "unit": number, "kind": kind, "start": span[begin][0], "end": span[end][1]}
            row |= {"head_start": span[head][0], "head_end": span[head][1], "subject": subject, "object": target}
            rows.append(row)
    longest = max(len(span) for span in spans)
    mask = torch.tensor([[k < len(span) for k in range(longest)] for span in spans])
    index = torch.tensor([token + [len(words)] * (longest - len(token)) for token in tokens])
    offsets = torch.tensor([span + [(0, 0)] * (longest - len(span)) for span in spans])
    states = vectors[index] + 0.5 * F.pad(vectors[index], (0, 0, 1, 0))[:, :-1] + vectors[0] * 0.5
    states = states + torch.from_numpy(rng.normal(size=states.shape)).float() * 0.05
    features = FakeTextFeatures([f"t{k}" for k in range(count)], 4 * states * mask[..., None], mask, offsets)
    return Captions(features, pd.DataFrame(rows), torch.arange(count), torch.tensor(np.array(content)), texts)
