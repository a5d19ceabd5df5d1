import copy
import os
import warnings

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import save_file

from tolerance import close, transformer
from vialign.backbone import Backbone, create_model, load_backbone
from vialign.config.data import BackboneConfig
from vialign.errors import UserError
from vialign.files.artifacts import write_tensors

TOWER = close(torch.float32, transformer(width=32, layers=4))
"""Two ways through the towers of these tests."""


def save(model, path, **metadata):
    save_file({name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}, path, metadata)
    return str(path)


def config(define, name, checkpoint, **settings):
    name, path = define(name, **settings)
    return BackboneConfig(architecture=name, definition=str(path), checkpoint=checkpoint)


def test_random_weights_are_named_by_their_seed_and_frozen(define):
    backbone = load_backbone(config(define, "load-random", None), seed=7)
    assert isinstance(backbone, Backbone)
    assert backbone.contract["checkpoint"] == "random:7"
    assert backbone.contract["activation"] == "gelu"
    assert backbone.contract["tokenizer"].startswith("SimpleTokenizer, 520 tokens, context 16, merges ")
    assert (backbone.dimension, backbone.grid, backbone.context_length, backbone.image_size) == (24, (4, 4), 16, 32)
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())
    assert backbone.logit_scale == pytest.approx(1 / 0.07, rel=close(torch.float32, 16))
    assert all(isinstance(value, str) for value in backbone.contract.values())


@pytest.mark.parametrize("form", ["safetensors", "pt", "training"])
def test_a_local_file_gives_back_its_weights(define, tmp_path, form):
    name, path = define("load-local")
    model = create_model(name, path, seed=11)
    file = str(tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pt"))
    if form == "safetensors":
        save(model, file)
    elif form == "pt":
        torch.save(model.state_dict(), file)
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, file)
    backbone = load_backbone(BackboneConfig(architecture=name, definition=str(path), checkpoint=file))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in backbone.model.state_dict().items())
    assert len(backbone.contract["checkpoint"]) == 64


def test_old_checkpoints_fit_models_with_a_separate_text_tower(define, tmp_path):
    file = save(create_model(*define("load-old"), seed=3), tmp_path / "old.safetensors")
    backbone = load_backbone(config(define, "load-custom", file, custom_text=True))
    ids = backbone.tokenize(["a red circle"]).ids
    plain = load_backbone(config(define, "load-old", file))
    torch.testing.assert_close(backbone.encode_text(ids), plain.encode_text(ids))


def test_a_checkpoint_of_another_model_is_refused_in_one_line(define, tmp_path):
    name, path = define("load-wrong")
    state = create_model(name, path).state_dict()
    wide = config(define, "load-wide", save(create_model(name, path), tmp_path / "a.safetensors"), embed_dim=32)
    with pytest.raises(UserError) as error:
        load_backbone(wide)
    message = str(error.value)
    assert "\n" not in message
    assert (
        "a.safetensors: not a checkpoint of load-wide: tensor text_projection has shape [32, 24] in the file" in message
    )
    assert "[32, 32] in the model" in message
    narrow = BackboneConfig(
        architecture=name, definition=str(define("load-wrong")[1]), checkpoint=str(tmp_path / "b.pt")
    )
    torch.save({key: value for key, value in state.items() if key != "visual.proj"}, tmp_path / "b.pt")
    with pytest.raises(UserError, match=r"tensor visual.proj is missing from the file, the model has it with shape"):
        load_backbone(narrow)
    torch.save({**state, "extra": torch.zeros(2)}, tmp_path / "b.pt")
    with pytest.raises(UserError, match=r"tensor extra has shape \[2\] in the file and is not in the model"):
        load_backbone(narrow)


class Evil:
    def __reduce__(self):
        return os.getcwd, ()


