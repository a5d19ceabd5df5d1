"""`vialign evaluate`: each item by itself gives the same outcome, in a loop over items that shares no code with it."""

import json
import math
import shutil
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from PIL import Image
from transformers import PreTrainedTokenizerFast

import vialign
from benchmark_layouts import FORMS
from evaluating import benchmark, done_again, evaluate, picture_of
from explained import FOLDER, finished_run
from recorded_bars import recorded_bars
from tiny_blip import own_blip, write_blip
from tolerance import close, transformer
from vialign.aligner.export import aligner_of_run, write_export
from vialign.aligner.folder import method_digest
from vialign.aligner.opening import load_folder, named_aligner
from vialign.benchmarking.measuring import measure
from vialign.benchmarking.models import named_models
from vialign.config.data import BackboneConfig
from vialign.errors import UserError
from vialign.evaluation.vqa import soft_accuracy
from vialign.files.artifacts import read_provenance, read_table
from vialign.tables.evaluation import COMPARISONS, OUTCOMES, PUBLISHED, RESULTS


def closest(aligner, texts):
    """Whether the first two of three texts are closer to each other than either is to the third, for the method."""
    first, second, wrong = (aligner.text_side([text])["pooled"][0].double() for text in texts)
    cosine = torch.nn.functional.cosine_similarity
    return cosine(first, second, dim=0) > max(cosine(first, wrong, dim=0), cosine(second, wrong, dim=0))


