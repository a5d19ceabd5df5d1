"""The files that people hand to a program as weights: each is read, or named for what it is."""

import argparse
import io
import pickle
import tarfile
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from vialign.backbone import create_model, load_backbone
from vialign.backbone.adopting import adopt_model
from vialign.backbone.checkpoint import load_weights, read_state
from vialign.backbone.checkpoint_fits import architectures_of, fitting_architectures
from vialign.config.data import BackboneConfig
from vialign.errors import UserError


def state():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(2, 3, generator=generator) for name in ("a.weight", "b.weight")}


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_state(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and "\x1b" not in message
    assert "weights_only" not in message, "unsafe loading is never offered"
    return message


WRAPPED = {
    "itself": lambda s: s,
    "state_dict": lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"step": torch.zeros(1)}},
    "model": lambda s: {"model": s},
    "nested": lambda s: {"model": {"state_dict": s}},
    "data parallel": lambda s: {f"module.{name}": tensor for name, tensor in s.items()},
    "a field of a program": lambda s: {"state_dict": {f"model.{name}": tensor for name, tensor in s.items()}},
    "compiled data parallel": lambda s: {f"module._orig_mod.{name}": tensor for name, tensor in s.items()},
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("form", WRAPPED)
def test_a_state_dict_is_found_where_training_programs_keep_it(tmp_path, form, legacy):
    torch.save(WRAPPED[form](state()), tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    found = read_state(tmp_path / "w.pt")
    assert list(found) == list(state()) and all(torch.equal(found[name], state()[name]) for name in found)


def test_the_names_of_data_parallel_training_are_taken_from_safetensors_too(tmp_path):
    save_file(WRAPPED["data parallel"](state()), tmp_path / "w.safetensors")
    assert list(read_state(tmp_path / "w.safetensors")) == list(state())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_taken(tmp_path, kind):
    torch.save({name: tensor.to(kind) for name, tensor in state().items()}, tmp_path / "w.pt")
    assert read_state(tmp_path / "w.pt")["a.weight"].dtype == kind


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"args": argparse.Namespace(lr=1), "state_dict": {}}, "Python objects (argparse.Namespace)"),
        (torch.nn.Linear(2, 2), "Python objects (torch.nn.modules.linear.Linear)"),
        ({1: torch.zeros(1)}, "its key '1' is no name"),
        ({"a": 1.5}, "its key 'a' holds float, no tensor"),
        ([torch.zeros(1)], "holds no state_dict"),
        ({}, "holds no state_dict"),
        ({"base_model.model.x.lora_A.weight": torch.zeros(2, 2)}, "is an adapter"),
        ({"a.weight": torch.zeros(2, 2, dtype=torch.int8)}, "is quantised (tensor a.weight has int8)"),
        ({"a.weight": torch.zeros(4, 1), "a.SCB": torch.zeros(4)}, "is quantised (tensor a.SCB"),
        ({"a.weight": torch.tensor([[1.0, float("nan")]])}, "tensor a.weight has 1 of 2 numbers that are nan"),
        ({"a.weight": torch.full((3,), float("inf"), dtype=torch.float16)}, "3 of 3 numbers"),
        ({"a.weight": torch.eye(2).to_sparse()}, "tensor a.weight is sparse"),
        ({"a.weight": torch.zeros(2, dtype=torch.complex64)}, "tensor a.weight has complex numbers"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore")
def test_a_file_without_plain_weights_is_named(tmp_path, content, words):
    torch.save(content, tmp_path / "w.pt")
    assert words in refusal(tmp_path / "w.pt")


def archive(path, **files):
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), text)


