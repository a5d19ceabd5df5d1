"""The one training loop: AdamW, warm-up and cosine, clipping, validation checks, best weights kept."""

import math
import time
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from vialign.config import TrainingConfig
from vialign.objective import Objective, SplitData
from vialign.progress import track
from vialign.training.batches import BatchOrder
from vialign.training.checkpoint import Checkpoint
from vialign.training.monitor import Row, check, validation_score

TERMS = ("loss", "contrastive", "negative", "regularisation")
Parameters = dict[str, nn.Parameter]


@dataclass(frozen=True)
class TrainingResult:
    """What a stretch of training leaves."""

    checkpoint: Checkpoint
    log: pd.DataFrame
    """TRAINING_LOG of the steps of this stretch."""
    monitor: pd.DataFrame
    """MONITOR of the checks of this stretch; a stretch from the beginning has step 0 too."""


def check_steps(config: TrainingConfig) -> set[int]:
    """Steps at which validation is looked at: evenly spread, with the beginning, the early gate and the end."""
    even = {round(config.steps * number / config.checks) for number in range(config.checks + 1)}
    return even | {0, config.early_steps, config.steps}


def rate_at(step: int, peak: float, config: TrainingConfig) -> float:
    """Learning rate of a step (from 1): linear warm-up to `peak`, then a cosine to almost 0 at the last step."""
    warmup = round(config.warmup * config.steps)
    if step <= warmup:
        return peak * step / warmup
    share = (step - 1 - warmup) / max(1, config.steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * share))


def train(
    objective: Objective,
    train_data: SplitData,
    validation_data: SplitData,
    config: TrainingConfig,
    *,
    peak_rate: float,
    seed: int,
    to_step: int,
    start: Checkpoint | None = None,
    validation_batch: int = 256,
) -> TrainingResult:
    """Train up to `to_step`, from the beginning or from the checkpoint `start`, whose training it continues exactly.

    Schedule and batches depend on the config and the seed alone, so two stretches give the same weights as one. A
    method without trainable parameters goes the same way, with no step and the one check at step 0. The objective is
    left with its last weights, in evaluation mode. Raises RuntimeError when a trainable tensor gets no gradient or the
    loss is not finite: both are bugs of the method.
    """
    parameters = objective.trainable()
    optimiser = _make_optimiser(parameters, config) if parameters else None
    best = _Best(objective)
    monitor: list[Row] = []
    log: list[dict[str, float]] = []
    if start is None:
        monitor.append(best.look(validation_data, 0, validation_batch))
    else:
        objective.load_state(start.weights)
        best.step, best.score, best.state = start.best_step, start.best_score, start.best
    if optimiser is not None:
        first = 1 if start is None else start.step + 1
        _load_optimiser(optimiser, parameters, {} if start is None else start.optimiser)
        order, checks = BatchOrder(train_data, config.batch, seed), check_steps(config)
        objective.train()
        for step in track(range(first, to_step + 1), f"training {objective.name}, seed {seed}"):
            began = time.perf_counter()
            rate = rate_at(step, peak_rate, config)
            terms = objective.loss(train_data, order.draw(step))
            norm = _update(objective.name, terms["loss"], parameters, optimiser, rate, config.clip)
            values = {name: float(terms[name].detach()) for name in TERMS}
            seconds = time.perf_counter() - began
            log.append({"step": step, **values, "learning_rate": rate, "gradient_norm": norm, "seconds": seconds})
            if step in checks:
                monitor.append(best.look(validation_data, step, validation_batch))
        objective.eval()
    checkpoint = Checkpoint(
        step=to_step,
        weights=objective.state(),
        best=best.state,
        best_score=best.score,
        best_step=best.step,
        optimiser={} if optimiser is None else _optimiser_state(optimiser, parameters),
    )
    columns = ["step", *TERMS, "learning_rate", "gradient_norm", "seconds"]
    return TrainingResult(
        checkpoint, pd.DataFrame(log, columns=columns), pd.DataFrame(monitor, columns=list(Row.__annotations__))
    )


class _Best:
    """The weights at the best validation check so far; of equal checks the first."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.step, self.score, self.state = -1, -math.inf, dict[str, Tensor]()

    def look(self, data: SplitData, step: int, batch: int) -> Row:
        row = check(self.objective, data, step, batch)
        if validation_score(row) > self.score:
            self.step, self.score, self.state = step, validation_score(row), self.objective.state()
        return row


def _update(
    name: str, loss: Tensor, parameters: Parameters, optimiser: torch.optim.AdamW, rate: float, clip: float
) -> float:
    """One optimiser step; the gradient's norm before clipping."""
    if not bool(loss.isfinite()):
        raise RuntimeError(f"{name}: the loss is {float(loss.detach())}")
    optimiser.zero_grad()
    loss.backward()
    require_gradients(name, parameters)
    norm = nn.utils.clip_grad_norm_(parameters.values(), clip)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return float(norm)


def require_gradients(name: str, parameters: Parameters) -> None:
    """Raise RuntimeError naming the trainable tensors that the loss does not reach.

    Such a tensor would be counted, saved and reported as trained while it keeps its start (a known trap of adapters
    on layers whose `forward` is never called).
    """
    missing = [key for key, parameter in parameters.items() if parameter.grad is None]
    if missing:
        raise RuntimeError(f"{name}: no gradient reaches {', '.join(missing)}")


def _make_optimiser(parameters: Parameters, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW; weight decay acts on matrices only, not on gates, temperatures and offsets."""
    matrices = [parameter for parameter in parameters.values() if parameter.ndim > 1]
    others = [parameter for parameter in parameters.values() if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0)


def _optimiser_state(optimiser: torch.optim.AdamW, parameters: Parameters) -> dict[str, Tensor]:
    return {
        f"{name}.{field}": value.detach().clone()
        for name, parameter in parameters.items()
        for field, value in optimiser.state[parameter].items()
    }


def _load_optimiser(optimiser: torch.optim.AdamW, parameters: Parameters, state: dict[str, Tensor]) -> None:
    for key, value in state.items():
        name, _, field = key.rpartition(".")
        optimiser.state[parameters[name]][field] = value.clone()
