"""A trained method inside the weights of an open_clip model, where that is exact, for any program that loads one."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vialign.aligner.sides import image_data, side_of, text_data
from vialign.backbone import OpenClipBackbone
from vialign.backbone.byte_pairs import BytePairTokenizer
from vialign.backbone.openclip import lacks_decoder
from vialign.backbone.registry import BLIP
from vialign.backbone.tokenizer_file import FileTokenizer
from vialign.errors import UserError
from vialign.files.artifacts import write_tensors, write_text
from vialign.methods.baselines.frozen import Frozen
from vialign.methods.baselines.labclip import LinearAlignment
from vialign.methods.baselines.tuned import TunedBackbone
from vialign.methods.curriculum.head import LowRankResidual
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.objective import Objective
from vialign.random import generator

if TYPE_CHECKING:
    from vialign.backbone import Backbone

TOLERANCE = 1e-5
"""Largest difference of a score that counts as rounding."""
FOLDED = "open_clip"
"""Folder of a folded checkpoint in an exported folder; open_clip loads it as `local-dir:FOLDER`."""
MERGES = "merges.txt.gz"
"""Byte-pair merges of a model's own, in the folder of a folded checkpoint."""
_CHECKED = 8
"""Random pictures, and as many random texts, on which a fold is checked."""
_IMAGE_ENDS, _TEXT_ENDS = ("proj", "head.proj", "head.mlp.fc2"), ("text_projection",)
"""The last linear map of a tower, by what open_clip's kinds of towers call it."""
_REASONS = {
    "adapter": "its bottlenecks have a nonlinearity between their layers, which no weight of the model can hold",
    "clip-adapter": "its bottleneck behind each tower has a nonlinearity, which no projection can hold",
    "prompt": "its learned tokens are put into every block, and open_clip's model has no place for them",
    "coop": "its context vectors stand in front of every caption, and open_clip's model has no place for them",
    "crops": "it scores parts of an image with pieces of a caption, not one embedding with another",
    "filip": "it scores single patches with single words, not one embedding with another",
    "vinvl": "it reads regions of a detector",
    "vinvl-pairs": "it reads regions of a detector",
    "lora-grounding": "a caption's embedding also reads its single words, as the frozen text tower has them",
    "uniter": "it reads regions of a detector, and every pair of image and caption together",
}


def fold(method: Objective, backbone: "Backbone") -> nn.Module:
    """An open_clip model whose cosines are the method's scores; the backbone and the method stay as they are.

    LoRA and BitFit change weights; LABCLIP and the plain head of the curriculum are one more matrix behind a
    projection, since a unit vector's length is taken last. Raises UserError with the reason where a method is not such
    a change, or where on random pictures and texts some score differs by more than `TOLERANCE`.
    """
    if backbone.contract["architecture"] == BLIP:
        raise UserError(f"fold {method.name}: BLIP is no model of open_clip; export it without --fold")
    if isinstance(method, Frozen):
        model = copy.deepcopy(backbone.model)
    elif isinstance(method, TunedBackbone):
        model = _merged(method, backbone)
    elif isinstance(method, LinearAlignment):
        model = copy.deepcopy(backbone.model)
        _multiply(_text_tower(model), _TEXT_ENDS, method.map.T, method)
    elif isinstance(method, CurriculumMethod):
        model = _with_heads(method, backbone)
    else:
        raise _not_exact(method)
    _check(method, backbone, model)
    return model.eval().requires_grad_(False)


def write_folded(model: nn.Module, backbone: "Backbone", settings: Mapping[str, Any], folder: Path) -> None:
    """Write a folded model as open_clip's own kind of folder: its config, weights and tokenizer, and how to open it.

    Raises UserError for a CoCa, of which open_clip would miss the decoder of captions.
    """
    import open_clip

    if lacks_decoder(model):
        raise UserError(
            f"fold: {backbone.contract['architecture']}: its decoder of captions is not kept in memory, and open_clip "
            "loads no checkpoint without it; export it without --fold"
        )
    assert isinstance(backbone, OpenClipBackbone)
    folder.mkdir(parents=True)
    text = {**settings["text_cfg"], **_write_tokenizer(backbone, settings["text_cfg"], folder)}
    preprocessing = {name: value for name, value in open_clip.get_model_preprocess_cfg(model).items()}
    config = {"model_cfg": {**settings, "text_cfg": text}, "preprocess_cfg": preprocessing}
    write_text(json.dumps(config, indent=1, default=list) + "\n", folder / "open_clip_config.json")
    header = {"activation": backbone.contract["activation"]}
    write_tensors(model.state_dict(), folder / "open_clip_model.safetensors", header)
    write_text(_how_to_open((folder / MERGES).is_file()), folder / "README.md")


