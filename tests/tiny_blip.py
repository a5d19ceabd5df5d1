"""A BLIP at its real architecture, thinner and shallower, in the layout of transformers, and its tokenizer."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import BlipConfig, BlipForImageTextRetrieval

SENTENCES = ["a red circle above a blue square", "two dogs run on the beach", "There is a star!", "circles, squares"]
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2}
TEXT = {"hidden_size": 40, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60}
SMALL = {
    "image_text_hidden_size": 24,
    "vision_config": VISION | {"image_size": 64, "patch_size": 16},
    "text_config": TEXT | {"pad_token_id": 0, "bos_token_id": 2},
}


def own_blip() -> BlipForImageTextRetrieval:
    """The model as transformers has it, with random weights."""
    model = BlipForImageTextRetrieval(BlipConfig.from_dict(copy.deepcopy(SMALL))).eval().requires_grad_(False)
    # biases and norms start at constants that would hide a mistake, and the image tower at almost nothing
    for index, parameter in enumerate(model.parameters()):
        parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
    return model


def write_blip(model: BlipForImageTextRetrieval, folder: Path) -> Path:
    """A model's folder as it is published: config.json, model.safetensors and the tokenizer's two files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SMALL | {"model_type": "blip"}))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    return word_pieces(folder)


def word_pieces(folder: Path) -> Path:
    """A tokenizer of BLIP's kind: BERT's word pieces between [CLS] and [SEP], padded with [PAD]."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=60, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return save_tokenizer(tokenizer, folder, cls_token="[CLS]", pad_token="[PAD]")


def save_tokenizer(tokenizer: Any, folder: Path, **settings: str) -> Path:
    """Write a tokenizer as the hub serves one."""
    tokenizer.save(str(folder / "tokenizer.json"))
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
