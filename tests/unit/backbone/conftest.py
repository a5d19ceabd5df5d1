"""Tiny open_clip definitions, written to a folder as a user would."""

import json

import pytest

import vialign.backbone  # noqa: F401  (before the tests import open_clip themselves)

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