def tar(path):
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("weights.bin"), io.BytesIO())


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull"),
        (lambda path: path.write_text("<!DOCTYPE html><html>Not found"), "is a web page"),
        (lambda path: path.write_text('{"error":"Invalid username or password."}'), "is text that begins '{\"error"),
        (lambda path: path.write_text("Entry not found"), "is text that begins 'Entry not found'"),
        (lambda path: path.write_text('{"weight_map": {"a": "b"}}'), "is the list of the parts of a checkpoint"),
        (tar, "is a tar archive"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0"), "gzip"),
        (lambda path: path.write_bytes(b"GGUF\3\0\0\0"), "GGUF"),
        (lambda path: path.write_bytes(b"PK\3\4 and no end"), "without its end"),
        (lambda path: archive(path, config_json="{}"), "is a zip archive (config_json)"),
        (lambda path: archive(path, m__constants_pkl="", m__data_pkl=""), "TorchScript archive"),
    ],
    ids=["empty", "lfs", "html", "json", "text", "index", "tar", "gzip", "gguf", "half zip", "zip", "torchscript"],
)
def test_another_file_under_the_name_of_a_checkpoint_is_recognised(tmp_path, write, words, suffix):
    path = tmp_path / f"w{suffix}"
    write(path)
    assert words in refusal(path)


def test_a_renamed_file_and_a_part_of_several_are_recognised(tmp_path):
    save_file(state(), tmp_path / "w.pt")
    assert "rename it to end in .safetensors" in refusal(tmp_path / "w.pt")
    torch.save(state(), tmp_path / "w.safetensors")
    assert "rename it to end in .pt" in refusal(tmp_path / "w.safetensors")
    save_file(state(), tmp_path / "model-00002-of-00003.safetensors")
    assert "is part 2 of 3" in refusal(tmp_path / "model-00002-of-00003.safetensors")


def test_no_weights_at_all_and_words_of_torch_are_not_handed_on(tmp_path):
    save_file({}, tmp_path / "w.safetensors")
    assert "holds no tensor" in refusal(tmp_path / "w.safetensors")
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    said = refusal(tmp_path / "w.pt")
    assert "PyTorch" not in said and "(Unsupported operand 149)" in said


@pytest.mark.parametrize("legacy", [True, False])
def test_a_file_of_torch_cut_anywhere_is_one_line(tmp_path, legacy):
    whole, cut = tmp_path / "w.pt", tmp_path / "cut.pt"
    torch.save(state(), whole, _use_new_zipfile_serialization=not legacy)
    data = whole.read_bytes()
    for length in range(0, len(data), 1 if legacy else 17):
        cut.write_bytes(data[:length])
        assert "again" in refusal(cut)


def test_a_model_of_transformers_is_named_not_called_the_wrong_architecture(tmp_path, define):
    model = create_model(*define("kinds-clip"))
    names = ("logit_scale", "text_model.embeddings.token_embedding.weight", "vision_model.post_layernorm.bias")
    torch.save({name: torch.zeros(2) for name in names}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="a model of the transformers library .*CLIPModel") as caught:
        load_weights(model, tmp_path / "pytorch_model.bin", "kinds-clip")
    assert "backbone.architecture" not in str(caught.value)


