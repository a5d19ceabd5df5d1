"""The corrected scores of all pairs: factorised against pair by pair, and a whole gallery with its operations."""

import resource
import sys
import time
from dataclasses import dataclass

import pandas as pd
import torch

from benchmarks.speed.comparison import Comparison, Rival, spent
from vialign.budget.counting import count_work
from vialign.catalogue import MODULES
from vialign.config.methods import CurriculumConfig
from vialign.config.signal import SignalConfig
from vialign.disentangle import Phrases, Prototypes
from vialign.evaluation.run import core_outcomes
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.objective import SplitData, select
from vialign.signal.calibration import LogisticCalibration, SignalCalibration

IMAGES, CAPTIONS = 5000, 25010
"""COCO's test split."""
TOLERANCE = 1e-5
"""Of scores in [-1, 1], from sums of 512 products in single precision."""
CALIBRATION = SignalCalibration(LogisticCalibration(10.0, 0.0), LogisticCalibration(10.0, 0.0))


@dataclass(frozen=True)
class Whole:
    """What a gallery took, from both sides to the ranks of every query."""

    images: int
    captions: int
    threads: int
    cpu: float
    wall: float
    peak: float
    """Most memory of the process, bytes."""
    operations: float
    """Of matrix products, a pair."""
    peak_rate: float
    """Operations a second of a large product of matrices on one core, measured before and after; the larger."""

    @property
    def share(self) -> float:
        """Of that rate, which the whole work reaches a second of CPU time."""
        return self.operations * self.images * self.captions / self.cpu / self.peak_rate


def corrected(dimension: int = 512) -> CurriculumMethod:
    """The full model of the default config, away from its start, where it corrects nothing."""
    settings = CurriculumConfig()
    method = CurriculumMethod(MODULES, dimension, 100.0, CALIBRATION, settings, SignalConfig(), 1.0, 0).eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        method.correct.write.copy_(0.1 * torch.randn(method.correct.write.shape, generator=rng))
        method.correct.support.fill_(0.05)
    return method


def drawn(images: int, captions: int, dimension: int = 512, prototypes: int = 8) -> SplitData:
    """A split with eight prototypes an image and five units a caption: two entities with an attribute each, and a
    relation that asks how they lie.
    """
    rng = torch.Generator().manual_seed(0)

    def unit(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, generator=rng), dim=-1)

    kind = torch.tensor([1, 2, 1, 2, 3])
    units = len(kind)
    direction = torch.zeros(captions, units, 8)
    direction[:, -1] = unit(captions, 8)
    owner = torch.arange(captions) % images
    texts = pd.DataFrame({"text_id": [f"t{row}" for row in range(captions)], "kind": "caption"})
    return SplitData(
        image_ids=[f"i{row}" for row in range(images)],
        texts=texts.assign(image_id=[f"i{row}" for row in owner.tolist()], text=""),
        image_of_text=owner,
        captions=torch.arange(captions),
        negatives=torch.empty(captions, 0, dtype=torch.long),
        image_pooled=unit(images, dimension),
        text_pooled=unit(captions, dimension),
        prototypes=Prototypes(
            unit(images, prototypes, dimension),
            torch.full((images, prototypes), 1 / prototypes),
            None,
            torch.rand(images, prototypes, 5, generator=rng),
        ),
        phrases=Phrases(
            unit(captions, units, dimension),
            torch.full((captions, units), 1 / units),
            kind.repeat(captions, 1),
            torch.tensor([-1, 0, -1, 2, 0]).repeat(captions, 1),
            torch.tensor([-1, -1, -1, -1, 2]).repeat(captions, 1),
            None,
            direction,
        ),
    )


@torch.no_grad()
def pairs(images: int = 8, captions: int = 40, dimension: int = 512) -> Comparison:
    """All pairs at once, and what a reader of the formula would write first: one after the other."""
    method, data = corrected(dimension), drawn(images, captions, dimension)
    one, other = method.images(data, torch.arange(images)), method.texts(data, torch.arange(captions))

    @torch.no_grad()
    def ours() -> torch.Tensor:
        return method.scores(one, other)

    @torch.no_grad()
    def loop() -> torch.Tensor:
        shown = [select(one, torch.tensor([row])) for row in range(images)]
        said = [select(other, torch.tensor([row])) for row in range(captions)]
        return torch.stack([torch.cat([method.pair_scores(image, text) for text in said]) for image in shown])

    rival = Rival(loop, lambda: float((loop() - ours()).abs().max()), TOLERANCE)
    return Comparison(
        f"corrected scores of {images} images and {captions} captions", ours, {"pair by pair": rival}, rounds=8
    )


def product_rate(size: int = 1536) -> float:
    """Operations a second of the fastest of five products of square matrices."""
    one, other = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(5):
        began = spent()
        one @ other
        seconds.append(spent() - began)
    return 2 * size**3 / min(seconds)


def whole(images: int, captions: int) -> Whole:
    """A gallery from stored prototypes and phrases to ranks, as an evaluation goes through it."""
    method, sample = corrected(), drawn(64, 64)
    with torch.no_grad():
        sides = method.images(sample, torch.arange(64)), method.texts(sample, torch.arange(64))
        operations = count_work(lambda: method.scores(*sides)).products / 64**2
    data = drawn(images, captions)
    rate, began, cpu = product_rate(), time.perf_counter(), spent()
    core_outcomes(method, data, "vialign", 0, "test")
    wall, cpu = time.perf_counter() - began, spent() - cpu
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    threads = torch.get_num_threads()
    return Whole(images, captions, threads, cpu, wall, float(peak), operations, max(rate, product_rate()))
