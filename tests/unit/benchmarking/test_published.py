"""Published values beside the models of `vialign evaluate`, and the causes of a miss."""

import re

import pandas as pd
import torch

import vialign
from evaluating import evaluate
from vialign.backbone.published import published_terms
from vialign.benchmarking.models import named_models
from vialign.benchmarking.tables import published_of
from vialign.evaluation.reproduction import NO_CAUSE
from vialign.files.artifacts import read_table
from vialign.tables.evaluation import PUBLISHED


def test_published_values_stand_beside_a_model_whose_weights_are_named_after_their_tag():
    (model,) = named_models(["ViT-B-32"], ["downloads/ViT-B-32-laion2b_s34b_b79k.safetensors"])
    assert model.published() == ("ViT-B-32", "laion2b_s34b_b79k")
    assert named_models(["ViT-B-32"], ["mine.pt"])[0].published() is None
    rows = [("winoground/winoground", measured, 0.3475) for measured in ("text", "image", "group")]
    results = pd.DataFrame(
        [
            {"method": model.name, "benchmark": name, "measure": measured, "convention": "micro", "value": value}
            | {"low": 0.3, "high": 0.4, "items": 400, "seeds": 1, "ties": 0}
            for name, measured, value in rows
        ]
    )

    class Read:
        images = pd.DataFrame({"split": ["winoground"], "width": [640], "height": [480]})

    own = dict(published_terms("ViT-B-32", "laion2b_s34b_b79k"))
    given = results, [model], {"winoground": Read()}
    found = published_of(*given, {model.name: own}, limited=False).set_index("metric")
    assert found["published"].to_dict() == {"text": 34.75, "image": 11.0, "group": 7.5}
    assert found["passed"].to_dict() == {"text": True, "image": False, "group": False}
    assert set(found["cause"]) == {"", NO_CAUSE}
    assert published_of(*given, {model.name: own}, limited=True).empty
    other = {"activation": "quick_gelu", "definition": "another", "tokenizer": "context 32"}
    other["preprocessing"] = re.sub(
        "std .*", "std (1.0, 1.0, 1.0)", own["preprocessing"].replace("bicubic", "bilinear")
    )
    (cause,) = set(published_of(*given, {model.name: other}, limited=False)["cause"]) - {""}
    for part in ("activation", "interpolation", "normalisation", "context", "definition"):
        assert f"{part}: " in cause, cause


def test_published_values_of_a_file_are_held_against_and_a_miss_names_its_cause(place, tmp_path):
    """Its architecture has QuickGELU, the model that was opened has not."""
    file = tmp_path / "published.csv"
    file.write_text(
        "architecture,checkpoint,benchmark,metric,percent\n"
        "explain-tiny-quickgelu,mine_e3,winoground,group,99\nexplain-tiny-quickgelu,mine_e3,winoground,text,0\n"
    )
    weights = tmp_path / "tiny-mine_e3.pt"
    torch.save(vialign.load(place[0] / "tuned").model.state_dict(), weights)
    plain = ("--model", place[0] / "explain-tiny.json", "--pretrained", weights, "--out", tmp_path / "out")
    result = evaluate(place, *plain, "--published", file, names=("winoground",))
    assert result.exit_code == 0, result.output
    found = read_table(tmp_path / "out/published.parquet", PUBLISHED).set_index("metric")
    assert found["published"].to_dict() == {"group": 99, "text": 0} and not found.loc["group", "passed"]
    assert "activation: the weights were trained with quick_gelu, the model has gelu" in found.loc["group", "cause"]
    assert "activation: the weights were trained" in (tmp_path / "out/index.html").read_text()
    other = evaluate(place, *plain, "--limit", 2, "--published", file, names=("winoground",))
    assert other.exit_code == 0 and "--published: no value is held against a model" in other.stderr
    file.write_text(file.read_text().replace("99", "ninety"))
    broken = evaluate(place, *plain, "--published", file, names=("winoground",))
    assert broken.exit_code == 1 and "is done already" not in broken.stderr
    assert f"{file}, row 1: field `percent`: 'ninety' is not a percentage" in broken.stderr.splitlines()[-1]
