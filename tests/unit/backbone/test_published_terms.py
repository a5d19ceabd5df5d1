"""What a contract says where values were published, against what a backbone of that tag says itself."""

import open_clip
import pytest

from vialign.backbone.dual_encoder import Preprocessing
from vialign.backbone.published import published_terms
from vialign.backbone.registry import create_model, definition_digest, model_definition
from vialign.backbone.tokenizers import make_tokenizer

SMALL = ("RN50", "openai")


def test_a_tag_says_what_the_model_that_open_clip_makes_of_it_says():
    architecture, tag = SMALL
    settings = open_clip.get_pretrained_cfg(architecture, tag)
    model = create_model(architecture, force_preprocess_cfg=settings)
    terms = published_terms(architecture, tag)
    own = Preprocessing.of(open_clip.get_model_preprocess_cfg(model), architecture)
    assert terms["preprocessing"] == str(own) and "0.48145466" in str(own)
    assert terms["tokenizer"] == make_tokenizer(architecture).description
    assert terms["definition"] == definition_digest(model_definition(architecture))


@pytest.mark.parametrize(
    ("architecture", "tag", "words"),
    [
        ("ViT-B-32", "laion2b_s34b_b79k", ("size 224, bicubic, resize shortest", "0.48145466", "context 77")),
        ("ViT-B-16-SigLIP", "webli", ("size 224, bicubic, resize squash", "(0.5, 0.5, 0.5)", "context 64")),
        ("ViT-L-14-336", "openai", ("size 336,", "0.48145466", "context 77")),
    ],
)
def test_tags_differ_in_what_they_were_measured_with(architecture, tag, words):
    said = " ".join(published_terms(architecture, tag).values())
    assert all(word in said for word in words)


def test_what_is_no_tag_says_nothing():
    assert published_terms("ViT-B-32", "my_file.safetensors") == published_terms("ViT-B-32", None) == {}
    assert published_terms("vialign-scenes", "package") == {}
