"""All-pairs scores of the corrected model in factorised form, against scoring the same pairs one by one.

    python benchmarks/gallery.py

The loop is what a reader of the formula would write first: every image with every caption through `pair_scores`.
Prints the ratio with its interval and the largest difference between the scores.
"""

import torch

from vialign.budget import overhead, time_rounds
from vialign.catalogue import MODULES
from vialign.config.methods import CurriculumConfig
from vialign.config.signal import SignalConfig
from vialign.disentangle import Phrases, Prototypes
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.objective import Side, select
from vialign.signal.calibration import LogisticCalibration, SignalCalibration

IMAGES, TEXTS, DIMENSION, PROTOTYPES, UNITS = 40, 200, 512, 8, 5


def sides(method: CurriculumMethod, rng: torch.Generator) -> tuple[Side, Side]:
    def unit(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, DIMENSION, generator=rng), dim=-1)

    prototypes = Prototypes(
        unit(IMAGES, PROTOTYPES),
        torch.full((IMAGES, PROTOTYPES), 1 / PROTOTYPES),
        None,
        torch.rand(IMAGES, PROTOTYPES, 5, generator=rng),
    )
    kind = torch.tensor([1, 2, 1, 2, 3]).repeat(TEXTS, 1)
    subject = torch.tensor([-1, 0, -1, 2, 0]).repeat(TEXTS, 1)
    target = torch.tensor([-1, -1, -1, -1, 2]).repeat(TEXTS, 1)
    phrases = Phrases(unit(TEXTS, UNITS), torch.full((TEXTS, UNITS), 1 / UNITS), kind, subject, target, None)
    data = type("Data", (), {})()
    data.image_pooled, data.prototypes, data.text_pooled, data.phrases = unit(IMAGES), prototypes, unit(TEXTS), phrases
    return method.images(data, torch.arange(IMAGES)), method.texts(data, torch.arange(TEXTS))


def main() -> None:
    calibration = SignalCalibration(LogisticCalibration(10.0, 0.0), LogisticCalibration(10.0, 0.0))
    method = CurriculumMethod(MODULES, DIMENSION, 100.0, calibration, CurriculumConfig(), SignalConfig(), 1.0, 0).eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        method.correct.write.copy_(0.1 * torch.randn(method.correct.write.shape, generator=rng))
    images, texts = sides(method, rng)

    def factorised() -> torch.Tensor:
        return method.scores(images, texts)

    def one_by_one() -> torch.Tensor:
        rows = [
            [
                method.pair_scores(select(images, torch.tensor([i])), select(texts, torch.tensor([t])))
                for t in range(TEXTS)
            ]
            for i in range(IMAGES)
        ]
        return torch.stack([torch.cat(row) for row in rows])

    with torch.inference_mode():
        difference = float((factorised() - one_by_one()).abs().max())
        times = time_rounds({"reference": factorised, "method": one_by_one}, rounds=4, seed=0)
        beyond = overhead(times.cpu, "method", seed=0)
    print(f"{IMAGES} images, {TEXTS} texts: largest difference {difference:.1e}")
    print(f"one by one / factorised = {1 + beyond.value:.0f} [{1 + beyond.low:.0f}, {1 + beyond.high:.0f}]")


if __name__ == "__main__":
    main()