def _write_tokenizer(backbone: OpenClipBackbone, text: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Put the tokenizer into the folder, where it is not open_clip's own; what `text_cfg` then says of it.

    Without the name of the merges open_clip would take its own, which give other tokens, so that name stands there: who
    leaves the place of the file out of the call is told that there is no such file.
    """
    tokenizer = backbone.tokenizer
    if isinstance(tokenizer, FileTokenizer):
        tokenizer.copy_to(folder)
        return {"hf_tokenizer_name": text.get("hf_tokenizer_name") or backbone.contract["architecture"]}
    if not isinstance(tokenizer, BytePairTokenizer) or tokenizer.merges is None:
        return {}
    (folder / MERGES).write_bytes(tokenizer.merges)
    return {"tokenizer_kwargs": {**(text.get("tokenizer_kwargs") or {}), "bpe_path": MERGES}}


def _how_to_open(merges: bool) -> str:
    """`README.md` of the folder of a folded checkpoint."""
    named = f', bpe_path=f"{{folder}}/{MERGES}"' if merges else ""
    lines = [
        "# A trained method inside the weights of an open_clip model",
        "Written by `vialign export ... --fold`. The cosines of this model are the scores of the method in the folder "
        "above, whose card says what it is. Any program that loads open_clip reads it:",
        "```python\nimport open_clip\n",
        f'folder = "exported/{FOLDED}"',
        'model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")',
        f'tokenizer = open_clip.get_tokenizer(f"local-dir:{{folder}}"{named})\n```',
    ]
    if merges:
        lines.append(
            f"The model has byte-pair merges of its own, in `{MERGES}`. open_clip looks for them where it is run, so "
            "the call says where they are."
        )
    return "\n".join(lines) + "\n"


def _not_exact(method: Objective) -> UserError:
    reason = _REASONS.get(method.name, "its change is not one of the backbone's own weights")
    return UserError(f"fold {method.name}: not exact: {reason}; export it without --fold")


def _merged(method: TunedBackbone, backbone: "Backbone") -> nn.Module:
    """The method's copy of the backbone, where its tensors are those of the backbone by name and shape."""
    if method.name in _REASONS:
        raise _not_exact(method)
    merged = method.merged()
    assert isinstance(merged, TunedBackbone)
    state, wanted = merged.model.state_dict(), backbone.model.state_dict()
    if {name: tensor.shape for name, tensor in state.items()} != {n: t.shape for n, t in wanted.items()}:
        raise _not_exact(method)
    model = copy.deepcopy(backbone.model)
    model.load_state_dict(state)
    return model


def _with_heads(method: CurriculumMethod, backbone: "Backbone") -> nn.Module:
    """The backbone with each head in the projection before it: norm(x̂ (I + D U)) = norm(x (I + D U))."""
    if method.correct is not None:
        raise UserError(
            f"fold {method.name}: not exact: the correction changes an image's embedding by the caption that it is "
            "scored with, so no single embedding holds it; export it without --fold"
        )
    if method.grounding is not None:
        raise UserError(
            f"fold {method.name}: not exact: a caption's embedding also reads its single words "
            "(curriculum.grounding); export it without --fold"
        )
    model = copy.deepcopy(backbone.model)
    _multiply(model.get_submodule("visual"), _IMAGE_ENDS, _change(method.head.image), method)
    _multiply(_text_tower(model), _TEXT_ENDS, _change(method.head.text), method)
    return model


def _text_tower(model: nn.Module) -> nn.Module:
    """Where the text tower's projection is."""
    return model if hasattr(model, "text_projection") else model.get_submodule("text")


def _change(head: LowRankResidual) -> Tensor:
    """I + D U."""
    return torch.eye(len(head.down), device=head.down.device) + head.down @ head.up


@torch.no_grad()
def _multiply(tower: nn.Module, names: tuple[str, ...], change: Tensor, method: Objective) -> None:
    """Put a matrix behind the tower's last linear map, which is the first of `names` that it has."""
    for name in names:
        owner, _, last = name.rpartition(".")
        try:
            found = getattr(tower.get_submodule(owner), last, None)
        except AttributeError:
            continue
        if isinstance(found, nn.Linear):
            found.weight.copy_(change.T @ found.weight)
            if found.bias is not None:
                found.bias.copy_(found.bias @ change)
            return
        if isinstance(found, Tensor):
            found.copy_(found @ change)
            return
    raise UserError(
        f"fold {method.name}: not exact: the {type(tower).__name__} has no linear projection at its end; "
        "export it without --fold"
    )


@torch.no_grad()
def _check(method: Objective, backbone: "Backbone", model: nn.Module) -> None:
    """Raises UserError where a random pair's score is not the method's."""
    random = generator(0, "fold check")
    side = backbone.image_size
    noise = random.integers(0, 256, (_CHECKED, side, side, 3), dtype=np.uint8)
    pictures = [Image.fromarray(picture) for picture in noise]
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    texts = ["a " + "".join(random.choice(letters, 1 + 4 * place)) for place in range(_CHECKED)]
    wanted = _scores(method, backbone, pictures, texts)
    found = plain_scores(model, backbone, pictures, texts)
    worst = float((wanted - found).abs().max())
    if not worst <= TOLERANCE:
        raise UserError(
            f"fold {method.name}: not exact: on random pictures and texts a score differs by {worst:.1e}, and "
            f"{TOLERANCE:.0e} is allowed; export it without --fold"
        )


def _scores(method: Objective, backbone: "Backbone", pictures: list[Image.Image], texts: list[str]) -> Tensor:
    """The method's own; what a fold may be of reads no prototypes."""
    training = method.training
    method.eval()
    seen = image_data(backbone, method, None, pictures, len(pictures))
    said = text_data(backbone, method, None, texts, len(texts))
    images = side_of(method.images, seen, len(pictures), len(pictures))
    found = method.scores(images, side_of(method.texts, said, len(texts), len(texts)))
    method.train(training)
    return found.cpu()


def plain_scores(model: nn.Module, backbone: "Backbone", pictures: list[Image.Image], texts: list[str]) -> Tensor:
    """Cosines of an open_clip model by its own `encode_image` and `encode_text`, on the whole context."""
    assert isinstance(backbone, OpenClipBackbone)
    pixels = backbone.normalise(torch.stack([backbone.preprocess(picture) for picture in pictures]))
    ids = backbone.tokenize(texts).ids
    whole = ids.new_full((len(ids), backbone.context_length), backbone.tokenizer.padding)
    whole[:, : ids.shape[1]] = ids
    images: Tensor = model.encode_image(pixels.to(backbone.device), normalize=True)  # type: ignore[operator]
    captions: Tensor = model.encode_text(whole.to(backbone.device), normalize=True)  # type: ignore[operator]
    return (images @ captions.T).cpu()
