"""The experiments of configs/paper.yaml and configs/paper_flickr30k.yaml on data sets in their published layouts.

    python benchmarks/rehearsal.py --shares 0.005 0.01 0.02             # Flickr30k with Visual Genome's labels
    python benchmarks/rehearsal.py --config paper --shares 0.005 0.01   # COCO
    python benchmarks/rehearsal.py --shares 0.01 --until extract_features --keep /tmp/rehearsal

Nothing real is needed: `published_layouts` writes every data set at a share of its real counts. VIALIGN_REAL, where it
is set, names a folder whose `multi30k/` and `ptb_nltk/` give the real captions of Flickr30k and sentences of the
treebank. The backbone has random weights, so no figure of the run means anything but its time and memory. Steps of
training and the sizes of the splits have the same share as the data.

Prints for every rule its jobs, seconds of processor time and most memory, from the files that Snakemake writes, at each
share; with two shares or more also what the whole would take (`projection`).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).parent))

from published_layouts import write_all

from vialign.config.experiment import read_config

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {"paper_flickr30k": ("paper", "paper_flickr30k"), "paper": ("paper",)}
TOWERS = {"readout", "extract_features", "extract_images", "fit_visual", "fit_text", "stress", "encode_split"}
TOWERS |= {"score_pairs", "score_controls", "search_rate", "train_early", "train_final", "evaluate_method", "confirm"}
TOWERS |= {"early_outcomes", "compare_backbones"}
"""Rules that use the device, and spend their time in the towers or in products of matrices as large: what an
accelerator takes over."""
ALL_PAIRS = {"evaluate_method", "confirm", "early_outcomes", "trust", "spend", "compare_backbones"}
"""Rules that score every image of a split with every caption, so that a part of their work grows with the square."""
TRAININGS = ("search_rate", "train_early", "train_final", "train_replaced")
"""Rules whose steps take a batch of `training.batch`."""
BATCH = 32
"""Pairs of a step in the rehearsal: small shares have too few images for more."""
SMALL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
"""A backbone of no size, with CLIP's own tokenizer."""


def layers(config: str) -> list[Path]:
    """The files of the experiment, the later over the earlier."""
    return [ROOT / "config.yaml", *(ROOT / f"configs/{name}.yaml" for name in LAYERS[config])]


