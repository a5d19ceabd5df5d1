import gzip
import json

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

from vialign.backbone import create_model, make_tokenizer, model_definition
from vialign.backbone.byte_pairs import merges_digest, read_merges, vocabulary_size
from vialign.errors import UserError

PAIRS = [("r", "e"), ("re", "d</w>"), ("c", "i")]
TEXT = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in PAIRS)


@pytest.mark.parametrize("content", [TEXT, TEXT + "\n", TEXT.split("\n", 1)[1], TEXT.replace("\n", "\r\n")])
@pytest.mark.parametrize("packed", [False, True])
def test_merges_are_read_from_text_or_gzip_with_or_without_header_and_last_newline(tmp_path, content, packed):
    path = tmp_path / "merges"
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert read_merges(path) == PAIRS


def test_a_line_that_is_no_pair_is_named(tmp_path):
    (tmp_path / "merges").write_text(TEXT + "\na b c\n")
    with pytest.raises(UserError, match=r"merges, line 5: expected two symbols .* 'a b c'"):
        read_merges(tmp_path / "merges")


def test_the_tokenizer_is_open_clips_own_on_the_same_merges(define, tmp_path):
    name, path = define("registry-tokens")
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress((tmp_path / "merges.txt").read_bytes().rstrip(b"\n")))
    oracle = SimpleTokenizer(str(packed), context_length=16)
    tokenizer = make_tokenizer(name, path)
    texts = ["a red circle", "blue", "x " * 30]
    assert vocabulary_size(tokenizer) == 512 + 6 + 2 == oracle.vocab_size
    assert torch.equal(tokenizer(texts), oracle(texts))
    assert tokenizer.encode("red") == [513]
    assert merges_digest(tokenizer) == merges_digest(oracle) != merges_digest(make_tokenizer("vialign-scenes"))


def test_a_vocabulary_larger_than_the_token_table_is_refused(define):
    name, path = define("registry-small", text={"vocab_size": 519})
    with pytest.raises(UserError, match=r"vocab_size is 519, but .*merges.txt need 520 rows"):
        make_tokenizer(name, path)


def test_without_merges_the_tokenizer_is_open_clips_default():
    assert vocabulary_size(make_tokenizer("ViT-B-32")) == 49408


def test_an_unknown_architecture_gets_a_hint():
    with pytest.raises(UserError, match=r"no model 'ViT-B-23'; did you mean .*ViT-B-32"):
        model_definition("ViT-B-23")


def test_a_definition_must_exist_carry_the_name_and_be_a_model(define, tmp_path):
    _, path = define("registry-name")
    with pytest.raises(UserError, match="must be named other.json"):
        model_definition("other", path)
    with pytest.raises(UserError, match="absent.json: no such file"):
        model_definition("absent", tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match="broken.json: line 1, column 2: is not JSON"):
        model_definition("broken", tmp_path / "broken.json")
    (tmp_path / "part.json").write_text(json.dumps({"embed_dim": 8, "text_cfg": {}}))
    with pytest.raises(UserError, match="vision_cfg missing"):
        model_definition("part", tmp_path / "part.json")
    name, path = define("registry-typo", text={"widht": 8})
    with pytest.raises(UserError, match="registry-typo.json: not a model that open_clip can build .*widht"):
        create_model(name, path)


def test_weights_depend_on_the_seed_only_and_global_random_state_is_left_alone(define):
    name, path = define("registry-seed")
    before = torch.random.get_rng_state()
    first, again, other = (create_model(name, path, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["visual.conv1.weight"], other["visual.conv1.weight"])
