"""An open_clip dual encoder behind the `Backbone` protocol."""

from collections.abc import Mapping

import open_clip
from open_clip.coca_model import CoCa
from torch import nn

from vialign.backbone.dual_encoder import DualEncoder, Preprocessing
from vialign.backbone.image_towers import image_tower
from vialign.backbone.text_tower import text_tower
from vialign.backbone.tokenizers import TextTokenizer


def lacks_decoder(model: nn.Module) -> bool:
    """Whether CoCa's decoder of captions was left out, so that its weights are not those of a whole checkpoint."""
    return isinstance(getattr(model, "text_decoder", None), nn.Identity)


class OpenClipBackbone(DualEncoder):
    """A frozen open_clip model of any family whose towers give patch and token embeddings.

    What no dual encoder runs is left out: CoCa's decoder of captions is dropped from `model`, and SigLIP's bias of the
    logits is not read, because a contrastive loss and a ranking are the same with and without it. Raises UserError when
    a tower is of a kind that gives no patch or token embeddings.
    """

    def __init__(self, model: nn.Module, tokenizer: TextTokenizer, contract: Mapping[str, str]) -> None:
        architecture = contract["architecture"]
        if isinstance(model, CoCa):
            model.text_decoder = nn.Identity()
        super().__init__(
            model,
            image_tower(model.get_submodule("visual"), architecture),
            text_tower(model, architecture),
            tokenizer,
            Preprocessing.of(open_clip.get_model_preprocess_cfg(model), architecture),
            float(model.get_parameter("logit_scale").detach().exp()),
            contract,
        )
