"""LoRA on CoCa, whose tower pools by attention and whose model also decodes captions, and on BLIP."""

import copy
import json

import open_clip
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tolerance import close, transformer
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.methods.baselines.lora import Lora


@pytest.fixture(params=["coca", "blip"])
def backbone(request, tmp_path):
    if request.param == "coca":
        return load_backbone(BackboneConfig(architecture="lora-coca", definition=coca(tmp_path), checkpoint=None))
    return load_backbone(BackboneConfig(architecture="blip", definition=blip(tmp_path), checkpoint=None))


def coca(folder):
    settings = copy.deepcopy(open_clip.get_model_config("coca_ViT-B-32"))
    thin = {"width": 32, "heads": 2, "layers": 2}
    settings["vision_cfg"] |= {"image_size": 64, "layers": 2, "width": 48, "head_width": 16}
    settings["embed_dim"] = 48  # the pooler's width is the tower's: nothing but its kind tells it from self-attention
    settings["text_cfg"] |= thin
    settings["multimodal_cfg"] |= thin
    path = folder / "lora-coca.json"
    path.write_text(json.dumps(settings))
    return str(path)


def blip(folder):
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"hidden_size": 40, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    settings = {"model_type": "blip", "image_text_hidden_size": 24, "vision_config": vision, "text_config": text}
    vision |= {"image_size": 64, "patch_size": 16}
    text |= {"vocab_size": 9, "pad_token_id": 0, "bos_token_id": 2}
    (folder / "config.json").write_text(json.dumps(settings))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "circle", "star", "dogs"]
    words = {name: number for number, name in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(pad_id=0)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def test_every_adapter_gets_a_gradient_and_the_start_is_the_frozen_backbone(backbone):
    method = Lora(backbone, 2, 1.0, 0)
    pixels = torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images = method.backbone.encode_image(backbone.normalise(pixels))
    torch.testing.assert_close(
        images,
        backbone.encode_image(backbone.normalise(pixels)),
        atol=close(torch.float32, transformer(width=48, layers=4)),
        rtol=0,
    )
    with torch.no_grad():  # the end of an adapter starts at zero and would pass no gradient to its beginning
        for parameter in method.trainable().values():
            parameter += 0.1
    texts = method.encode_text(backbone.tokenize(["a red circle", "a star", "dogs"]).ids)
    (method.backbone.encode_image(backbone.normalise(pixels))[:, 0] * texts[:, 1]).sum().backward()
    linears = {"lora-coca": 2 + 2, "blip": 2 + 3}[backbone.contract["architecture"]]  # of an image and a text block
    assert len(method.trainable()) == 2 * linears * 2  # blocks, layers, beginning and end of each
    assert all(parameter.grad.abs().sum() > 0 for parameter in method.trainable().values())
