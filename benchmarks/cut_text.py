"""Text features on ids cut to the longest caption, against open_clip's own `encode_text` on the whole context.

    python benchmarks/cut_text.py

Both run in turns in one process, ViT-B/32 with random weights, the same 64 captions; prints the ratio with its interval
and the largest difference between the embeddings.
"""

import numpy as np
import torch

from vialign.backbone import load_backbone
from vialign.budget import overhead, time_rounds
from vialign.config.data import BackboneConfig
from vialign.data.scenes.captions import scene_captions, tree_text
from vialign.data.scenes.world import sample_scenes


def main() -> None:
    rng = np.random.default_rng(0)
    captions = [tree_text(scene_captions(rng, scene)[0]) for scene, _ in sample_scenes(rng, 64)]
    backbone = load_backbone(BackboneConfig(architecture="ViT-B-32", checkpoint=None))
    whole, cut = backbone.tokenizer(captions), backbone.tokenize(captions).ids

    def full_context() -> torch.Tensor:
        return backbone.model.encode_text(whole, normalize=True)

    def cut_ids() -> torch.Tensor:
        return backbone.encode_text(cut)

    with torch.inference_mode():
        difference = float((full_context() - cut_ids()).abs().max())
        times = time_rounds({"reference": cut_ids, "method": full_context}, rounds=10, seed=0)
        beyond = overhead(times.cpu, "method", seed=0)
    print(f"{whole.shape[1]} positions against {cut.shape[1]}: largest difference {difference:.1e}")
    print(f"open_clip / vialign = {1 + beyond.value:.2f} [{1 + beyond.low:.2f}, {1 + beyond.high:.2f}]")


if __name__ == "__main__":
    main()
