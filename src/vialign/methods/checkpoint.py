"""Checkpoints: everything that a stopped training needs to go on as if it had never stopped, as plain tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vialign.errors import UserError, reading
from vialign.files.artifacts import read_tensors, write_tensors
from vialign.methods.objective import Objective

Trail = dict[int, dict[str, Tensor]]
"""The objective's state at some steps on its way, by step."""
_PARTS = ("weights", "best", "optimiser")


@dataclass(frozen=True)
class Checkpoint:
    """A training after `step` steps."""

    step: int
    weights: dict[str, Tensor]
    """The objective's state now."""
    best: dict[str, Tensor]
    """Its state at the best selection check so far: what evaluation uses."""
    best_score: float
    best_step: int
    optimiser: dict[str, Tensor]
    """AdamW's state, `<parameter>.<field>`."""


def checkpoint_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """A checkpoint as named tensors; names are prefixed with the part they belong to."""
    tensors = {f"{part}.{name}": tensor for part in _PARTS for name, tensor in getattr(checkpoint, part).items()}
    tensors["progress.step"] = torch.tensor(checkpoint.step)
    tensors["progress.best_step"] = torch.tensor(checkpoint.best_step)
    tensors["progress.best_score"] = torch.tensor(checkpoint.best_score, dtype=torch.float64)
    return tensors


def read_checkpoint(tensors: Mapping[str, Tensor], path: str | Path) -> Checkpoint:
    """The checkpoint from what `checkpoint_tensors` gave; raises UserError naming `path` for something else."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in (*_PARTS, "progress")}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise UserError(f"{path}: not a training checkpoint (tensor {name!r}); delete it and run again")
        parts[part][rest] = tensor
    progress = parts.pop("progress")
    if set(progress) != {"step", "best_step", "best_score"}:
        raise UserError(f"{path}: not a training checkpoint (no progress); delete it and run again")
    with reading(path, "delete it and run again"):
        return Checkpoint(
            step=int(progress["step"]),
            best_step=int(progress["best_step"]),
            best_score=float(progress["best_score"]),
            **parts,
        )


def save_checkpoint(checkpoint: Checkpoint, path: str | Path, provenance: Mapping[str, str]) -> None:
    """Write as safetensors."""
    write_tensors(checkpoint_tensors(checkpoint), path, provenance)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote; raises UserError when the file holds something else."""
    return read_checkpoint(read_tensors(path), path)


def trail_tensors(trail: Trail) -> dict[str, Tensor]:
    """A trail as named tensors, `<step>.<name>`."""
    return {f"{step}.{name}": tensor for step, state in trail.items() for name, tensor in state.items()}


def trail_from(tensors: Mapping[str, Tensor], path: str | Path) -> Trail:
    """The trail from what `trail_tensors` gave, steps in order; raises UserError naming `path` for something else."""
    trail: Trail = {}
    for key, tensor in tensors.items():
        step, _, name = key.partition(".")
        if not step.isdigit() or not name:
            raise UserError(f"{path}: not a checkpoint trail (tensor {key!r}); delete it and run again")
        trail.setdefault(int(step), {})[name] = tensor
    return dict(sorted(trail.items()))


def save_trail(trail: Trail, path: str | Path, provenance: Mapping[str, str]) -> None:
    """Write as safetensors; the trail of a method without the signal is an empty file of that kind."""
    write_tensors(trail_tensors(trail), path, provenance)


def load_trail(path: str | Path) -> Trail:
    """Read what `save_trail` wrote; raises UserError when the file holds something else."""
    return trail_from(read_tensors(path), path)


def load_best(objective: Objective, path: str | Path) -> Objective:
    """Give a freshly built objective the best weights of a checkpoint and set it to evaluation mode."""
    with reading(path, "delete it and run again"):
        objective.load_state(load_checkpoint(path).best)
    return objective.eval()
