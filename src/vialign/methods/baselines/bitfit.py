"""BitFit (Ben-Zaken et al. 2022, arXiv:2106.10199): only the biases of both towers are trained.

All of them: of attention, feed-forward parts and norm layers, and of a projection that has one. A convolutional trunk
has them mostly in its norm layers, which keep the statistics of evaluation. With them the method trains from pixels
through the whole trunk; without them (`trunk` false) it reads what the trunk gave when the features were extracted, and
of the image tower only the bias of the head is trained.
"""

from typing import TYPE_CHECKING

from torch import nn

from vialign.config.experiment import Config
from vialign.errors import UserError
from vialign.methods.baselines.tuned import TunedBackbone, own_parameters

if TYPE_CHECKING:
    from vialign.backbone import Backbone


class BitFit(TunedBackbone):
    """A copy of the backbone with biases of its own. Raises UserError for a backbone without any.

    Trainable parameters: the numbers in the towers' biases. A block of width w whose feed-forward part is 4 w wide has
    11 w (attention 3 w + w, feed-forward 4 w + w, two norms); a vision transformer has 2 w beyond its blocks (the norms
    before and after), a text tower w.
    """

    name = "bitfit"

    def __init__(self, backbone: "Backbone", trunk: bool, negative_weight: float) -> None:
        super().__init__(backbone, negative_weight)
        for name, module in self.model.named_modules():
            if trunk or not f"{name}.".startswith("visual.trunk."):
                own_parameters(module, _biases(module))
        self.settle()
        if not self.trainable():
            raise UserError(f"bitfit: {self.architecture} has no bias; remove bitfit from training.methods")


def _biases(module: nn.Module) -> list[str]:
    """Names of a module's own biases. That of the model's logits is none: scores are cosines."""
    names = [name for name, _ in module.named_parameters(recurse=False)]
    return [name for name in names if name.endswith("bias") and name != "logit_bias"]


def build(config: Config, backbone: "Backbone", seed: int) -> BitFit:
    """The method at its start, which is the frozen backbone; nothing of it is drawn."""
    return BitFit(backbone, config.baselines.bitfit_trunk, config.training.negatives)
