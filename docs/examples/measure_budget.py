# %% [markdown]
# # Measure a module's budget
#
# *This page is a script that was run: [measure_budget.py](measure_budget.py). It takes seconds on one core, offline.*
#
# You have a CLIP and an idea for a module. What does it cost, does it keep the budget (less than 2 % more parameters,
# less than 10 % more time at inference and in training), and how large may it be? The ledger answers by measuring.
# Nothing has to be trained for it: sizes and times do not depend on the weights.
#
# ## 1. The two modules
# A pair is the backbone alone and the backbone with the module, called with the same inputs. Here the backbone is the
# demo CLIP, which scores images with captions. The module lets every patch of the image look at the caption: a
# low-rank form on the patch tokens, whose best match joins the score.

# %%
import torch
from torch import Tensor, nn

from vialign.backbone import Backbone
from vialign.budget import ModulePair, largest_pair_rank, ledger_text, measure_pair
from vialign.config.methods import BudgetConfig
from vialign.toolkit import open_backbone

backbone = open_backbone("vialign-scenes", "package")


class Cosine(nn.Module):
    """The backbone alone: image and caption to a score."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.model, self.backbone = backbone.model, backbone

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        return (self.backbone.encode_image(pixels) * self.backbone.encode_text(ids)).sum(dim=-1)


class PatchMatch(Cosine):
    """The same, with the best match of a patch with the caption in a space of `rank` dimensions."""

    def __init__(self, backbone: Backbone, rank: int) -> None:
        super().__init__(backbone)
        self.patch = nn.Linear(backbone.dimension, rank, bias=False)
        self.caption = nn.Linear(backbone.dimension, rank, bias=False)

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        image, patches = self.backbone.image_tokens(pixels, "final")
        text = self.backbone.encode_text(ids)
        matches = (self.patch(patches) * self.caption(text)[:, None]).sum(dim=-1)
        return (image * text).sum(dim=-1) + matches.amax(dim=-1)


# %% [markdown]
# ## 2. Measure
# Inputs of the usual size are all that is needed: here drawn pixels and one caption. `loss` is what training would
# lower; without it nothing is said about training. Rounds run both modules back to back, in an order drawn by seed.

# %%
pixels = backbone.normalise(torch.randint(0, 256, (4, 3, backbone.image_size, backbone.image_size), dtype=torch.uint8))
ids = backbone.tokenize(["a red circle above a small blue square"] * 4).ids
pair = ModulePair(
    reference=Cosine(backbone),
    method=PatchMatch(backbone, rank=16),
    inputs=(pixels, ids),
    loss=lambda scores: (1 - scores).square().mean(),
    at_rank=lambda rank: PatchMatch(backbone, rank),
)
ledger = measure_pair(pair, name="patch match", backbone="the demo CLIP", rounds=4)
print(ledger_text(ledger))

# %% [markdown]
# Numbers, operations and bytes are counted and the same everywhere. Times are CPU times of one thread, the mean of the
# faster half of the rounds with an interval, so yours will differ. A limit is *kept* where the whole interval lies
# under it, *broken* where it lies above, and *undecided* otherwise; also with fewer than 50 rounds, as here, or where
# the reference differs from itself too much.
#
# Training is the line to look at twice. The backbone is frozen, so the reference has nothing to learn and its step is
# no more than a call and its loss; what the module adds is its forward pass, its own gradients and the optimiser's
# step.
#
# ## 3. How large may it be?
# `at_rank` builds the module at any rank, without memory for its numbers. The limit on parameters then has an answer.

# %%
rank, extra = largest_pair_rank(pair, BudgetConfig(), range(1, 513))
print(f"largest rank inside the budget: {rank}, with {extra:,} extra parameters")

# %% [markdown]
# ## 4. A module that breaks the budget
# The budget must be able to say no. Eight times that rank does not fit, and the ledger says so.

# %%
large = ModulePair(pair.reference, PatchMatch(backbone, rank=8 * rank), pair.inputs)
share = measure_pair(large, name="patch match, large", backbone="the demo CLIP", rounds=2).set_index("measure")
row = share.loc["parameters_extra_share"]
print(f"{100 * row['value']:.1f} % extra parameters, limit {100 * row['limit']:.0f} %: it is {row['outcome']}")

# %% [markdown]
# ## What to take from it
# - The budget is about ViT-B/32. On a demo backbone seventy times smaller the same module weighs more, in size and in
#   time: measure at the size that you mean (`backbone.architecture` in a config, random weights will do).
# - Put the pair into a function that takes the config, and `vialign budget my_package:pair config.yaml --size` prints
#   the same and writes it to a table ([the budget's page](../budget.md) tells the options).