def threshold(said):
    """What parts true from false statements best, every gap between two scores tried; of several the middle one."""
    levels = sorted({score for score, _, _ in said})
    tried = [-math.inf, *((low + high) / 2 for low, high in pairwise(levels)), math.inf]
    right = [sum((score > one) == true for score, true, _ in said) for one in tried]
    best = [one for one, count in zip(tried, right, strict=True) if count == max(right)]
    return best[(len(best) - 1) // 2]


def expected(aligner, asked, tables):
    """Outcomes by benchmark, measure and item: one item at a time."""
    pictures = {row["image_id"]: picture_of(asked, row) for row in tables.images.to_dict("records")}
    found, said = {}, {}
    for item in tables.choices.to_dict("records"):
        own, name = f"{asked.name}/{item['benchmark']}", item["item_id"]
        scores = aligner.score([pictures[image] for image in item["images"]], list(item["texts"])).numpy()
        if len(item["texts"]) == 1 and len(item["images"]) == 1:
            said.setdefault(own, []).append((float(scores[0, 0]), bool(item["right"]), name))
            continue
        if len(item["texts"]) == 1:
            found[own, "image_choice", name] = float(scores[0, 0] > max(scores[1:, 0]))
            continue
        if not pd.isna(item["right"]):
            found[own, "both_right", name] = float(min(scores[0, :2]) > scores[0, 2])
            found[own, "text_only", name] = float(closest(aligner, item["texts"]))
            continue
        if len(item["images"]) == 1:
            found[own, "accuracy", name] = float(scores[0, 0] > max(scores[0, 1:]))
            continue
        text = scores[0, 0] > scores[0, 1] and scores[1, 1] > scores[1, 0]
        image = scores[0, 0] > scores[1, 0] and scores[1, 1] > scores[0, 1]
        match = scores[0, 0] + scores[1, 1] > scores[0, 1] + scores[1, 0]
        for measured, won in (("text", text), ("image", image), ("group", text and image), ("match", match)):
            found[own, measured, name] = float(won)
    for own in [own for own in said if f"{own}_dev" in said]:
        limit = threshold(said[f"{own}_dev"])
        found |= {(own, "statement", name): float((score > limit) == true) for score, true, name in said[own]}
    for item in tables.questions.to_dict("records"):
        scores = aligner.score([pictures[item["image_id"]]], list(item["statements"]))[0].numpy()
        value = soft_accuracy(item["candidates"][int(scores.argmax())], item["answers"])
        found[f"{asked.name}/vqa", "soft_accuracy", item["question_id"]] = value
    captions = tables.captions
    if len(captions):
        names = tables.images["image_id"].tolist()
        scores = aligner.score([pictures[name] for name in names], captions["text"].tolist()).numpy()
        owner = np.array([names.index(name) for name in captions["image_id"]])
        for place, name in enumerate(captions["caption_id"]):
            column = scores[:, place]
            rivals = (np.delete(column, owner[place]) >= column[owner[place]]).sum()
            for k in (1, 5, 10):
                found[f"{asked.name}/text_to_image", f"r{k}", name] = float(rivals < k)
        for place, name in enumerate(names):
            mine = owner == place
            rivals = (scores[place][~mine] >= scores[place][mine].max()).sum()
            for k in (1, 5, 10):
                found[f"{asked.name}/image_to_text", f"r{k}", name] = float(rivals < k)
    return found


class Shaken:
    """An aligner whose scores are off by about as much as another order of the same sums gives."""

    def __init__(self, aligner, seed):
        self.aligner, self.text_side = aligner, aligner.text_side
        self.random = torch.Generator().manual_seed(seed)

    def score(self, pictures, texts):
        scores = self.aligner.score(pictures, texts)
        return scores + ROUNDING * torch.randn(scores.shape, generator=self.random)


ROUNDING = close(torch.float32, transformer(32, 2))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("source", ["frozen", "tuned"])
def test_each_item_by_itself_has_the_same_outcome(place, name, source):
    plain = vialign.load(place[0] / "tuned")
    aligner = (
        plain
        if source == "tuned"
        else vialign.wrap(plain.model, "frozen", architecture="explain-tiny", definition=place[0] / "explain-tiny.json")
    )
    asked = benchmark(place, name)
    tables = asked.read()
    outcomes = measure(aligner, asked, tables, "m", 3)
    OUTCOMES.check(outcomes)
    wanted = expected(aligner, asked, tables)
    keys = zip(outcomes["benchmark"], outcomes["measure"], outcomes["item_id"], strict=True)
    values = dict(zip(keys, outcomes["value"].tolist(), strict=True))
    assert len(values) >= 2 and values.keys() == wanted.keys()
    different = {key for key in values if values[key] != pytest.approx(wanted[key])}
    # Two scores that are the same but for rounding fall either way, by the processor and by the size of a batch.
    shaken = [expected(Shaken(aligner, seed), asked, tables) for seed in range(6)] if different else []
    tied = {key for key in different if any(other[key] != wanted[key] for other in shaken)}
    assert different - tied == set() and len(tied) <= len(values) / 20


def test_two_models_are_compared_in_one_call_which_goes_on_where_it_stopped(place, tmp_path):
    plain = ("--model", place[0] / "explain-tiny.json", "--pretrained", "random")
    call = (*plain, "--model", place[0] / "tuned", "--out", tmp_path)
    result = evaluate(place, *call)
    assert result.exit_code == 0, result.output
    assert "tuned less explain-tiny random, winoground/winoground, group: " in result.stdout
    results = read_table(tmp_path / "results.parquet", RESULTS)
    assert set(results["method"]) == {"explain-tiny random", "tuned"}
    assert set(results["benchmark"]) == {"winoground/winoground", "aro/aro_relation", "aro/aro_attribution"}
    comparisons = read_table(tmp_path / "comparisons.parquet", COMPARISONS)
    assert (
        set(comparisons["method"]) == {"tuned"} and len(comparisons) == 5
    )  # the group match is the same items told again, and is not compared
    assert read_table(tmp_path / "published.parquet", PUBLISHED).empty
    page = (tmp_path / "index.html").read_text()
    assert "2 models compared" in page and "Paired comparisons" in page
    files = sorted(tmp_path.glob("outcomes/*/*.parquet"))
    assert [file.relative_to(tmp_path / "outcomes").as_posix() for file in files] == [
        "explain-tiny-random/aro.parquet",
        "explain-tiny-random/winoground.parquet",
        "tuned/aro.parquet",
        "tuned/winoground.parquet",
    ]
    times = {file: file.stat().st_mtime_ns for file in files}
    files[0].unlink()
    again = evaluate(place, *call)
    assert again.exit_code == 0 and again.stderr.count("is done already") == 3
    assert {file for file in files if file.stat().st_mtime_ns == times[file]} == set(files[1:])
    other = evaluate(place, *call, "--limit", 2, "--json")
    assert other.exit_code == 0 and "is done already" not in other.stderr
    told = json.loads(other.stdout)
    assert {row["items"] for row in told["results"]} == {2} and set(told["results"][0]) == set(RESULTS.columns)
    compared = read_table(tmp_path / "comparisons.parquet", COMPARISONS)
    assert len(told["comparisons"]) == len(compared) > 0 and set(told["comparisons"][0]) == set(COMPARISONS.columns)
    assert [row["difference"] for row in told["comparisons"]] == pytest.approx(compared["difference"].tolist())


def test_what_is_exported_again_to_the_same_folder_is_measured_again(place, tmp_path):
    config, folder = finished_run()[0].config, tmp_path / "tuned"
    call = ("--model", folder, "--out", tmp_path / "out")
    file = tmp_path / "out/outcomes/tuned/winoground.parquet"
    found = []
    for method, seed in (("vialign", 0), ("vialign", 1), ("frozen", 0)):
        shutil.rmtree(folder, ignore_errors=True)
        write_export(aligner_of_run(config, method, seed), folder, with_backbone=False, folded=False)
        assert done_again(evaluate(place, *call, names=("winoground",))) == 0
        found.append(read_provenance(file)["evaluation"])
        assert done_again(evaluate(place, *call, names=("winoground",))) == 1
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    "name", ["config.json", "method.safetensors", "visual.safetensors", "calibration.parquet", "pipeline/meta.json"]
)
def test_an_exported_folder_is_known_by_what_its_scores_follow_from(place, tmp_path, name):
    shutil.copytree(place[0] / "tuned", tmp_path / "tuned")
    before = method_digest(tmp_path / "tuned")
    assert before == method_digest(place[0] / "tuned")
    (tmp_path / "tuned/README.md").write_text("another card")
    assert method_digest(tmp_path / "tuned") == before
    (tmp_path / "tuned" / name).write_bytes((tmp_path / "tuned" / name).read_bytes() + b" ")
    assert method_digest(tmp_path / "tuned") != before


