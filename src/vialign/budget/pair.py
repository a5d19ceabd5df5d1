"""Any two modules as a pair for the ledger: one with a method, one without it."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from vialign.budget.counting import Work, count_parameters, count_stored
from vialign.budget.ledger import Subject, measure_subjects
from vialign.budget.sizing import largest_rank
from vialign.config.methods import BudgetConfig


@dataclass(frozen=True)
class ModulePair:
    """What is compared: two modules that take the same inputs."""

    reference: nn.Module
    """The backbone alone."""
    method: nn.Module
    """The backbone with what the method adds; parts that both hold count once."""
    inputs: tuple[Any, ...]
    """What both are called with; the first is a tensor whose first dimension is the batch."""
    loss: Callable[[Any], Tensor] | None = None
    """The scalar that training lowers, from a module's output; none leaves training out."""
    at_rank: Callable[[int], nn.Module] | None = None
    """The method at another rank, for its sizing; built on torch's meta device, where a tensor has no content."""

    @property
    def batch(self) -> int:
        """Samples of one call."""
        return len(self.inputs[0])


def measure_pair(
    pair: ModulePair,
    *,
    name: str,
    backbone: str,
    rounds: int = 50,
    limits: BudgetConfig | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """The ledger of a pair, one row a measure, columns as `BUDGET`.

    Inference is one call in evaluation mode, training one step of AdamW over the parameters that require a gradient
    (no more than a call and its loss where none do). The modules are left as they were: training runs on copies.
    """
    reference, method = (
        _subject(module, name, pair) for module, name in ((pair.reference, "reference"), (pair.method, name))
    )
    modes = [(part, part.training) for whole in (pair.reference, pair.method) for part in whole.modules()]
    pair.reference.eval()
    pair.method.eval()
    try:
        return measure_subjects(
            [method],
            reference,
            backbone=backbone,
            batch=pair.batch,
            rounds=rounds,
            limits=limits or BudgetConfig(),
            seed=seed,
        )
    finally:
        for part, training in modes:
            part.training = training


def largest_pair_rank(pair: ModulePair, limits: BudgetConfig, ranks: Iterable[int]) -> tuple[int, int]:
    """The largest of `ranks` that the limit on parameters allows, and the extra parameters that it then has.

    Raises UserError when even the smallest is too large, ValueError when the pair does not say what a rank is.
    """
    if pair.at_rank is None:
        raise ValueError("ModulePair: `at_rank` is missing, so there is nothing to size")
    build = pair.at_rank
    stored = count_stored([pair.reference])

    def extra(rank: int) -> int:
        with torch.device("meta"):
            return count_stored([pair.reference, build(rank)]) - stored

    rank = largest_rank(extra, limits.parameters * count_parameters([pair.reference]), ranks)
    return rank, extra(rank)


def _subject(module: nn.Module, name: str, pair: ModulePair) -> Subject:
    def call() -> object:
        return module(*pair.inputs)

    return Subject(
        method=name,
        modules=(pair.reference, module),
        trainable=tuple(parameter for parameter in module.parameters() if parameter.requires_grad),
        image=None,
        text=None,
        pair=call,
        step=None if pair.loss is None else _step(copy.deepcopy(module).train(), pair.inputs, pair.loss),
    )


def _step(module: nn.Module, inputs: tuple[Any, ...], loss: Callable[[Any], Tensor]) -> Work:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        return lambda: loss(module(*inputs))
    optimiser = torch.optim.AdamW(parameters, lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        loss(module(*inputs)).backward()
        optimiser.step()

    return step