@pytest.mark.parametrize("kind", [torch.int32, torch.bool])
def test_whole_numbers_in_the_place_of_fractions_are_refused(tmp_path, kind):
    save_file({"weight": torch.ones(2, 2, dtype=kind), "bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=f"tensor weight has {str(kind)[6:]} in the file and float32 in the model"):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors", "linear")


@pytest.mark.parametrize("name", ["W.SAFETENSORS", "last.ckpt", "weights"])
def test_a_file_is_taken_for_what_it_holds_whatever_its_ending(tmp_path, define, name):
    model = create_model(*define("kinds-named"))
    path = tmp_path / name
    save = save_file if name.endswith("SAFETENSORS") else torch.save
    save(model.state_dict(), path)
    found = load_backbone(
        BackboneConfig(architecture="kinds-named", definition=str(define("kinds-named")[1]), checkpoint=str(path))
    )
    assert torch.equal(found.model.state_dict()["ln_final.bias"], model.state_dict()["ln_final.bias"])


def test_a_folder_of_weights_is_named(tmp_path, define):
    with pytest.raises(UserError, match="is a folder; name the file of weights in it"):
        load_backbone(
            BackboneConfig(architecture="kinds-clip", definition=str(define("kinds-clip")[1]), checkpoint=str(tmp_path))
        )


def zeros(**shapes):
    """Tensors of any size whose files are small."""
    return {name.replace("__", "."): torch.zeros(1).expand(shape) for name, shape in shapes.items()}


def vision_transformer(depth=12, width=768, patch=32, side=7):
    text = {f"transformer__resblocks__{place}__ln_1__bias": (512,) for place in range(12)}
    blocks = {f"visual__transformer__resblocks__{place}__ln_1__bias": (width,) for place in range(depth)}
    return zeros(
        positional_embedding=(77, 512),
        text_projection=(512, 512),
        token_embedding__weight=(49408, 512),
        visual__conv1__weight=(width, 3, patch, patch),
        visual__positional_embedding=(side**2 + 1, width),
        **text,
        **blocks,
    )


def residual_network(depths=(3, 4, 6, 3)):
    text = {f"transformer__resblocks__{place}__ln_1__bias": (512,) for place in range(12)}
    stages = {
        f"visual__layer{stage}__{place}__conv1__weight": (64 * 2**stage // 2, 64, 1, 1)
        for stage, depth in enumerate(depths, start=1)
        for place in range(depth)
    }
    return zeros(
        positional_embedding=(77, 512),
        text_projection=(512, 1024),
        token_embedding__weight=(49408, 512),
        visual__conv1__weight=(32, 3, 3, 3),
        **text,
        **stages,
    )


def test_the_architectures_of_a_size_are_found_and_no_others():
    assert fitting_architectures(vision_transformer())[:2] == ["ViT-B-32", "ViT-B-32-quickgelu"]
    assert "ViT-B-16" in fitting_architectures(vision_transformer(patch=16, side=14), most=9)
    assert fitting_architectures(vision_transformer(depth=11)) == []
    assert fitting_architectures(residual_network())[0] == "RN50"
    assert fitting_architectures({"x": torch.zeros(1)}) == []
    named = {f"text.{k}" if not k.startswith("visual.") else k: v for k, v in vision_transformer().items()}
    assert fitting_architectures(named)[0] == "ViT-B-32"


OWN = ("ViT-B-32", "ViT-B-32-quickgelu", "ViT-S-16-alt", "RN50", "RN50-quickgelu", "coca_ViT-B-32", "ViT-L-14-CLIPA")
TRUNKS = ("convnext_base", "EVA02-B-16", "ViT-B-16-SigLIP", "ViT-B-16-SigLIP2", "ViT-SO400M-16-SigLIP-i18n-256")
"""Models whose image tower is of timm."""


@pytest.mark.parametrize("name", (*OWN, *TRUNKS))
def test_a_model_in_memory_is_known_by_its_sizes(name):
    with torch.device("meta"):  # sizes without numbers
        model = create_model(name, device="meta")
    assert architectures_of(model) == [name]


def test_models_that_nothing_tells_apart_are_all_named():
    with torch.device("meta"):
        model = create_model("MobileCLIP-B", device="meta")
    assert architectures_of(model) == ["MobileCLIP-B", "MobileCLIP2-B"]
    with pytest.raises(UserError, match=r"several models have its sizes \(MobileCLIP-B, MobileCLIP2-B\); say which"):
        adopt_model(model)
    assert architectures_of(torch.nn.Linear(2, 2)) == []


def test_a_wrong_shape_names_both_shapes_and_what_would_fit(tmp_path, define):
    torch.save(vision_transformer(), tmp_path / "w.pt")
    other = create_model(*define("kinds-other"))
    with pytest.raises(UserError, match=r"has shape \[77, 512\] in the file and \[16, 32\] in the model") as caught:
        load_weights(other, tmp_path / "w.pt", "kinds-other")
    assert "such as ViT-B-32 or ViT-B-32-quickgelu" in str(caught.value)
