"""An aligner: its scores are the method's, whatever the batch, and survive being saved, loaded and wrapped again."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from PIL import Image

import vialign
from captioned import QUICK, tiny_model
from explained import CAPTION, finished_run
from vialign.aligner.export import aligner_of_run, write_export
from vialign.aligner.opening import unfitted_signal
from vialign.aligner.sides import opened
from vialign.analysis.explain import _words_said, explain_pair
from vialign.backbone import create_model
from vialign.backbone.adopting import adopt_model
from vialign.errors import UserError
from vialign.methods.build import build_method
from vialign.methods.checkpoint import load_best
from vialign.methods.objective import assemble
from vialign.toolkit import save_signal, score_signal
from vialign.toolkit.captions import read_captions

TEXTS = [CAPTION, "a blue square above a red circle", "a green star", "a small yellow ring left of a large red square"]
CLOSE = 1e-6


@pytest.fixture(scope="module")
def run():
    return finished_run()[0]


@pytest.fixture(scope="module")
def pictures():
    return sorted(finished_run()[2].parent.glob("*.png"))[:7]


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "vialign"
    write_export(aligner_of_run(run.config, "vialign"), folder, with_backbone=False, folded=False)
    return folder


@pytest.fixture(scope="module")
def aligner(exported):
    return vialign.load(exported)


def test_scores_are_those_of_the_trained_method(run, aligner, pictures):
    """Another way there: the toolkit's encoder and the objective, pair by pair."""
    method = build_method("vialign", run.config, run.encoder.backbone, run.calibration, 0)
    load_best(method, run.results / "train/vialign/0/final.safetensors")
    images = run.encoder.images([opened(picture) for picture in pictures])
    said = run.encoder.texts(TEXTS)
    rows = [{"text_id": t, "split": "test", "image_id": "0", "kind": "caption", "text": t} for t in TEXTS]
    names = [str(place) for place in range(len(pictures))]
    parts = (images.pooled, said.pooled, images.prototypes, said.phrases)
    data = assemble(pd.DataFrame(rows), names, TEXTS, *parts, words=_words_said(run, TEXTS))
    image, text = (index.flatten() for index in torch.meshgrid(torch.arange(7), torch.arange(4), indexing="ij"))
    expected = method.pair_scores(method.images(data, image), method.texts(data, text)).view(7, 4)
    assert torch.allclose(aligner.score(pictures, TEXTS), expected, atol=1e-5)
    assert expected.std() > 0.01


def test_no_score_depends_on_the_batch(aligner, pictures):
    whole = aligner.score(pictures, TEXTS)
    assert torch.allclose(aligner.score(pictures, TEXTS, batch=2), whole, atol=CLOSE)
    loaded = [Image.open(picture) for picture in pictures]
    assert torch.allclose(aligner.score(loaded, TEXTS, batch=3), whole, atol=CLOSE)
    assert aligner.score([], TEXTS).shape == (0, 4) and aligner.score(pictures, []).shape == (7, 0)


def test_a_saved_aligner_scores_the_same(aligner, pictures, tmp_path):
    aligner.save_pretrained(tmp_path / "again", with_backbone=True)
    again = vialign.load(tmp_path / "again")
    assert (again.score(pictures, TEXTS) - aligner.score(pictures, TEXTS)).abs().max() <= CLOSE
    assert (tmp_path / "again/backbone.safetensors").is_file()
    with pytest.raises(UserError, match="exists; choose another name for the aligner"):
        aligner.save_pretrained(tmp_path / "again")


def test_an_exported_folder_is_a_folder_of_units(run, exported, tmp_path):
    folder = finished_run()[2].parents[1]
    captions = read_captions(folder / "images", folder / "captions.csv")
    aligner = vialign.load(exported)
    scored = score_signal(aligner.signal, captions, tmp_path / "scores.parquet")
    assert scored.pairs == len(captions.table)


