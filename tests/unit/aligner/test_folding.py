"""A folded checkpoint scores as its method in plain open_clip, and what cannot be folded exactly is refused."""

import copy
from functools import cache

import pytest
import torch

import vialign
from captioned import QUICK, tiny_backbone
from tiny_blip import word_pieces
from vialign.aligner import folding
from vialign.aligner.aligner import Aligner
from vialign.aligner.folding import FOLDED, MERGES, fold, plain_scores, write_folded
from vialign.aligner.opening import unfitted_signal
from vialign.aligner.sides import opened
from vialign.backbone import model_definition
from vialign.backbone.tokenizer_file import FileTokenizer
from vialign.catalogue import BASELINES, SUBSETS, TOWER_METHODS
from vialign.errors import UserError
from vialign.features import BackboneFacts
from vialign.methods.build import build_method
from vialign.signal.calibration import SignalCalibration
from vialign.toolkit import draw_example

TEXTS = ["a red circle", "two words of a longer text that nobody wrote before", "a blue square above a ring"]
EXACT = ("frozen", "lora", "bitfit", "negclip", "fsc-clip", "lora-boxes", "labclip")
EXACT += ("vialign-none", "vialign-reweight", "vialign-regularise")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folding")
    draw_example(folder / "shapes", images=5)
    return folder, tiny_backbone(folder), sorted((folder / "shapes/images").glob("*.png"))


@cache
def unfitted(backbone):
    return unfitted_signal(backbone, QUICK, 0)


def changed(name, backbone):
    """A method as if it had been trained: its weights moved at random."""
    signal = unfitted(backbone) if name in SUBSETS else None
    facts = backbone if name in TOWER_METHODS else BackboneFacts.of(backbone)
    method = build_method(name, QUICK, facts, SignalCalibration.from_table(unfitted(backbone).calibration), 0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in method.trainable().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return Aligner(backbone, method.eval(), QUICK, signal)


@pytest.mark.parametrize("name", EXACT)
def test_plain_open_clip_gives_the_methods_scores(place, name, tmp_path):
    _, backbone, pictures = place
    aligner = changed(name, backbone)
    before = {key: tensor.clone() for key, tensor in backbone.model.state_dict().items()}
    settings = model_definition("toolkit-tiny")
    write_folded(aligner.merge(), backbone, settings, tmp_path / FOLDED)
    assert all(torch.equal(before[key], tensor) for key, tensor in backbone.model.state_dict().items())
    import open_clip  # not before vialign's own shim is there

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / FOLDED}")
    with torch.no_grad():
        found = plain_scores(model.eval(), backbone, [opened(picture) for picture in pictures], TEXTS)
    expected = aligner.score(pictures, TEXTS)
    assert (found - expected).abs().max() <= 1e-5
    if name != "frozen":
        assert (changed("frozen", backbone).score(pictures, TEXTS) - expected).abs().max() > 1e-3


def test_the_demo_brings_its_merges_along(tmp_path):
    aligner = vialign.load("vialign-scenes")
    write_folded(aligner.merge(), aligner.backbone, model_definition("vialign-scenes"), tmp_path / FOLDED)
    import open_clip

    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path / FOLDED}", bpe_path=str(tmp_path / FOLDED / MERGES))
    ids = aligner.backbone.tokenize(TEXTS).ids
    assert torch.equal(tokenizer(TEXTS)[:, : ids.shape[1]], ids.int())


def test_a_tokenizer_of_its_own_file_comes_along(place, tmp_path):
    """As SigLIP has one: open_clip reads it from the folder of the checkpoint."""
    (tmp_path / "words").mkdir()
    folder = word_pieces(tmp_path / "words")
    backbone = copy.copy(place[1])
    backbone.tokenizer = FileTokenizer(folder, 64, 520, "lower")
    settings = model_definition("toolkit-tiny")
    text = {**settings["text_cfg"], "tokenizer_kwargs": {"clean": "lower"}}
    write_folded(place[1].model, backbone, {**settings, "text_cfg": text}, tmp_path / FOLDED)
    import open_clip

    found = open_clip.get_tokenizer(f"local-dir:{tmp_path / FOLDED}")(TEXTS)
    for row, wanted in zip(found.tolist(), backbone.tokenize(TEXTS).ids.tolist(), strict=True):
        assert row[: len(wanted)] == wanted
    assert MERGES not in (tmp_path / FOLDED / "README.md").read_text()


def test_a_checkpoint_that_open_clip_cannot_load_is_not_written(place, tmp_path):
    """CoCa's decoder of captions is dropped when a backbone is loaded."""
    model = copy.deepcopy(place[1].model)
    model.add_module("text_decoder", torch.nn.Identity())
    with pytest.raises(UserError, match="decoder of captions is not kept in memory, and open_clip loads no checkpoint"):
        write_folded(model, place[1], model_definition("toolkit-tiny"), tmp_path / FOLDED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in (*BASELINES, *SUBSETS) if name not in EXACT])
def test_every_other_method_is_refused_with_its_reason(place, name):
    if name == "vialign-reweight-regularise":
        assert changed(name, place[1]).merge()
        return
    with pytest.raises(UserError, match=f"^fold {name}: not exact: .*; export it without --fold$"):
        changed(name, place[1]).merge()


def test_a_fold_that_is_not_the_method_is_noticed(place, monkeypatch):
    aligner = changed("vialign-none", place[1])
    monkeypatch.setattr(folding, "_multiply", lambda *given: None)
    with pytest.raises(UserError, match="on random pictures and texts a score differs by"):
        fold(aligner.method, place[1])