def test_images_elsewhere_and_another_version_are_measured_again(place, tmp_path, monkeypatch):
    plain = ("--model", place[0] / "explain-tiny.json", "--pretrained", "random", "--out", tmp_path / "out")
    call = (*plain, "--images", f"sugarcrepe={place[2]['sugarcrepe']}")
    assert [done_again(evaluate(place, *call, names=("sugarcrepe",))) for _ in range(2)] == [0, 1]
    shutil.copytree(place[2]["sugarcrepe"], tmp_path / "coco")
    moved = (*plain, "--images", f"sugarcrepe={tmp_path / 'coco'}")
    assert [done_again(evaluate(place, *moved, names=("sugarcrepe",))) for _ in range(2)] == [0, 1]
    monkeypatch.setattr("vialign.benchmarking.tables.__version__", "99")
    assert [done_again(evaluate(place, *moved, names=("sugarcrepe",))) for _ in range(2)] == [0, 1]


def test_bf16_changes_little_and_says_so(place, tmp_path):
    plain = ("--model", place[0] / "explain-tiny.json", "--pretrained", "random", "--precision", "bf16")
    result = evaluate(place, *plain, "--out", tmp_path, names=("winoground",))
    assert result.exit_code == 0, result.output
    assert "<dd><code>bf16</code></dd>" in (tmp_path / "index.html").read_text()


def kept_scores(scores, blocks):
    """A method's scores, which are also kept."""

    def keeping(*sides):
        blocks.append(scores(*sides))
        return blocks[-1]

    return keeping