def test_ranking_is_by_score_and_says_how_far_to_trust_it(aligner, pictures):
    ranking = aligner.rank(pictures, CAPTION, top=3)
    scores = aligner.score(pictures, [CAPTION])[:, 0]
    assert ranking.indices == scores.argsort(descending=True)[:3].tolist()
    assert ranking.scores == pytest.approx(scores[ranking.indices].tolist(), abs=CLOSE)
    best = scores.sort(descending=True).values
    assert ranking.trust.similarity == pytest.approx(float(best[0]), abs=CLOSE)
    assert ranking.trust.margin == pytest.approx(float(best[0] - best[1]), abs=2 * CLOSE)
    local = aligner.local(aligner.prototypes(pictures), CAPTION)
    assert ranking.trust.local_rank == int((local > local[ranking.indices[0]]).sum())
    assert aligner.rank(pictures[:1], CAPTION).trust is None and aligner.rank([], CAPTION).indices == []


def test_an_explanation_is_that_of_the_run(run, aligner, pictures):
    found = aligner.explain(pictures[0], CAPTION)
    expected = explain_pair(run, opened(pictures[0]), CAPTION)
    assert found.scores["text"].tolist() == expected.scores["text"].tolist()
    assert found.scores["s_local"].tolist() == pytest.approx(expected.scores["s_local"].tolist(), abs=1e-5)
    assert found.methods["vialign"][:, 0] == pytest.approx(expected.methods["vialign"][:, 0], abs=1e-5)


def test_a_folder_of_another_backbone_is_refused_with_the_reason(exported, run, tmp_path):
    model = create_model("explain-tiny", seed=7)
    with pytest.raises(UserError, match="other weights of the backbone: the digest of their tensors is"):
        vialign.load(exported, backbone=model)
    state = run.encoder.backbone.model.state_dict()
    model.load_state_dict(state)
    assert vialign.load(exported, backbone=model).method.name == "vialign"
    said = json.loads((exported / "config.json").read_text())
    other = tmp_path / "other"
    shutil.copytree(exported, other)
    said["contract"]["activation"] = "quick_gelu"
    (other / "config.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="backbone whose activation is 'quick_gelu', this one has 'gelu'"):
        vialign.load(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "has format 99, this vialign reads 1"),
        ({"method": "unheard"}, "'unheard' is no method"),
        ({"seed": "x"}, "`seed`"),
        (
            {"backbone": {"architecture": "explain-tiny", "definition": "../explain-tiny.json"}},
            "leads out of the folder",
        ),
        ({"contract": None}, "`contract`"),
    ],
)
def test_a_broken_config_is_one_line(exported, tmp_path, change, message):
    shutil.copytree(exported, tmp_path / "broken")
    file = tmp_path / "broken/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=message):
        vialign.load(tmp_path / "broken")


def test_what_is_no_folder_and_no_model_says_so(tmp_path):
    with pytest.raises(UserError, match="neither an exported folder"):
        vialign.load(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="no exported folder: it has no config.json"):
        vialign.load(tmp_path)
    with pytest.raises(UserError, match="name its weights"):
        vialign.load("ViT-B-32")


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory):
    """A model in memory with the correction on it, and the units that were fitted with its weights."""
    folder = tmp_path_factory.mktemp("wrapped")
    _, signal, _ = finished_run()
    save_signal(signal, folder / "units")
    definition = tiny_model(folder, "explain-tiny")
    model = create_model("explain-tiny", definition, seed=7)
    model.load_state_dict(signal.encoder.backbone.model.state_dict())
    return model, folder, definition


def wrap(wrapped, method, **settings):
    model, folder, definition = wrapped
    return vialign.wrap(model, method, architecture="explain-tiny", definition=definition, config=QUICK, **settings)


def test_a_wrapped_model_starts_as_the_cosine_and_learns(wrapped, pictures, tmp_path, capsys):
    aligner = wrap(wrapped, "vialign-correct", signal=wrapped[1] / "units")
    plain = wrap(wrapped, "frozen")
    captions = [f"a red circle number {place}" for place in range(len(pictures))]
    before = aligner.score(pictures, captions)
    # The head starts as the identity and the correction at nothing.
    assert torch.allclose(before, plain.score(pictures, captions), atol=1e-5)
    optimiser = torch.optim.Adam(aligner.method.trainable().values(), 0.02)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = aligner.loss(pictures, captions)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    assert all(parameter.grad is None for parameter in wrapped[0].parameters())
    aligner.print_trainable_parameters()
    trainable = sum(parameter.numel() for parameter in aligner.method.trainable().values())
    assert capsys.readouterr().out.startswith(f"trainable params: {trainable:,} || all params: ")
    aligner.save_pretrained(tmp_path / "tuned")
    after = aligner.score(pictures, captions)
    assert not torch.allclose(after, before, atol=1e-3)
    again = vialign.Aligner.from_pretrained(tmp_path / "tuned", wrapped[0])
    assert (again.score(pictures, captions) - after).abs().max() <= CLOSE
    plain.save_pretrained(tmp_path / "plain")
    with pytest.raises(UserError, match="saved from a model in memory, without its weights"):
        vialign.load(tmp_path / "plain")
    with pytest.raises(UserError, match="changes an image's embedding by the caption"):
        aligner.merge()