def test_files_that_could_run_code_or_are_damaged_are_refused(define, tmp_path):
    pickled, script, damaged = tmp_path / "evil.pt", tmp_path / "script.pt", tmp_path / "damaged.safetensors"
    torch.save({"state_dict": Evil()}, pickled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(script))
    damaged.write_bytes(b"not tensors")
    empty = tmp_path / "empty.pth"
    torch.save([1, 2], empty)
    for file, words in [
        (pickled, "not a checkpoint of plain tensors"),
        (script, "TorchScript archive"),
        (damaged, "not a safetensors file"),
        (empty, "holds no state_dict"),
        (tmp_path / "absent.safetensors", "no such file"),
    ]:
        with pytest.raises(UserError, match=words) as error:
            load_backbone(config(define, "load-unsafe", str(file)))
        assert file.name in str(error.value)
        assert "\n" not in str(error.value)


def test_package_is_for_the_demo_and_unknown_names_list_the_tags(define):
    with pytest.raises(UserError, match="`package` holds the weights of vialign-scenes, not of load-package"):
        load_backbone(config(define, "load-package", "package"))
    with pytest.raises(
        UserError, match="neither a file .* nor a tag that open_clip has for ViT-B-32 .*laion2b_s34b_b79k"
    ):
        load_backbone(BackboneConfig(architecture="ViT-B-32", checkpoint="laion3b"))


def test_openai_weights_need_quickgelu_by_tag_by_name_and_by_provenance(define, tmp_path, monkeypatch):
    def no_download(_):
        raise AssertionError("refused only after a download")

    monkeypatch.setattr(open_clip, "download_pretrained", no_download)
    both = "the weights openai were trained with quick_gelu, but architecture ViT-B-32 has gelu; use ViT-B-32-quickgelu"
    with pytest.raises(UserError, match=both):
        load_backbone(BackboneConfig(architecture="ViT-B-32", checkpoint="openai"))
    name, path = define("load-plain")
    model = create_model(name, path)
    for file in (tmp_path / "vit_openai.safetensors", tmp_path / "models--timm--vit_clip.openai" / "model.safetensors"):
        file.parent.mkdir(exist_ok=True)
        save(model, file)
        with pytest.raises(UserError, match="trained with quick_gelu, but architecture load-plain has gelu"):
            load_backbone(BackboneConfig(architecture=name, definition=str(path), checkpoint=str(file)))
    quick, quick_path = define("load-quick", quick_gelu=True)
    backbone = load_backbone(BackboneConfig(architecture=quick, definition=str(quick_path), checkpoint=str(file)))
    assert backbone.contract["activation"] == "quick_gelu"
    assert sum(isinstance(module, QuickGELU) for module in backbone.model.modules()) == 6
    own = tmp_path / "own.safetensors"
    write_tensors(model.state_dict(), own, {"activation": "gelu"})
    with pytest.raises(UserError, match="trained with gelu, but architecture load-quick has quick_gelu"):
        load_backbone(BackboneConfig(architecture=quick, definition=str(quick_path), checkpoint=str(own)))


def test_without_network_a_tag_is_one_readable_line(monkeypatch):
    def offline(_):
        raise OSError("Failed to resolve 'huggingface.co'\nthree more lines")

    monkeypatch.setattr(open_clip, "download_pretrained", offline)
    with pytest.raises(UserError, match="'laion2b_s34b_b79k' of ViT-B-32 could not be downloaded") as error:
        load_backbone(BackboneConfig(architecture="ViT-B-32", checkpoint="laion2b_s34b_b79k"))
    assert "\n" not in str(error.value)