@pytest.mark.parametrize("source", ["plain", "tuned"])
def test_half_the_precision_of_the_towers_makes_no_ties(place, monkeypatch, source):
    """Scores of half precision have eight bits: of these pictures and captions most would be the same number."""
    name, weights = {"plain": ("explain-tiny.json", ["random"]), "tuned": ("tuned", [])}[source]
    (model,) = named_models([str(place[0] / name)], weights)
    asked = benchmark(place, "captioned")
    tables = asked.read()
    found, ties = {}, {}
    for precision in ("fp32", "bf16"):
        aligner = model.open("cpu", precision)
        blocks = []
        scores = kept_scores(aligner.method.scores, blocks)
        monkeypatch.setattr(aligner.method, "scores", scores)
        ties[precision] = measure(aligner, asked, tables, "m", 64)["tie"].sum()
        assert {block.dtype for block in blocks} == {torch.float32}
        matrix = found[precision] = torch.cat(blocks)
        said = tables.captions["text"].nunique()
        assert len(matrix.unique()) > 0.95 * len(matrix) * said
    assert ties["bf16"] <= ties["fp32"]
    assert 0 < (found["bf16"] - found["fp32"]).abs().max() < 0.05


def test_an_export_is_measured_in_its_own_precision_and_labelled_with_it(place, tmp_path):
    config = BackboneConfig(
        architecture="explain-tiny",
        definition=str(place[0] / "explain-tiny.json"),
        checkpoint=None,
        precision="bfloat16",
    )
    aligner = named_aligner(config)
    aligner.save_pretrained(tmp_path / "halved")
    again = vialign.Aligner.from_pretrained(tmp_path / "halved", aligner.model)
    assert again.backbone.precision == "bfloat16"
    plain = ("--model", place[0] / "explain-tiny.json", "--pretrained", "random", "--model", tmp_path / "halved")
    page = tmp_path / "out/index.html"
    for asked, label, own in (((), "fp32, bf16", "bf16"), (("--precision", "fp32"), "fp32", "fp32")):
        result = evaluate(place, *plain, *asked, "--out", tmp_path / "out", names=("winoground",))
        assert result.exit_code == 0, result.output
        assert f"<dd><code>{label}</code></dd>" in page.read_text()
        said = read_provenance(tmp_path / "out/outcomes/halved/winoground.parquet")
        assert said["precision"] == own
    (model,) = named_models([str(tmp_path / "halved")], [])
    assert model.open("cpu", "fp32").backbone.contract.get("precision") is None
    assert model.open("cpu", None).backbone.contract["precision"] == "bfloat16"


def test_a_method_that_runs_the_towers_runs_them_in_the_precision_asked_for(place, tmp_path):
    plain = vialign.load(place[0] / "tuned")
    named = {"architecture": "explain-tiny", "definition": place[0] / "explain-tiny.json"}
    vialign.wrap(plain.model, "bitfit", **named).save_pretrained(tmp_path / "tuned")
    for precision in (None, "bfloat16"):
        found = load_folder(tmp_path / "tuned", plain.model, precision)
        assert found.method.backbone.precision == (precision or "float32")


def test_bars_count_images_and_texts_and_what_is_cut_is_told(place, monkeypatch, capsys):
    aligner, asked = vialign.load(place[0] / "tuned"), benchmark(place, "flickr8k")
    tables = asked.read()
    tables.captions.loc[0, "text"] = "red circle " * 50
    bars = recorded_bars(monkeypatch)
    measure(aligner, asked, tables, "m", 3)
    assert "flickr8k: 1 of 10 texts are longer than the model reads" in capsys.readouterr().err
    images, texts = len(tables.images), len(tables.captions)
    assert (images, texts) == (5, 10)
    counted = {bar.desc: (bar.n, bar.total) for bar in bars}
    named = {
        "image features": images,
        "image prototypes": images,
        "vialign: images": images,
        "vialign: gallery": images,
    }
    named |= {"text features": texts, "phrase units": texts, "vialign: texts": texts}
    found = {short: numbers for short in named for name, numbers in counted.items() if name.startswith(short)}
    assert found == {short: (count, count) for short, count in named.items()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "ViT-B-32"), "--model ViT-B-32: name its weights with --pretrained"),
        (("--model", "vialign-scenes", "--benchmark", "nothing"), "'nothing' is unknown; choose of winoground"),
        (("--model", "vialign-scenes", "--images", "coco=/"), "write BENCHMARK=FOLDER, with one of winoground"),
        (("--model", "no-such", "--pretrained", "random"), "open_clip knows no model 'no-such'"),
        (("--model", "vialign-scenes", "--pretrained", "package", "--pretrained", "x"), "there is no --model"),
        (("--model", "vialign-scenes", "--device", "gpu7"), "device 'gpu7': "),
    ],
)
def test_a_wrong_call_is_one_line(place, tmp_path, arguments, message):
    result = evaluate(place, *arguments, "--out", tmp_path / "out", names=("winoground",))
    assert result.exit_code == 1 and message in result.stderr.splitlines()[-1]