def test_units_of_other_weights_are_refused_for_a_model_in_memory(wrapped):
    other = create_model("explain-tiny", seed=7)
    with pytest.raises(UserError, match="made with backbone_checkpoint"):
        wrap((other, *wrapped[1:]), "vialign-correct", signal=wrapped[1] / "units")


def test_without_a_signal_the_correction_warns_and_nothing_is_explained(wrapped, pictures, capsys):
    aligner = wrap(wrapped, "vialign-correct")
    assert "no signal given: the disentanglers are unfitted" in capsys.readouterr().err
    assert torch.allclose(aligner.score(pictures, TEXTS), wrap(wrapped, "frozen").score(pictures, TEXTS), atol=1e-5)
    with pytest.raises(UserError, match="explain: this aligner has no signal"):
        wrap(wrapped, "bitfit").explain(pictures[0], CAPTION)
    with pytest.raises(UserError, match="reads the regions"):
        wrap(wrapped, "vinvl").score(pictures, TEXTS)
    with pytest.raises(UserError, match="no method 'nothing'; there are frozen"):
        wrap(wrapped, "nothing")


@pytest.mark.parametrize("method", ["lora", "adapter", "clip-adapter", "bitfit", "prompt", "coop", "filip"])
def test_every_light_method_wraps_trains_and_is_saved(wrapped, pictures, method, tmp_path):
    aligner = wrap(wrapped, method)
    captions = [f"a red circle number {place}" for place in range(len(pictures))]
    optimiser = torch.optim.Adam(aligner.method.trainable().values(), 0.01)
    for _ in range(3):
        optimiser.zero_grad()
        aligner.loss(pictures, captions)["loss"].backward()
        optimiser.step()
    assert torch.allclose(aligner(pictures, captions), aligner.score(pictures, captions, batch=3), atol=1e-5)
    aligner.save_pretrained(tmp_path / "tuned")
    again = vialign.load(tmp_path / "tuned", backbone=wrapped[0])
    assert (again.score(pictures, captions) - aligner.score(pictures, captions)).abs().max() <= CLOSE


def test_a_model_of_open_clip_is_wrapped_without_its_name(pictures, tmp_path):
    """The call of the documentation: a plain model, a method, and units that know its weights."""
    import open_clip  # not before vialign's own shim is there

    model, _, preprocess = open_clip.create_model_and_transforms("ViT-S-32-alt")
    save_signal(unfitted_signal(adopt_model(model, "ViT-S-32-alt"), QUICK, 0), tmp_path / "units")
    aligner = vialign.wrap(model, method="vialign-correct", signal=tmp_path / "units")
    assert aligner.config.backbone.architecture == "ViT-S-32-alt"
    with torch.no_grad():
        seen = model.encode_image(torch.stack([preprocess(opened(picture)) for picture in pictures]), normalize=True)
        said = model.encode_text(open_clip.get_tokenizer("ViT-S-32-alt")(TEXTS), normalize=True)
    assert (aligner.score(pictures, TEXTS) - seen @ said.T).abs().max() <= 1e-5
    aligner.loss(pictures[:2], TEXTS[:2])["loss"].backward()
    plain = vialign.wrap(model, method="bitfit").merge()
    assert type(plain) is type(model)


def test_a_model_whose_sizes_none_has_must_be_named():
    with pytest.raises(UserError, match="no model has its sizes; say which it is"):
        vialign.wrap(torch.nn.Linear(2, 2))


def test_importing_the_package_imports_nothing_heavy(repository):
    code = "import sys, vialign; print([n for n in ('torch', 'pandas', 'open_clip', 'spacy') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(repository / "src"), "PATH": ""},
    )
    assert done.stdout.strip() == "[]"
    assert {"load", "wrap", "Aligner"} <= set(dir(vialign))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vialign.nothing