def test_a_tag_brings_its_weights_and_its_preprocessing(define, tmp_path, monkeypatch):
    name, path = define("load-tag")
    file = save(create_model(name, path, seed=2), tmp_path / "tag.safetensors")
    tag = {"hf_hub": "x/", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "resize_mode": "squash"}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, name: tag if name == "mine" else {})
    monkeypatch.setattr(open_clip, "download_pretrained", lambda cfg: file)
    backbone = load_backbone(BackboneConfig(architecture=name, definition=str(path), checkpoint="mine"))
    assert backbone.resize_mode == "squash"
    assert backbone.contract["preprocessing"] == (
        "size 32, bicubic, resize squash, mean (0.5, 0.5, 0.5), std (0.25, 0.25, 0.25)"
    )
    black = backbone.normalise(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    torch.testing.assert_close(black, torch.full((1, 3, 32, 32), -2.0))


def picture(mode="RGB", size=(60, 41)):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_preprocessing_is_open_clips_to_the_last_digit(define, mode):
    backbone = load_backbone(config(define, "load-pixels", None))
    oracle = open_clip.image_transform(32, is_train=False)
    image = picture(mode)
    pixels = backbone.preprocess(image)
    assert pixels.dtype == torch.uint8
    torch.testing.assert_close(
        backbone.normalise(pixels[None])[0], oracle(image), atol=close(torch.float32, 4, scale=4), rtol=0
    )
    as_float = (pixels[None].float() / 255).requires_grad_()
    backbone.normalise(as_float).sum().backward()
    torch.testing.assert_close(as_float.grad[0, :, 0, 0], 1 / torch.tensor(open_clip.OPENAI_DATASET_STD))


def test_image_tokens_and_encode_image_agree_and_an_unknown_readout_is_an_error(define):
    backbone = load_backbone(config(define, "load-image", None))
    pixels = backbone.normalise(torch.stack([backbone.preprocess(picture()), backbone.preprocess(picture("L"))]))
    expected = backbone.model.encode_image(pixels, normalize=True)
    torch.testing.assert_close(backbone.encode_image(pixels), expected, atol=TOWER, rtol=0)
    for readout in backbone.readouts:
        pooled, patches = backbone.image_tokens(pixels, readout)
        torch.testing.assert_close(pooled, expected, atol=TOWER, rtol=0)
        assert patches.shape == (2, 16, 24)
    with pytest.raises(ValueError, match="no readout 'attention'"):
        backbone.image_tokens(pixels, "attention")


def test_a_deep_copy_is_independent(define):
    backbone = load_backbone(config(define, "load-copy", None))
    twin = copy.deepcopy(backbone)
    with torch.no_grad():
        for parameter in twin.model.parameters():
            parameter.zero_()
    ids = backbone.tokenize(["red"]).ids
    assert backbone.encode_text(ids).norm() == pytest.approx(1, abs=close(torch.float32, 24))
    assert twin.encode_text(ids).norm() == 0


@pytest.mark.parametrize("architecture", ["ViT-B-32", "ViT-B-32-quickgelu"])
def test_the_published_size_runs_from_pixels_to_patches(architecture):
    backbone = load_backbone(BackboneConfig(architecture=architecture, checkpoint=None))
    assert sum(parameter.numel() for parameter in backbone.model.parameters()) == 151_277_313
    assert (backbone.grid, backbone.dimension, backbone.context_length) == ((7, 7), 512, 77)
    pixels = backbone.normalise(torch.stack([backbone.preprocess(picture(size=(300, 240)))] * 2))
    allowed = close(torch.float32, transformer(width=768, layers=12))
    with torch.inference_mode():
        pooled, patches, _ = backbone.image_outputs(pixels, backbone.readouts)
        torch.testing.assert_close(pooled, backbone.model.encode_image(pixels, normalize=True), atol=allowed, rtol=0)
        tokens = backbone.tokenize(["a photo of a cat", "a person rides a horse"])
        whole = backbone.model.encode_text(backbone.tokenizer(["a photo of a cat", "a person rides a horse"]), True)
        torch.testing.assert_close(backbone.encode_text(tokens.ids), whole, atol=allowed, rtol=0)
    assert {tuple(value.shape) for value in patches.values()} == {(2, 49, 512)}
    assert tokens.ids.shape == (2, 7)
    assert backbone.contract["activation"] == ("quick_gelu" if "quick" in architecture else "gelu")
