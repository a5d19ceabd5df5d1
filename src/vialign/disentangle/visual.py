"""Image patches to prototypes: light semantic-aware adaptive pooling over a dictionary of atoms."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vialign.config.disentangle import VisualConfig, fixed
from vialign.disentangle.types import Prototypes


@dataclass(frozen=True)
class VisualParts:
    """What lies between patches and prototypes; the losses and the quality measures read it."""

    patches: Float[Tensor, "batch patch dim"]
    """Mean removed, unit length."""
    assignment: Float[Tensor, "batch patch atom"]
    """Distribution of every patch over atoms, background atoms last."""
    atoms: Int[Tensor, "batch prototype"]
    """The atom that each prototype is made of."""


class VisualDisentangler(nn.Module):
    """Soft assignment of patches to an over-complete dictionary; the K most active atoms become prototypes.

    CLIP's patch tokens share a large common component, which would make all cosines alike: their mean over the training
    images is removed first. A prototype is the map-weighted pool of its patches, moved by a low-rank residual map so
    that local embeddings agree with text. Parameters: (atoms + background + 2 rank) D.
    """

    mean: Tensor
    places: Tensor

    def __init__(
        self,
        dimension: int,
        grid: tuple[int, int],
        atoms: int,
        background: int,
        prototypes: int,
        temperature: float,
        adapter_rank: int,
    ) -> None:
        super().__init__()
        if prototypes > atoms:
            raise ValueError(f"{prototypes} prototypes cannot be made of {atoms} atoms")
        self.dimension, self.grid = dimension, grid
        self.foreground, self.background, self.prototypes = atoms, background, prototypes
        self.temperature, self.adapter_rank = temperature, adapter_rank
        self.dictionary = nn.Parameter(F.normalize(torch.randn(atoms + background, dimension), dim=-1))
        self.down = nn.Linear(dimension, adapter_rank, bias=False)
        self.up = nn.Linear(adapter_rank, dimension, bias=False)
        nn.init.zeros_(self.up.weight)
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("places", _patch_centres(grid), persistent=False)

    @classmethod
    def from_config(cls, config: VisualConfig, dimension: int, grid: tuple[int, int]) -> "VisualDisentangler":
        """An unfitted disentangler of the size that the config states. Raises ValueError where it says `auto`."""
        return cls(
            dimension,
            grid,
            fixed(config.atoms),
            config.background,
            fixed(config.prototypes),
            config.temperature,
            config.adapter_rank,
        )

    def numbers(self) -> dict[str, object]:
        """The arguments that build this module again."""
        return {
            "dimension": self.dimension,
            "grid": self.grid,
            "atoms": self.foreground,
            "background": self.background,
            "prototypes": self.prototypes,
            "temperature": self.temperature,
            "adapter_rank": self.adapter_rank,
        }

    def forward(self, patches: Float[Tensor, "batch patch dim"]) -> Prototypes:
        """Prototypes of a batch of images, most active first; patches are joint-space tokens, not normalised."""
        return self.prototypes_of(self.parts(patches))

    def parts(self, patches: Float[Tensor, "batch patch dim"]) -> VisualParts:
        """Centred patches, their assignment, and the most active foreground atoms of every image."""
        unit = F.normalize(patches.float() - self.mean, dim=-1)
        cosines = unit @ F.normalize(self.dictionary, dim=-1).T
        assignment = torch.softmax(cosines / self.temperature, dim=-1)
        activity = assignment[..., : self.foreground].sum(dim=1)
        return VisualParts(unit, assignment, activity.topk(self.prototypes, dim=-1).indices)

    def prototypes_of(self, parts: VisualParts) -> Prototypes:
        """Pools the patches of the chosen atoms; differentiable in all but the choice."""
        activation = chosen_maps(parts).transpose(1, 2)
        activity = activation.sum(dim=-1)
        maps = activation / activity.clamp_min(1e-12)[..., None]
        mass = activity / activity.sum(dim=-1, keepdim=True).clamp_min(1e-12)
        pooled = maps @ parts.patches
        features = F.normalize(pooled + self.up(F.gelu(self.down(F.normalize(pooled, dim=-1)))), dim=-1)
        return Prototypes(features, mass, maps, self._moments(maps, activity))

    def _moments(
        self, maps: Float[Tensor, "batch prototype patch"], activity: Float[Tensor, "batch prototype"]
    ) -> Float[Tensor, "batch prototype 5"]:
        first_and_second = maps @ self.places
        mean, square = first_and_second.split(2, dim=-1)
        spread = (square - mean.square()).clamp_min(1e-12).sqrt()
        return torch.cat([mean, spread, activity[..., None] / maps.shape[-1]], dim=-1)


def chosen_maps(parts: VisualParts) -> Float[Tensor, "batch patch prototype"]:
    """Assignment of every patch to the atoms that became prototypes."""
    index = parts.atoms[:, None, :].expand(-1, parts.assignment.shape[1], -1)
    return parts.assignment.gather(2, index)


def _patch_centres(grid: tuple[int, int]) -> Float[Tensor, "patch 4"]:
    """x, y, x squared and y squared of every patch's centre, in image widths and heights."""
    rows, columns = grid
    y = ((torch.arange(rows) + 0.5) / rows)[:, None].expand(rows, columns).reshape(-1)
    x = ((torch.arange(columns) + 0.5) / columns)[None, :].expand(rows, columns).reshape(-1)
    return torch.stack([x, y, x.square(), y.square()], dim=-1)
