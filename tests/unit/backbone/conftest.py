"""Tiny open_clip definitions, written to a folder as a user would."""

import json

import pytest

import vialign.backbone  # noqa: F401  (before the tests import open_clip themselves)
from tiny_blip import SENTENCES, save_tokenizer, word_pieces

MERGES = "#version: 0.2\nr e\nre d</w>\nc i\nb l\nbl u\nblu e</w>\n"
VISION = {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 16, "vocab_size": 520, "width": 32, "heads": 2, "layers": 2}


@pytest.fixture
def define(tmp_path):
    """Write `<name>.json` with a merges file beside it, and return (name, path); `settings` go over the defaults."""

    def write(name, vision=None, text=None, **settings):
        (tmp_path / "merges.txt").write_text(MERGES, encoding="utf-8")
        definition = {
            "embed_dim": 24,
            "vision_cfg": VISION if vision is None else vision,
            "text_cfg": TEXT | {"tokenizer_kwargs": {"bpe_path": "merges.txt"}} | (text or {}),
            **settings,
        }
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(definition), encoding="utf-8")
        return name, path

    return write


@pytest.fixture(scope="session")
def unigrams(tmp_path_factory):
    """A folder with a tokenizer of SigLIP's kind: sentencepiece unigrams, an end token that pads, no start token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator([sentence.lower() for sentence in SENTENCES], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return save_tokenizer(tokenizer, tmp_path_factory.mktemp("unigrams"), eos_token="</s>", pad_token="</s>")


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """A folder with a tokenizer of BLIP's kind: BERT's word pieces between [CLS] and [SEP], padded with [PAD]."""
    return word_pieces(tmp_path_factory.mktemp("words"))
