import hashlib

import numpy as np
import torch

from tolerance import close, transformer
from vialign.backbone import load_backbone
from vialign.backbone.byte_pairs import vocabulary_size
from vialign.backbone.registry import ASSETS, DEMO, PACKAGED
from vialign.config.data import BackboneConfig
from vialign.data.scenes.captions import statement
from vialign.data.scenes.draw import draw_scene
from vialign.data.scenes.sampling import sample_scenes


def test_the_default_config_loads_the_shipped_weights_with_their_own_tokenizer():
    file = ASSETS / f"{DEMO}.safetensors"
    assert file.stat().st_size <= 16 * 2**20
    backbone = load_backbone(BackboneConfig())
    assert backbone.contract["checkpoint"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (backbone.contract["architecture"], backbone.grid, backbone.dimension) == (DEMO, (7, 7), 128)
    assert vocabulary_size(backbone.tokenizer) <= backbone.model.vocab_size
    tokens = backbone.tokenize(["a red circle is above a blue square", "there is a green star"])
    assert int(tokens.mask[1].sum()) == 5  # every word of the world is one token
    whole = backbone.model.encode_text(backbone.tokenizer(["there is a green star"]), normalize=True)
    allowed = close(torch.float32, transformer(width=128, layers=3))
    torch.testing.assert_close(backbone.encode_text(tokens.ids)[1:], whole, atol=allowed, rtol=0)


def test_the_second_backbone_ships_beside_the_first_and_reads_relations_better():
    first, second = (load_backbone(BackboneConfig(checkpoint=name)) for name in PACKAGED)
    file = ASSETS / f"{PACKAGED['package-truthful']}.safetensors"
    assert second.contract["checkpoint"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert {**second.contract, "checkpoint": ""} == {**first.contract, "checkpoint": ""}
    # Swapped roles of drawn scenes: chance is a half, and the first was taught to stay there.
    rng, right = np.random.default_rng(5), np.zeros(2)
    scenes = [scene for scene, _ in sample_scenes(rng, 150, twins=0.0) if scene.main is not None]
    for scene in scenes:
        subject, predicate, other = scene.things[scene.main[0]], scene.main[1], scene.things[scene.main[2]]
        said = [statement(subject, predicate, other), statement(other, predicate, subject)]
        pixels = torch.from_numpy(np.asarray(draw_scene(scene)).transpose(2, 0, 1).copy())[None]
        for place, backbone in enumerate((first, second)):
            with torch.no_grad():
                image = backbone.encode_image(backbone.normalise(pixels))
                scores = backbone.encode_text(backbone.tokenize(said).ids) @ image[0]
            right[place] += float(scores[0] > scores[1])
    assert right[1] > right[0] + 0.04 * len(scenes)
