"""A training of a tower method and one of the curriculum in as many processes as torchrun starts; the first one writes.

    torchrun --nproc-per-node 2 tests/shared_batches.py FOLDER

In double precision, so that only the order of additions can differ between one process and several.
"""

import dataclasses
import sys

import torch
from torch import nn

from planted import CALIBRATION, Vocabulary, planted_world
from vialign.catalogue import MODULES
from vialign.config.methods import CurriculumConfig, MonitorConfig, TrainingConfig
from vialign.config.signal import SignalConfig
from vialign.distributed import is_first, process_group
from vialign.files.artifacts import write_tensors
from vialign.methods.baselines.cosine import CosineMethod
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.training.loop import train

RECIPE = TrainingConfig(
    batch=15, steps=8, early_steps=4, checks=2, hardest=0.5, monitor=MonitorConfig(checks=2, images=6)
)


LOGGED = ("loss", "gradient_norm")


class Towers(CosineMethod):
    """Two small towers on stored embeddings, all of them trained: what is used before the gathering."""

    name = "towers"

    def __init__(self):
        super().__init__()
        self.logit_scale, self.negative_weight = 20.0, 1.0
        stream = torch.Generator().manual_seed(0)
        weights = [nn.Parameter(torch.eye(16) + 0.1 * torch.randn(16, 16, generator=stream)) for _ in range(2)]
        self.image, self.text = weights

    def images(self, data, index):
        return {"pooled": nn.functional.normalize(torch.tanh(data.image_pooled[index] @ self.image), dim=-1)}

    def texts(self, data, index):
        return {"pooled": nn.functional.normalize(torch.tanh(data.text_pooled[index] @ self.text), dim=-1)}


def build(name):
    if name == "towers":
        return Towers()
    return CurriculumMethod(MODULES, 16, 20.0, CALIBRATION, CurriculumConfig(), SignalConfig(), 1.0, 0)


def double(part):
    """Everything that is a number with a fraction, in double precision."""
    if isinstance(part, torch.Tensor):
        return part.double() if part.is_floating_point() else part
    if dataclasses.is_dataclass(part):
        fields = {field.name: double(getattr(part, field.name)) for field in dataclasses.fields(part)}
        return type(part)(**fields)
    return part


def main(folder):
    vocabulary = Vocabulary(16)
    splits = [double(planted_world(vocabulary, 40, 1)), double(planted_world(vocabulary, 20, 2))]
    with process_group():
        for name in ("towers", "vialign"):
            method = build(name).double()
            method.hardest_share = RECIPE.hardest
            result = train(method, *splits, RECIPE, peak_rate=1e-2, seed=7, to_step=8)
            if is_first():
                log = {f"log.{column}": torch.tensor(result.log[column].to_numpy()) for column in LOGGED}
                write_tensors({**result.checkpoint.weights, **log}, f"{folder}/{name}.safetensors", {})


if __name__ == "__main__":
    main(*sys.argv[1:])
