import json
import shutil

import huggingface_hub
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer

from vialign.backbone.tokenizer_file import FileTokenizer
from vialign.backbone.tokenizers import make_tokenizer, to_tokens
from vialign.errors import UserError

TEXTS = ["A red  circle, above a BLUE square!", "star", "", "circle star " * 20, "Two dogs & a caf\u00e9"]


def whole(tokenizer, texts):
    return to_tokens(tokenizer, texts, tokenizer.context_length).ids


@pytest.mark.parametrize("clean", ["canonicalize", "lower", "whitespace"])
def test_ids_of_unigrams_are_those_of_open_clips_own_wrapper(unigrams, clean):
    tokenizer = FileTokenizer(unigrams, 16, 60, clean)
    assert (tokenizer.start, tokenizer.end, tokenizer.padding) == ((), (1,), 1)
    oracle = HFTokenizer(str(unigrams), context_length=16, clean=clean)
    assert torch.equal(whole(tokenizer, TEXTS), oracle(TEXTS))


@pytest.mark.parametrize("strip", [False, True])
def test_ids_of_word_pieces_are_those_of_open_clips_own_wrapper(words, strip):
    tokenizer = FileTokenizer(words / "tokenizer.json", 16, 60, "whitespace", strip_end=strip)
    assert (tokenizer.start, tokenizer.end, tokenizer.padding) == ((2,), (0 if strip else 3,), 0)
    oracle = HFTokenizer(str(words), context_length=16, strip_sep_token=strip)
    oracle.tokenizer.sep_token = "[SEP]"
    assert torch.equal(whole(tokenizer, TEXTS), oracle(TEXTS))


def test_spans_are_places_in_the_original_text_without_the_space_before(unigrams, words):
    text = "A red  circle, above a BLUE square!"
    for tokenizer in (FileTokenizer(unigrams, 16, 60, "canonicalize"), FileTokenizer(words, 16, 60, None)):
        _, spans = tokenizer.pieces(text)
        assert spans[0] == (0, 1)
        for word in ("red", "circle", "BLUE"):
            start = text.index(word)
            parts = [span for span in spans if span[0] < span[1] and start <= span[0] and span[1] <= start + len(word)]
            assert "".join(text[first:last] for first, last in parts) == word


@given(st.text(max_size=40))
def test_on_any_text_spans_are_monotone_and_inside(unigrams, words, text):
    for tokenizer in (FileTokenizer(unigrams, 16, 60, "canonicalize"), FileTokenizer(words, 16, 60, None)):
        ids, spans = tokenizer.pieces(text)
        assert len(ids) == len(spans)
        assert all(0 <= start <= end <= len(text) for start, end in spans)
        assert [start for start, _ in spans] == sorted(start for start, _ in spans)


def test_mask_covers_the_own_tokens_and_padding_is_kept_only_where_asked(words):
    tokenizer = FileTokenizer(words, 8, 60, None)
    count = len(tokenizer.pieces("star")[0])
    cut, kept = (to_tokens(tokenizer, ["star", ""], padding) for padding in (0, 2))
    assert cut.ids.shape == (2, count + 2)
    assert kept.ids.shape == (2, min(count + 4, 8))
    assert cut.mask[0].tolist() == [False, *[True] * count, False]
    assert cut.ids[1].tolist() == [2, 3, *[0] * count]
    assert not cut.mask[1].any() and not cut.offsets[~cut.mask].any()
    long = to_tokens(tokenizer, ["star " * 30], 0)
    assert long.ids.shape == (1, 8) and long.ids[0, -1] == 3 and long.mask.sum() == 6


def test_a_file_that_does_not_fit_is_one_readable_line(unigrams, tmp_path):
    size = len(json.loads((unigrams / "tokenizer.json").read_text())["model"]["vocab"])
    with pytest.raises(UserError, match=rf"has {size} tokens, but the text tower's table has {size - 1} rows"):
        FileTokenizer(unigrams, 16, size - 1, None)
    FileTokenizer(unigrams, 16, size, None)
    with pytest.raises(UserError, match=r"backbone.tokenizer: .*absent: no such file; name a tokenizer.json"):
        FileTokenizer(tmp_path / "absent", 16, 60, None)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"not a tokenizer.json of the tokenizers library"):
        FileTokenizer(tmp_path, 16, 60, None)
    shutil.copy(unigrams / "tokenizer.json", tmp_path)
    with pytest.raises(UserError, match=r"does not say which token pads a text; put its tokenizer_config.json beside"):
        FileTokenizer(tmp_path, 16, 60, None)
    padded = json.loads((unigrams / "tokenizer.json").read_text())
    padded["padding"] = {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None}
    padded["padding"] |= {"pad_id": 2, "pad_type_id": 0, "pad_token": "<unk>"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(padded))
    found = FileTokenizer(tmp_path, 16, 60, None)
    assert found.padding == 2 and len(found.pieces("star")[0]) < 16


def test_a_local_file_stands_in_for_a_download_and_without_either_the_error_says_both(unigrams, monkeypatch):
    def offline(*_):
        raise OSError("Failed to resolve 'huggingface.co'\nthree more lines")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    local = make_tokenizer("ViT-B-16-SigLIP", file=unigrams)
    assert (local.context_length, local.end) == (64, (1,))
    assert "clean canonicalize" in local.description
    with pytest.raises(UserError) as error:
        make_tokenizer("ViT-B-16-SigLIP")
    message = str(error.value)
    assert "\n" not in message
    assert "needs the tokenizer timm/ViT-B-16-SigLIP, which could not be downloaded" in message
    assert (
        "put its tokenizer.json and tokenizer_config.json into a folder and name that in backbone.tokenizer" in message
    )


def test_a_download_is_read_like_a_local_file(unigrams, monkeypatch):
    asked = []

    def download(repository, name):
        asked.append((repository, name))
        return str(unigrams / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert make_tokenizer("ViT-B-16-SigLIP").description == make_tokenizer("ViT-B-16-SigLIP", file=unigrams).description
    assert asked == [("timm/ViT-B-16-SigLIP", name) for name in ("tokenizer_config.json", "tokenizer.json")]


def test_towers_and_tokenizers_that_cannot_be_had_are_named(unigrams):
    with pytest.raises(
        UserError, match="roberta-ViT-B-32 is the Hugging Face model roberta-base, which vialign cannot"
    ):
        make_tokenizer("roberta-ViT-B-32")
    with pytest.raises(UserError, match=r"backbone.tokenizer: ViT-B-32 uses open_clip's byte pairs; leave it out"):
        make_tokenizer("ViT-B-32", file=unigrams)
