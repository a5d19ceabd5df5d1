"""What a backbone's contract says where values of it were published: open_clip's own settings of a tag."""

from collections.abc import Mapping
from typing import Any

import open_clip
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from vialign.backbone.dual_encoder import Preprocessing
from vialign.backbone.registry import definition_digest
from vialign.backbone.tokenizers import make_tokenizer


def published_terms(architecture: str, tag: str | None) -> Mapping[str, str]:
    """Definition, preprocessing and tokenizer of a tag of open_clip, as a contract says them; empty for no such tag.

    Of a tokenizer that would be downloaded only its context and its cleaning are told. Nothing is downloaded.
    """
    settings = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
    definition = open_clip.get_model_config(architecture)
    if not settings or definition is None:
        return {}
    base = merge_preprocess_dict(PreprocessCfg(), {"size": definition["vision_cfg"].get("image_size", 224)})
    preprocessing = Preprocessing.of(merge_preprocess_dict(base, settings), architecture)
    return {
        "definition": definition_digest(definition),
        "preprocessing": str(preprocessing),
        "tokenizer": _tokenizer(architecture, definition["text_cfg"]),
    }


def _tokenizer(architecture: str, text: Mapping[str, Any]) -> str:
    options = text.get("tokenizer_kwargs") or {}
    if text.get("hf_tokenizer_name") is None and "siglip" not in architecture.lower() and not options:
        return make_tokenizer(architecture).description
    clean = options.get("clean", "whitespace")
    return f"context {text.get('context_length', 77)}, clean {clean}"
