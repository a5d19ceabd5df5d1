import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from vialign.backbone import make_tokenizer
from vialign.backbone.offsets import align, encode_with_offsets

DEMO = make_tokenizer("vialign-scenes")
OPENAI = SimpleTokenizer()
PLAIN = st.text(string.ascii_letters + string.digits + " .,;:!?'\"-\t\n", max_size=80)


@given(PLAIN, st.sampled_from([DEMO, OPENAI]))
def test_on_plain_ascii_every_span_reads_as_its_token(text, tokenizer):
    ids, spans = encode_with_offsets(tokenizer, text)
    assert ids == tokenizer.encode(text)
    for token, (start, end) in zip(ids, spans, strict=True):
        assert text[start:end].lower() == tokenizer.decoder[token].removesuffix("</w>")


@given(st.text(max_size=60) | st.text("&amp;#39 <>é\u0130ßﬁÃ©â€™\u200b\u00ad😀中文", max_size=40))
def test_on_any_text_ids_are_open_clips_and_spans_are_monotone_and_inside(text):
    ids, spans = encode_with_offsets(DEMO, text)
    assert ids == DEMO.encode(text)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    assert starts == sorted(starts)
    assert ends == sorted(ends)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  A   RED\tcircle ", ["A", "RED", "circle"]),
        ("a dog &amp; a cat", ["a", "dog", "&", "a", "cat"]),
        ("the caf\u00c3\u00a9 at noon", ["the", "caf\u00c3\u00a9", "at", "noon"]),
        ("a \u0130stanbul street", ["a", "\u0130", "\u0130", "stanbul", "street"]),
        ("it\u2019s blue", ["it", "\u2019s", "blue"]),
    ],
)
def test_words_that_cleaning_changes_are_still_found(text, words):
    ids, spans = encode_with_offsets(DEMO, text)
    found, start = [], None
    for token, (first, last) in zip(ids, spans, strict=True):
        start = first if start is None else start
        if DEMO.decoder[token].endswith("</w>"):
            found.append(text[start:last])
            start = None
    assert found == words


def test_a_lone_surrogate_and_the_empty_text_do_not_crash():
    encode_with_offsets(DEMO, "a \ud800 b")
    assert encode_with_offsets(DEMO, "") == ([], [])


def test_alignment_marks_what_cleaning_put_in_as_empty():
    assert align("axb", "ab") == [(0, 1), (1, 1), (1, 2)]
