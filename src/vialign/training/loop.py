"""The one training loop: AdamW, warm-up and cosine, clipping, selection checks, best weights kept."""

import math
import time
from collections.abc import Collection
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from vialign.config.methods import TrainingConfig
from vialign.distributed import is_first, processes, sum_gradients
from vialign.evaluation.outcomes import NotFinite
from vialign.methods.checkpoint import Checkpoint, Trail
from vialign.methods.objective import Objective, SplitData, part_of
from vialign.progress import follow
from vialign.tables.training import MONITOR, SIGNAL_MONITOR, TRAINING_LOG
from vialign.training.batches import Batches, BatchOrder
from vialign.training.monitor import Row, carries_signal, check, sample_images, selection_score
from vialign.training.unfinished import TrainingResult, Unfinished, rows_of

TERMS = ("loss", "contrastive", "negative", "regularisation")
Parameters = dict[str, nn.Parameter]
_LOSS_SCALE = 2.0**10
"""At the start of a training in float16: gradients of losses on cosines seldom overflow with it."""
_SCALER = "loss scale"
"""Stands in for the name of a parameter in the optimiser's part of a checkpoint."""


def check_steps(config: TrainingConfig, checks: int) -> set[int]:
    """Steps of `checks` looks at selection: evenly spread, with the beginning, the early gate and the end."""
    even = {round(config.steps * number / checks) for number in range(checks + 1)}
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
    selection_data: SplitData,
    config: TrainingConfig,
    *,
    peak_rate: float,
    seed: int,
    to_step: int,
    start: Checkpoint | None = None,
    unfinished: Unfinished | None = None,
    looks: Collection[int] | None = None,
    selection_batch: int = 256,
    batches: Batches | None = None,
) -> TrainingResult:
    """Train up to `to_step`, from the beginning or from the checkpoint `start`, whose training it continues exactly.

    Schedule and batches depend on the config and the seed alone, so two stretches give the same weights as one. With
    `unfinished` what is done so far is written there now and then, and a stretch that was killed goes on from it.
    `looks` are the steps after which selection is looked at, instead of those of the config, and `batches` the order of
    the training, instead of one drawn by the seed. Where several processes share the batches, the first of them alone
    validates and keeps. A method without trainable parameters goes the same way, with no step and the one check at
    step 0. The objective is left with its last weights, in evaluation mode. Raises RuntimeError when a trainable tensor
    gets no gradient, which is a bug of the method, and `Diverged` when the loss, or a score of a check, is not finite.
    """
    parameters = objective.trainable()
    scaler = _make_scaler(objective, parameters)
    optimiser = _make_optimiser(parameters, config) if parameters else None
    watch = _Watch(objective, selection_data, config, seed, selection_batch, looks)
    done = None if unfinished is None else unfinished.read()
    log: list[dict[str, Any]] = []
    if done is not None:
        start = done.checkpoint
        log = rows_of(done.log)
        watch.take_over(done)
    if start is None:
        objective.begin(train_data)
        watch.look(0)
    else:
        objective.load_state(start.weights)
        watch.step, watch.score, watch.state = start.best_step, start.best_score, start.best

    def result(step: int) -> TrainingResult:
        return watch.result(step, log, {} if optimiser is None else _optimiser_state(optimiser, scaler, parameters))

    if optimiser is not None:
        first = 1 if start is None else start.step + 1
        _load_optimiser(optimiser, scaler, parameters, {} if start is None else start.optimiser)
        loss = torch.compile(objective.loss, dynamic=True) if config.compile else objective.loss
        order = BatchOrder(train_data, config.batch, seed) if batches is None else batches
        # Files of the next batch are decoded while the towers are at work on this one.
        ahead = getattr(train_data.pixels, "expect", None)
        objective.train()
        steps = follow(range(first, to_step + 1), f"training {objective.name}, seed {seed}", shown=is_first())
        for step in steps:
            began = time.perf_counter()
            batch = order.draw(step)
            if ahead is not None and step < to_step:
                ahead(order.draw(step + 1).images)
            terms = loss(train_data, batch)
            rate = rate_at(step, peak_rate, config) * objective.rate_factor()
            norm = _update(objective.name, terms["loss"], parameters, optimiser, scaler, rate, config.clip)
            values = {name: float(terms[name].detach()) for name in TERMS}
            seconds = time.perf_counter() - began
            log.append({"step": step, **values, "learning_rate": rate, "gradient_norm": norm, "seconds": seconds})
            watch.look(step)
            steps.say(loss=values["loss"], best_selection=watch.score)
            if unfinished is not None and step < to_step and is_first():
                unfinished.offer(partial(result, step))
        objective.eval()
    return result(to_step)


class Diverged(RuntimeError):
    """A loss, or scores, that are not finite."""


