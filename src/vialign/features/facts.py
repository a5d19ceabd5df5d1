"""What a method that reads frozen features alone must know of the backbone that made them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vialign.errors import UserError

if TYPE_CHECKING:
    from vialign.backbone import Backbone


@dataclass(frozen=True)
class BackboneFacts:
    """The backbone's numbers, which travel with its features: so such a method never loads the towers."""

    dimension: int
    """D, size of the joint space."""
    grid: tuple[int, int]
    """Rows and columns of the patch grid."""
    context_length: int
    """Most tokens of a text, start and end included."""
    state_width: int
    """Numbers of a token state: D, and behind them the text tower's own embedding of the token."""
    logit_scale: float
    """Factor of the cosines in the contrastive loss."""
    parameters: int
    """Of the whole backbone, over which the budget counts."""

    @classmethod
    def of(cls, backbone: "Backbone") -> "BackboneFacts":
        """Read off a loaded backbone."""
        _, states = backbone.text_tokens(backbone.tokenize(["a"]).ids.to(backbone.device))
        return cls(
            backbone.dimension,
            backbone.grid,
            backbone.context_length,
            states.shape[-1],
            backbone.logit_scale,
            sum(parameter.numel() for parameter in backbone.model.parameters()),
        )

    def provenance(self) -> dict[str, str]:
        """As a store of features carries them; `from_provenance` gives the same numbers back."""
        rows, columns = self.grid
        return {
            "dimension": str(self.dimension),
            "grid": f"{rows},{columns}",
            "context_length": str(self.context_length),
            "state_width": str(self.state_width),
            "logit_scale": repr(self.logit_scale),
            "parameters": str(self.parameters),
        }

    @classmethod
    def from_provenance(cls, provenance: Mapping[str, str], source: object) -> "BackboneFacts":
        """Of the store of features `source`. Raises UserError when it does not carry them."""
        try:
            rows, columns = provenance["grid"].split(",")
            whole = [int(provenance[name]) for name in ("dimension", "context_length", "state_width", "parameters")]
            scale = float(provenance["logit_scale"])
        except (KeyError, ValueError) as error:
            raise UserError(f"{source}: does not say what its backbone is like ({error}); extract again") from None
        dimension, context_length, state_width, parameters = whole
        return cls(dimension, (int(rows), int(columns)), context_length, state_width, scale, parameters)
