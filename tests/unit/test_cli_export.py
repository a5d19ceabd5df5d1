"""`vialign export`: a folder that stands alone, nothing half-written, and a card that says what was measured."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

import vialign
from explained import CAPTION, FOLDER, finished_run, train_at_random
from vialign.cli.app import app
from vialign.methods.build import build_method


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    run = finished_run()[0]
    path = tmp_path_factory.mktemp("export") / "config.yaml"
    path.write_text(yaml.safe_dump(run.config.model_dump(mode="json")), encoding="utf-8")
    return path


def export(settings, *arguments, results=FOLDER / "results"):
    return CliRunner().invoke(app, ["export", str(results), "--config", str(settings), *map(str, arguments)])


def with_training(folder, method):
    """A copy of the run's results in which another method was trained too."""
    run = finished_run()[0]
    results = shutil.copytree(run.results, folder / "results")
    train_at_random(build_method(method, run.config, run.encoder.backbone, run.calibration, 0), 0, results)
    return results


def plain_open_clip(folder, pictures, texts):
    """Cosines by the lines of the folder's own README.md, which say how to open it: open_clip's code alone."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    names = {}
    exec(code.replace("exported/open_clip", str(folder)), names)
    pixels = torch.stack([names["preprocess"](picture) for picture in pictures])
    with torch.no_grad():
        images = names["model"].eval().encode_image(pixels, normalize=True)
        return images @ names["model"].encode_text(names["tokenizer"](texts), normalize=True).T


def test_a_folder_is_written_and_loads(settings, tmp_path):
    result = export(settings, "--out", tmp_path / "out", "--with-backbone", "--seed", 1)
    assert result.exit_code == 0, result.output
    assert f"{tmp_path}/out: vialign, ready for vialign.load(" in result.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"README.md", "config.json", "method.safetensors", "visual.safetensors", "text.safetensors"} <= names
    assert {"calibration.parquet", "pipeline", "explain-tiny.json", "merges.txt", "backbone.safetensors"} <= names
    said = json.loads((tmp_path / "out/config.json").read_text())
    assert said["seed"] == 1 and str(tmp_path.parent) not in json.dumps(said) and str(FOLDER) not in json.dumps(said)
    card = (tmp_path / "out/README.md").read_text()
    assert "## Supervision" in card and "## Limits" in card and "Nothing was measured of it" in card
    assert vialign.load(tmp_path / "out").about.seed == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "lora"), "no such training; there are frozen, vialign"),
        (("--seed", 9), "no such training; it was trained with seeds 0, 1"),
        (("--fold",), "fold vialign: not exact: the correction changes an image's embedding"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(settings, tmp_path, arguments, message):
    result = export(settings, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1 and message in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["lora", "bitfit"])
def test_a_folded_export_is_the_method_for_plain_open_clip(settings, tmp_path, method):
    results = with_training(tmp_path, method)
    out = tmp_path / "out"
    result = export(settings, "--out", out, "--method", method, "--fold", results=results)
    assert result.exit_code == 0, result.output
    assert f"{out}/open_clip: the same inside the weights of an open_clip model" in result.stdout
    assert {path.name for path in (out / "open_clip").iterdir()} == {
        *("README.md", "merges.txt.gz", "open_clip_config.json", "open_clip_model.safetensors")
    }
    random = np.random.default_rng(5)
    pictures = [Image.fromarray(random.integers(0, 256, (side, 70, 3), dtype=np.uint8)) for side in (32, 50, 91, 64)]
    letters = np.array(list("abcdeilrsu  .é"))
    texts = [CAPTION, "red blue " * 40, *("a " + "".join(random.choice(letters, size)) for size in (3, 30, 90))]
    aligner = vialign.load(out)
    expected = aligner.score(pictures, texts)
    assert (plain_open_clip(out / "open_clip", pictures, texts) - expected).abs().max() <= 1e-5
    plain = vialign.load(aligner.config.backbone.definition, "random").score(pictures, texts)
    assert (plain - expected).abs().max() > 1e-3, "the method changes nothing, so the test shows nothing"


def test_a_folded_models_own_merges_are_asked_for_by_name(settings, tmp_path, monkeypatch):
    """Not open_clip's own in their place, which would give other tokens without a word."""
    import open_clip

    results = with_training(tmp_path, "bitfit")
    assert export(settings, "--out", tmp_path / "out", "--method", "bitfit", "--fold", results=results).exit_code == 0
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="merges.txt.gz"):
        open_clip.get_tokenizer(f"local-dir:{tmp_path}/out/open_clip")
    monkeypatch.chdir(tmp_path / "out/open_clip")
    found = open_clip.get_tokenizer("local-dir:.")([CAPTION])
    backbone = finished_run()[0].encoder.backbone
    ids = backbone.tokenize([CAPTION]).ids
    assert torch.equal(found[:, : ids.shape[1]], ids) and not found[:, ids.shape[1] :].any()


def test_results_without_a_config_say_so(tmp_path):
    result = CliRunner().invoke(app, ["export", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1 and "the run did not end; name its configuration" in result.stderr