class _Watch:
    """Looks at selection on the way: at all of it to keep the best weights, at a sample of it to follow the signal."""

    def __init__(
        self,
        objective: Objective,
        data: SplitData,
        config: TrainingConfig,
        seed: int,
        batch: int,
        looks: Collection[int] | None,
    ) -> None:
        self.objective, self.data, self.seed, self.batch = objective, data, seed, batch
        self.steps = check_steps(config, config.checks) if looks is None else set(looks)
        self.light_steps: set[int] = set()
        if looks is None and carries_signal(objective, data):
            self.light_steps = check_steps(config, config.monitor.checks)
        self.sample = part_of(data, sample_images(data, config.monitor.images)) if self.light_steps else None
        self.rows: list[dict[str, Any]] = []
        self.light_rows: list[dict[str, Any]] = []
        self.trail: Trail = {}
        self.step, self.score, self.state = -1, -math.inf, dict[str, Tensor]()
        """The best check of the whole split so far, of equal ones the first, and the weights there."""
        self.outcomes: pd.DataFrame | None = None
        """OUTCOMES of the last check of the whole split."""

    def take_over(self, done: TrainingResult) -> None:
        """Go on from the checks of a stretch that was interrupted."""
        self.rows, self.light_rows = rows_of(done.monitor), rows_of(done.signal_monitor)
        self.trail = dict(done.trail)

    def look(self, step: int) -> None:
        """The checks that belong to this step, if any."""
        if not is_first():
            return
        if step in self.steps:
            row, self.outcomes = self._check(self.data, step)
            self.rows.append({**row})
            if selection_score(row) > self.score:
                self.step, self.score, self.state = step, selection_score(row), self.objective.state()
        if self.sample is not None and step in self.light_steps:
            row, _ = self._check(self.sample, step)
            self.light_rows.append({**row, "score": selection_score(row)})
            self.trail[step] = self.objective.state()

    def _check(self, data: SplitData, step: int) -> tuple[Row, pd.DataFrame]:
        try:
            return check(self.objective, data, step, self.seed, self.batch)
        except NotFinite as error:
            raise Diverged(f"{self.objective.name}: {error}") from error

    def result(self, step: int, log: list[dict[str, Any]], optimiser: dict[str, Tensor]) -> TrainingResult:
        """Everything after so many steps."""
        return TrainingResult(
            Checkpoint(step, self.objective.state(), self.state, self.score, self.step, optimiser),
            pd.DataFrame(log, columns=list(TRAINING_LOG.columns)),
            pd.DataFrame(self.rows, columns=list(MONITOR.columns)),
            pd.DataFrame(self.light_rows, columns=list(SIGNAL_MONITOR.columns)),
            dict(self.trail),
            self.outcomes if step in self.steps else None,
        )


def _update(
    name: str,
    loss: Tensor,
    parameters: Parameters,
    optimiser: torch.optim.AdamW,
    scaler: GradScaler,
    rate: float,
    clip: float,
) -> float | None:
    """One optimiser step; the gradient's norm before clipping. None where gradients in float16 overflow, which leaves
    the step out.
    """
    if not bool(loss.isfinite()):
        raise Diverged(f"{name}: the loss is {float(loss.detach())}")
    optimiser.zero_grad()
    scaler.scale(loss / processes()).backward()
    require_gradients(name, parameters)
    sum_gradients(parameters.values())
    scaler.unscale_(optimiser)
    norm = nn.utils.clip_grad_norm_(parameters.values(), clip)
    for group in optimiser.param_groups:
        group["lr"] = rate
    finite = bool(norm.isfinite())
    if not finite and not scaler.is_enabled():
        raise Diverged(f"{name}: the gradient is not finite")
    scaler.step(optimiser)
    scaler.update()
    return float(norm) if finite else None


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


def _make_scaler(objective: Objective, parameters: Parameters) -> GradScaler:
    """What keeps small gradients in float16 from becoming zero: a factor on the loss. It does nothing elsewhere."""
    device = next((parameter.device.type for parameter in parameters.values()), "cpu")
    return GradScaler(device, init_scale=_LOSS_SCALE, enabled=objective.precision == "float16")


def _optimiser_state(optimiser: torch.optim.AdamW, scaler: GradScaler, parameters: Parameters) -> dict[str, Tensor]:
    state = {f"{_SCALER}.{field}": torch.tensor(value) for field, value in scaler.state_dict().items()}
    return state | {
        f"{name}.{field}": value.detach().clone()
        for name, parameter in parameters.items()
        for field, value in optimiser.state[parameter].items()
    }


def _load_optimiser(
    optimiser: torch.optim.AdamW, scaler: GradScaler, parameters: Parameters, state: dict[str, Tensor]
) -> None:
    scale = {}
    for key, value in state.items():
        name, _, field = key.rpartition(".")
        if name == _SCALER:
            scale[field] = value.item()
        else:  # AdamW counts its steps on the CPU, wherever the rest is
            device = value.device if field == "step" else parameters[name].device
            optimiser.state[parameters[name]][field] = value.to(device, copy=True)
    if scale:
        scaler.load_state_dict(scale)
