"""What every method shares that trains a part of the backbone, or something inside it.

Modules are copied, frozen weights are not: the copy's parameters and buffers are those of the backbone until a method
replaces one by its own (`own_parameters`). So the backbone never changes, and a method costs the memory of what it
adds.
"""

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vialign.errors import UserError
from vialign.methods.baselines.cosine import CosineMethod
from vialign.methods.objective import Side, SplitData

if TYPE_CHECKING:
    from vialign.backbone import Backbone
    from vialign.backbone.text_tower import TextTower


_GROUP = 32
"""Texts that are encoded together."""


class TunedBackbone(CosineMethod):
    """A copy of the backbone of which a subclass trains a part; call `settle` once that part is in place.

    The image side runs no more than it must. Where nothing in the image tower is trained, its stored embeddings are
    read; where only the head behind a convolutional trunk is, what that trunk gave when the features were extracted;
    else the pixels. The text side runs from token ids.
    """

    def __init__(self, backbone: "Backbone", negative_weight: float) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = backbone.logit_scale, negative_weight
        model = backbone.model
        if not isinstance(getattr(model, "visual", None), nn.Module):
            raise UserError(
                f"{self.name}: {backbone.contract['architecture']} is not an open_clip model, whose towers it changes; "
                f"remove {self.name} from training.methods"
            )
        tokenizer = getattr(backbone, "tokenizer", None)  # read only, and most of what there is to copy
        shared: dict[int, Any] = {id(part): part for part in (*model.parameters(), *model.buffers(), tokenizer)}
        self.backbone = copy.deepcopy(backbone, shared)
        self.precision = getattr(backbone, "precision", self.precision)
        self.model: Any = self.backbone.model
        """open_clip's model, a part of this module; its towers have no common type."""

    def settle(self) -> None:
        """Set the copy to evaluation and derive from its trainable parameters what the method needs to read."""
        self.model.eval()
        trained = [name for name, parameter in self.model.named_parameters() if parameter.requires_grad]
        needs = {"token_ids"}
        if any(name.startswith("visual.") for name in trained):
            in_head = self.backbone.trunk_width > 0 and not any(name.startswith("visual.trunk.") for name in trained)
            needs.add("trunk" if in_head else "pixels")
        self.needs = frozenset(needs)

    def train(self, mode: bool = True) -> "TunedBackbone":
        """New parts train; dropout and norm layers of the copy keep the behaviour and statistics of evaluation."""
        super().train(mode)
        self.model.eval()
        return self

    def image_blocks(self) -> nn.ModuleList:
        """The residual blocks of the image tower, in place; none where it is a convolutional trunk.

        Raises UserError for another kind of image tower.
        """
        if self.backbone.trunk_width > 0:
            return nn.ModuleList()
        return self._blocks(getattr(self.model, "visual", None), "image")

    def text_blocks(self) -> nn.ModuleList:
        """The residual blocks of the text tower, in place. Raises UserError for another kind of text tower."""
        return self._blocks(self.text_tower.owner, "text")

    @property
    def text_tower(self) -> "TextTower":
        """Where the parts of the text tower are. Raises UserError for another kind of text tower."""
        from vialign.backbone.text_tower import text_tower

        try:
            return text_tower(self.model, self.architecture)
        except UserError:
            raise UserError(
                f"{self.name}: the text tower of {self.architecture} is not open_clip's own text transformer, which it "
                f"changes; remove {self.name} from training.methods"
            ) from None

    @property
    def architecture(self) -> str:
        """The backbone's name, for messages."""
        return self.backbone.contract["architecture"]

    def _blocks(self, tower: Any, side: str) -> nn.ModuleList:
        blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
        if not isinstance(blocks, nn.ModuleList):
            raise UserError(
                f"{self.name}: the {side} tower of {self.architecture} has no residual blocks of open_clip's kind; "
                f"remove {self.name} from training.methods"
            )
        return blocks

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Embeddings: stored ones, from what the frozen trunk gave, or from pixels."""
        if self.needs.isdisjoint({"pixels", "trunk"}):
            return {"pooled": data.image_pooled[index]}
        if "trunk" in self.needs and data.trunk is not None:
            return {"pooled": self.backbone.encode_trunk(data.trunk[index])}
        if data.pixels is None:
            raise ValueError(f"{self.name} needs pixels, or the output of a frozen trunk: load the split with them")
        return {"pooled": self.backbone.encode_image(self.backbone.normalise(data.pixels[index]))}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Embeddings from token ids."""
        if data.token_ids is None:
            raise ValueError(f"{self.name} needs token ids: load the split with them")
        return {"pooled": self.encode_by_length(data.token_ids[index].long())}

    def encode_by_length(self, ids: Int[Tensor, "text token"]) -> Float[Tensor, "text dim"]:
        """`encode_text` in groups of about the same length, each without the padding that it does not need.

        The same numbers but for rounding: most captions are half as long as the longest, and padding costs what words
        cost. Towers that look at their padding get all of it.
        """
        tower = self.text_tower
        if not tower.cuts:
            return self.encode_text(ids)
        place = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        padding = cast(Any, self.backbone).tokenizer.padding
        length = ((ids != padding) * place).amax(dim=1) + tower.kept_padding
        order = length.argsort(stable=True)
        groups = [self.encode_text(ids[rows, : int(length[rows].max())]) for rows in order.split(_GROUP)]
        return torch.cat(groups)[order.argsort()]

    def encode_text(self, ids: Int[Tensor, "text token"]) -> Float[Tensor, "text dim"]:
        """Embeddings of token ids, unit length."""
        return self.backbone.encode_text(ids)


def own_parameters(module: nn.Module, names: Iterable[str]) -> None:
    """Replace these direct parameters of a module by trainable copies, so that training leaves the originals alone."""
    for name in names:
        setattr(module, name, nn.Parameter(module.get_parameter(name).detach().clone()))