def test_two_models_of_one_name_are_told(place, tmp_path):
    shutil.copytree(place[0] / "tuned", tmp_path / "tuned")
    with pytest.raises(UserError, match="two models are called 'tuned'"):
        named_models([str(place[0] / "tuned"), str(tmp_path / "tuned")], [])
    assert FOLDER.exists()


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """transformers' own model and the folder that it is published as."""
    model = own_blip()
    return model, write_blip(model, tmp_path_factory.mktemp("models") / "blip-tiny")


def itc(model, folder, files, texts):
    """Cosines of transformers' own image and text towers, on pictures that are scaled by Pillow alone."""
    mean, spread = (torch.tensor(values)[:, None, None] for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    squares = [Image.open(file).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC) for file in files]
    pixels = torch.stack([(torch.from_numpy(np.array(one)).permute(2, 0, 1) / 255 - mean) / spread for one in squares])
    read = PreTrainedTokenizerFast.from_pretrained(folder)(list(texts), padding=True, return_tensors="pt")
    asked = {"input_ids": read["input_ids"], "attention_mask": read["attention_mask"]}
    return model(pixel_values=pixels, use_itm_head=False, **asked).itm_score.numpy()


def test_the_folder_of_a_blip_is_measured_as_transformers_measures_it(place, blip, tmp_path):
    model, folder = blip
    result = evaluate(place, "--model", folder, "--out", tmp_path, names=("winoground",))
    assert result.exit_code == 0, result.output
    outcomes = read_table(tmp_path / "outcomes/blip-tiny/winoground.parquet", OUTCOMES)
    values = outcomes.set_index(["measure", "item_id"])["value"].to_dict()
    asked = benchmark(place, "winoground")
    tables = asked.read()
    files = {row["image_id"]: asked.folders[row["source"]] / row["path"] for row in tables.images.to_dict("records")}
    for item in tables.choices.to_dict("records"):
        scores = itc(model, folder, [files[image] for image in item["images"]], item["texts"])
        own = vialign.load(folder).score([files[image] for image in item["images"]], list(item["texts"])).numpy()
        assert own == pytest.approx(scores, abs=2e-5)
        text = scores[0, 0] > scores[0, 1] and scores[1, 1] > scores[1, 0]
        image = scores[0, 0] > scores[1, 0] and scores[1, 1] > scores[0, 1]
        found = [values[measure, item["item_id"]] for measure in ("text", "image", "group")]
        assert found == [float(text), float(image), float(text and image)]


def test_weights_go_to_the_models_that_have_none_of_their_own(place, blip):
    folder, other = str(blip[1]), str(place[0] / "tuned")
    models = named_models(["vialign-scenes", folder, other, "ViT-B-32"], ["b.pt"])
    assert [model.config.checkpoint for model in models] == [
        "package",
        f"{folder}/model.safetensors",
        "package",
        "b.pt",
    ]
    assert [model.name for model in models] == ["vialign-scenes package", "blip-tiny", "tuned", "ViT-B-32 b"]
    (given,) = named_models([folder], ["tuned.bin"])
    assert (given.name, given.config.checkpoint) == ("blip-tiny tuned", "tuned.bin")
    assert named_models([other, "ViT-B-32"], ["a.pt", "b.pt"])[0].backbone == "a.pt"
    with pytest.raises(UserError, match="ViT-B-32: name its weights"):
        named_models(["vialign-scenes", "ViT-B-32"], [])
