"""The small finished run with a split of known answers and the tables of its comparison, all planted."""

import shutil
from functools import cache
from pathlib import Path

import pandas as pd
from PIL import Image

from explained import FOLDER, finished_run, train_at_random
from vialign.config.experiment import Config
from vialign.disentangle.encoded import write_encoded
from vialign.features import extract_images, extract_texts
from vialign.files.artifacts import write_table
from vialign.methods.build import build_method
from vialign.tables.data import IMAGES
from vialign.tables.evaluation import RESULTS
from vialign.tables.gates import BUDGET, VERDICT
from vialign.tables.language import TEXTS
from vialign.toolkit import read_captions

GALLERY = 8
"""Images of the split `selection`: few, so that answers by random weights are right often enough."""
SPLIT = "selection"
COMPARED = {
    "compare": [
        ("frozen", "test/text_to_image", "r1", "micro", (0.30, 0.25, 0.35), 200, 1),
        ("vialign", "test/text_to_image", "r1", "micro", (0.41, 0.38, 0.44), 200, 2),
        ("vialign", "test/text_to_image", "r5", "micro", (0.71, 0.68, 0.74), 200, 2),
        ("frozen", "test/aro_relation", "accuracy", "micro", (0.52, 0.50, 0.54), 90, 1),
        ("vialign", "test/aro_relation", "accuracy", "micro", (0.58, 0.55, 0.61), 90, 2),
        ("vialign", "test/aro_relation", "accuracy", "macro", (0.99, 0.98, 1.00), 90, 2),
        ("vialign", "test/winoground", "group", "micro", (0.11, 0.05, 0.17), 40, 2),
    ],
    "compare_all": [
        ("bitfit", "test/text_to_image", "r1", "micro", (0.33, 0.28, 0.38), 200, 1),
        ("frozen", "test/text_to_image", "r1", "micro", (0.29, 0.24, 0.34), 200, 1),
        ("vialign", "test/text_to_image", "r1", "micro", (0.77, 0.70, 0.80), 200, 1),
    ],
}
"""RESULTS of both comparisons: method, benchmark, measure, convention, value with its interval, items and seeds."""
LEDGER = [
    ("vialign", "parameters_extra", 123456.0, None, "numbers"),
    ("vialign", "inference_overhead", 0.034, (0.021, 0.047), "of the reference"),
    ("vialign", "inference_flops", 1e9, None, "operations"),
    ("lora", "parameters_extra", 99.0, None, "numbers"),
]
"""BUDGET: method, measure, value, interval and unit."""
GATES = {"signal/verdict.parquet": ("signal", "warn"), "gates/budget.parquet": ("budget", "go")}
"""VERDICT of the gates that spoke."""


@cache
def measured_run() -> Config:
    """The configuration of the run; its results lie in a folder of their own. `bitfit` is trained too."""
    run = finished_run()[0]
    results = shutil.copytree(run.results, FOLDER / "measured/results")
    train_at_random(build_method("bitfit", run.config, run.encoder.backbone, run.calibration, 0), 0, results)
    _write_split(results)
    for folder, rows in COMPARED.items():
        write_table(_results(rows), RESULTS, results / folder / "results.parquet", {})
    write_table(_budget(), BUDGET, results / "budget/ledger.parquet", {})
    for name, (gate, action) in GATES.items():
        write_table(_verdict(gate, action), VERDICT, results / name, {})
    return run.config.model_copy(update={"results": str(results)})


def selection() -> pd.DataFrame:
    """Every caption of the first images: `image_id`, `text_id` and `text`."""
    captions = read_captions(pictures(), FOLDER / "shapes/captions.csv")
    return captions.table[captions.table["image_id"].isin(captions.image_ids[:GALLERY])].reset_index(drop=True)


def pictures() -> Path:
    """The folder of the run's pictures, which are named by `image_id`."""
    finished_run()
    return FOLDER / "shapes/images"


def _write_split(results: Path) -> None:
    """What the stages before make of a split, by the run's own encoder."""
    encoder, captions = finished_run()[0].encoder, selection()
    names = captions["image_id"].drop_duplicates().tolist()
    place = {"split": SPLIT, "width": 112, "height": 112, "source": "data"}
    images = pd.DataFrame([{"image_id": name, "path": name, "crop": [], **place} for name in names])
    texts = captions[["text_id", "image_id", "text"]].assign(split=SPLIT, kind="caption")
    write_table(images, IMAGES, results / "data/images.parquet", {})
    write_table(texts, TEXTS, results / f"language/{SPLIT}/texts.parquet", {})
    store = {"batch": 4, "shard": 16, "provenance": {}}
    folders = {"data": pictures()}
    features = results / f"features/{SPLIT}"
    extract_images(encoder.backbone, images, folders, features / "images", encoder.readout, pixels="cache", **store)
    extract_texts(encoder.backbone, texts, features / "texts", **store)
    seen = encoder.images([Image.open(pictures() / name) for name in names]).prototypes
    said = encoder.texts(texts["text"].tolist()).phrases
    encoded = results / f"disentangle/{SPLIT}/encoded.safetensors"
    write_encoded([seen], [said], (len(names), len(texts)), encoded, {})


def _results(rows: list[tuple]) -> pd.DataFrame:
    names = ("method", "benchmark", "measure", "convention")
    return pd.DataFrame(
        [
            dict(zip(names, row[:4], strict=True))
            | dict(zip(("value", "low", "high"), row[4], strict=True))
            | {"items": row[5], "seeds": row[6], "ties": 0}
            for row in rows
        ]
    )


def _budget() -> pd.DataFrame:
    rows = []
    for method, measure, value, interval, unit in LEDGER:
        low, high = interval or (None, None)
        row = {"method": method, "backbone": "ViT-B-32", "measure": measure, "value": value, "low": low, "high": high}
        rows.append({**row, "unit": unit, "limit": None, "outcome": None, "reason": None})
    return pd.DataFrame(rows).astype({name: float for name in ("value", "low", "high", "limit")})


def _verdict(gate: str, action: str) -> pd.DataFrame:
    """A gate of two criteria."""
    numbers = {"value": 0.5, "low": None, "high": None, "threshold": 0.4}
    same = {"gate": gate, **numbers, "met": action == "go", "undecided": False, "required": True, "action": action}
    rows = [{**same, "criterion": said, "evidence": "x.parquet", "reason": "planted"} for said in ("one", "two")]
    return pd.DataFrame(rows)