def overlay(config: str, share: float, folder: Path, small: bool) -> Path:
    """What differs from the experiment: sizes and steps at the share, random weights, and gates that let it go on."""
    whole = read_config(*layers(config))

    def part(count: int | str, least: int) -> int:
        return max(least, round(share * int(count)))

    sizes = {split: part(count, 40) for split, count in whole.data.sizes.items()}
    steps = part(whole.training.steps, 12)
    backbone: dict[str, Any] = {"architecture": "ViT-B-32", "checkpoint": None}
    if small:
        definition = folder / "rehearsal-small.json"
        definition.write_text(json.dumps(SMALL))
        backbone = {"architecture": "rehearsal-small", "definition": str(definition), "checkpoint": None}
    changes: dict[str, Any] = {
        "results": str(folder / "results"),
        "data": {"sizes": sizes},
        "backbone": backbone,
        "language": {"sentences": part(whole.language.sentences, 400)},
        "visual": {"images": part(whole.visual.images, 100)},
        "text": {"texts": part(whole.text.texts, 400), "typed_texts": part(whole.text.typed_texts, 40)},
        "signal": {"probe_relations": part(whole.signal.probe_relations, 40), "pairs": part(whole.signal.pairs, 40)},
        "training": {
            "steps": steps,
            "early_steps": part(whole.training.early_steps, 6),
            "batch": BATCH,
            "monitor": {"checks": min(whole.training.monitor.checks, steps // 2)},
        },
        "gates": {name: {"action": "warn"} for name in ("signal", "budget", "early")},
        "evaluation": {"reproduction": {"action": "warn"}},
    }
    path = folder / "rehearsal.yaml"
    path.write_text(yaml.safe_dump(changes), encoding="utf-8")
    return path


def rehearse(config: str, share: float, folder: Path, small: bool, until: Sequence[str], cores: int) -> pd.DataFrame:
    """A whole run at a share: rows of `measured`."""
    folder.mkdir(parents=True, exist_ok=True)
    real = Path(os.environ["VIALIGN_REAL"]).resolve() if "VIALIGN_REAL" in os.environ else None
    if not (folder / "data").is_dir():
        began = time.monotonic()
        write_all(folder / "data", share, 0, real)
        print(f"share {share:g}: laid out in {time.monotonic() - began:.0f} s", file=sys.stderr)
    files = [*layers(config)[1:], overlay(config, share, folder, small)]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(ROOT)]
    command += ["--cores", str(cores), "--configfile", *map(str, files), "--", *(until or ["all"])]
    began = time.monotonic()
    environment = {**os.environ, "VIALIGN_DATA": str(folder / "data")}
    with (folder / "run.log").open("w", encoding="utf-8") as log:
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
    if ended.returncode:
        sys.exit(f"rehearsal: the run at share {share:g} failed; see {folder / 'run.log'}")
    print(f"share {share:g}: {time.monotonic() - began:.0f} s on {cores} cores", file=sys.stderr)
    return measured(folder / "results/benchmarks")


def measured(folder: Path) -> pd.DataFrame:
    """What every rule took, from Snakemake's files: columns `jobs`, `seconds` of processors, `longest`, `megabytes`."""
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv").removesuffix("_seeds")
        for row in pd.read_csv(path, sep="\t", na_values=["NA", "-"]).fillna(0.0).to_dict("records"):
            rows.append((rule, float(row["cpu_time"]), float(row["max_rss"])))
    frame = pd.DataFrame(rows, columns=["rule", "seconds", "megabytes"])
    groups = frame.groupby("rule", sort=False)
    table = groups["seconds"].agg(jobs="size", seconds="sum", longest="max")
    return table.assign(megabytes=groups["megabytes"].max())


def projected(tables: Mapping[float, pd.DataFrame], column: str) -> pd.Series:
    """Each rule at the whole: what does not grow and what grows with the share, by least squares without negative
    parts, and for the rules of `ALL_PAIRS` what grows with its square; not below the largest seen.

    With two shares nothing tells the square from the line; it is left out then.
    """
    frame = pd.DataFrame({share: table[column] for share, table in tables.items()}).dropna()
    shares = np.array(frame.columns, dtype=float)
    whole = {}
    for rule, values in zip(frame.index, frame.to_numpy(dtype=float), strict=True):
        terms = 3 if rule in ALL_PAIRS and len(shares) > 2 else 2
        parts, _ = nnls(shares[:, None] ** np.arange(terms), values)
        whole[rule] = max(float(parts.sum()), float(values.max()))
    return pd.Series(whole, dtype=float)


def projection(
    tables: Mapping[float, pd.DataFrame], cores: int, speedup: float, batch: float
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Hours of every rule at full counts, and of the whole on processors alone, on one accelerator and on eight.

    Trainings took batches smaller than the experiment's by the factor `batch`, so their seconds count so many times.
    With t the seconds of a rule's jobs together and u those of its longest one, both at the whole:
    processors alone: t / cores; one accelerator: t / speedup for the rules in `TOWERS`, else t / cores; eight: the same
    with max(t / 8, u) in the place of t for the rules in `TOWERS`, as jobs run side by side but none is divided.
    """
    factor = pd.Series({rule: batch for rule in TRAININGS})
    together, longest = (
        column * factor.reindex(column.index, fill_value=1.0)
        for column in (projected(tables, "seconds"), projected(tables, "longest"))
    )
    towers = together.index.isin(sorted(TOWERS))
    frame = pd.DataFrame({"hours": together / 3600, "megabytes": projected(tables, "megabytes")})
    spread = np.maximum(together / 8, longest)
    totals = {
        "processors alone": (together / cores).sum(),
        "one accelerator": np.where(towers, together / speedup, together / cores).sum(),
        "eight accelerators": np.where(towers, spread / speedup, together / cores).sum(),
    }
    return frame, {name: float(seconds) / 3600 for name, seconds in totals.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=sorted(LAYERS), default="paper_flickr30k")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.005, 0.01, 0.02])
    parser.add_argument("--small", action="store_true", help="a backbone of no size instead of a random ViT-B/32")
    parser.add_argument("--until", nargs="*", default=[], help="rules to run; the whole pipeline by default")
    parser.add_argument("--keep", type=Path, help="folder of data and runs; a temporary one by default")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--speedup", type=float, help="how many times one accelerator is faster than one core in the towers"
    )
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (told.keep or Path(scratch)).resolve()
        tables = {
            share: rehearse(told.config, share, folder / f"{share:g}", told.small, told.until, told.cores)
            for share in sorted(told.shares)
        }
    for share, table in tables.items():
        print(f"\nShare {share:g}\n")
        print("| rule | jobs | processor seconds | longest job | MB |\n| --- | --- | --- | --- | --- |")
        for row in table.itertuples():
            print(f"| {row.Index} | {row.jobs} | {row.seconds:.1f} | {row.longest:.1f} | {row.megabytes:.0f} |")
    if len(tables) > 1:
        whole = read_config(*layers(told.config))
        frame, totals = projection(tables, told.cores, told.speedup or 1.0, whole.training.batch / BATCH)
        print("\nAt full counts\n\n| rule | hours of one core | MB |\n| --- | --- | --- |")
        for row in frame.itertuples():
            print(f"| {row.Index} | {row.hours:.2f} | {row.megabytes:.0f} |")
        shown = totals if told.speedup else {name: totals[name] for name in list(totals)[:1]}
        print("\n" + "; ".join(f"{name}: {hours:.1f} h" for name, hours in shown.items()))


if __name__ == "__main__":
    main()
