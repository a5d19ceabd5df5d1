"""A results folder with every table that the report reads, plausible, small, and with hostile text in a caption."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.numpy import save_file

from vialign.analysis.attribution.names import DRIVER
from vialign.analysis.failures.rates import failure_tables
from vialign.config.experiment import Config, load_config
from vialign.evaluation.confirmation import CLAIMS
from vialign.files.artifacts import write_table
from vialign.names import BENCHMARKS as OWN_IMAGES
from vialign.names import EMBEDDED_SPLITS
from vialign.tables.attribution import ATTRIBUTION, CARRIERS
from vialign.tables.data import CAPTIONS, CHOICES, IMAGES, OBJECTS, PROBLEMS, QUESTIONS, RELATIONS
from vialign.tables.evaluation import AGREEMENT, BLIND, COMPARISONS, RANKS, REPRODUCTION, RESULTS, SPENDING
from vialign.tables.failures import FAILURE_CLASSES, FAILURE_MOVES, FAILURE_RATES, FAILURES, PHRASE_KINDS
from vialign.tables.gates import ABLATION, BUDGET, CONTRIBUTIONS, VERDICT
from vialign.tables.language import QUALITY, SPANS
from vialign.tables.schema import Table
from vialign.tables.signal import (
    CONTROLS,
    DIAGNOSIS,
    PAIR_KINDS,
    PROBE,
    REFERENCE_SIGNALS,
    SIGNAL_CALIBRATION,
    SIGNAL_CONTROLS,
    SIGNAL_SCORES,
    SIGNALS,
    STRESS,
    STRESS_SUMMARY,
    TRUST,
    TRUST_COMBINED,
    TRUST_CURVES,
    TRUST_DIRECTIONS,
)
from vialign.tables.theory import THEORY, THEORY_MEASURES, THEORY_TRENDS, THEORY_WORLDS
from vialign.tables.training import (
    GRADIENT_SAMPLES,
    GRADIENT_TERMS,
    MONITOR,
    MONITORING,
    OPTIMISATION_PATH,
    SIGNAL_MONITOR,
    TRAINING_LOG,
)

HOSTILE = 'a red circle <script>alert(1)</script> & a "blue" square'
METHODS = ("frozen", "lora", "vialign")
MODULES = ("reweight", "regularise", "correct")
PROVENANCE = {
    "rule": "fake",
    "code_digest": "c0de" * 16,
    "config_digest": "c0ff" * 16,
    "seed": "0",
    "backbone_architecture": "vialign-scenes",
    "backbone_activation": "gelu",
    "backbone_checkpoint": "ab" * 32,
    "backbone_preprocessing": "112 bicubic",
    "backbone_tokenizer": "short merges",
    "readout": "value",
    "reason": "best pointing accuracy",
}


def fake_config(**sections: object) -> Config:
    """The config of the fake run."""
    return load_config({"evaluation": {"bootstrap": 200}, "report": {"examples": 5}, **sections})


def write_fake_results(folder: Path, *, stop: str | None = None, seed: int = 0) -> Path:
    """Write the tables of a whole run, or of one that the gate `stop` ended; returns `folder`.

    They are made once for each `stop` and `seed`, and copied.
    """
    shutil.copytree(_made(stop, seed), folder, dirs_exist_ok=True)
    return folder


@cache
def _made(stop: str | None, seed: int) -> Path:
    """Tables that nobody changes, in a folder that lasts as long as this process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    draw = np.random.default_rng(seed)
    _theory(folder)
    _data(folder, draw)
    _quality(folder)
    _signal(folder, draw)
    _gate(folder, "signal", stop)
    if stop == "signal":
        return folder
    _budget(folder)
    _gate(folder, "budget", stop)
    if stop == "budget":
        return folder
    _training(folder, draw, "early_")
    _gate(folder, "early", stop)
    if stop:
        return folder
    _training(folder, draw, "")
    _ablation(folder)
    _comparison(folder, draw)
    _attribution(folder)
    _spending(folder)
    _failures(folder)
    _dynamics(folder)
    _trust(folder)
    _benchmarks(folder)
    return folder


def _write(folder: Path, path: str, table: Table, rows: list[dict[str, object]]) -> None:
    frame = pd.DataFrame(rows, columns=list(table.columns)) if rows else table.empty()
    write_table(frame, table, folder / path, PROVENANCE)


def _data(folder: Path, draw: np.random.Generator) -> None:
    images, captions, objects, relations, choices, questions = [], [], [], [], [], []
    whole = dict(source="data", crop=[])
    for split in (*EMBEDDED_SPLITS, *OWN_IMAGES):
        for number in range(6):
            name = f"{split}_{number}"
            pixels = draw.integers(60, 200, (8, 8, 3), dtype=np.uint8).repeat(14, 0).repeat(14, 1)
            (folder / "data/images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"data/images/{name}.png")
            images.append(dict(image_id=name, split=split, path=f"images/{name}.png", width=112, height=112, **whole))
            text = HOSTILE if number == 0 else "the red circle is above the blue square"
            captions += [dict(caption_id=f"{name}#{n}", image_id=name, text=text, tree=None) for n in range(2)]
            box = dict(name="circle", x=3.0, y=4.0, width=30.0, height=30.0, attributes=["red"])
            objects += [dict(object_id=f"{name}/{n}", image_id=name, **box) for n in range(2)]
            ends = dict(subject_id=f"{name}/0", predicate="above", object_id=f"{name}/1")
            relations.append(dict(relation_id=f"{name}/0", image_id=name, **ends))
        item = dict(benchmark="winoground", split=split, tag="role", images=["a", "b"], texts=["x", "y"], right=None)
        choices.append(dict(item_id=f"winoground/{split}", **item))
        answer = dict(question="what?", kind="relation", answers=["red"] * 10, candidates=["red"], statements=["red"])
        questions.append(dict(question_id=f"vqa/{split}", split=split, image_id=f"{split}_0", **answer))
    _write(folder, "data/images.parquet", IMAGES, images)
    _write(folder, "data/captions.parquet", CAPTIONS, captions)
    _write(folder, "data/objects.parquet", OBJECTS, objects)
    _write(folder, "data/relations.parquet", RELATIONS, relations)
    _write(folder, "data/choices.parquet", CHOICES, choices)
    _write(folder, "data/questions.parquet", QUESTIONS, questions)
    dirt = [dict(file="captions.txt", row=str(n), problem=f"names no image ({n}); skipped") for n in range(40)]
    _write(folder, "data/problems.parquet", PROBLEMS, dirt)


def _interval(value: float, half: float = 0.02) -> dict[str, float]:
    return dict(value=value, low=value - half, high=value + half)


def _quality(folder: Path) -> None:
    def rows(measure: str, values: dict[str, float], domain: str = "selection") -> list[dict[str, object]]:
        common = dict(domain=domain, measure=measure, count=500)
        return [dict(subject=subject, **common, **_interval(value)) for subject, value in values.items()]

    references = {"ceiling": 0.78, "dictionary": 0.41, "k-means": 0.33, "attention": 0.27, "random atoms": 0.21}
    visual = (
        rows("iou mean", references)
        + rows("iou circle", references)
        + rows("maps", dict.fromkeys(references, 8.0))
        + rows("stability flip iou", {name: v + 0.1 for name, v in references.items()})
    )
    spans = rows("f1 entity", {"main path": 0.93, "syntax path": 0.95, "mixed": 0.96}, "scenes")
    spans += rows("f1 entity", {"main path": 0.71, "syntax path": 0.64, "mixed": 0.73}, "scenes with typos")
    readouts = {"final": 0.2, "value": 0.4, "self_self": 0.31, "early": 0.12}
    _write(folder, "disentangle/visual_quality.parquet", QUALITY, visual)
    _write(folder, "disentangle/text_quality.parquet", QUALITY, spans)
    _write(folder, "disentangle/text_spans.parquet", SPANS, _spans("scenes"))
    _write(folder, "disentangle/text_domains.parquet", SPANS, _spans("newswire") + _spans("captions"))
    _write(folder, "language/quality.parquet", QUALITY, rows("accuracy", {"tagger": 0.99, "parser": 0.95}))
    _write(folder, "features/readout.parquet", QUALITY, rows("pointing_accuracy", readouts))
    pointed = {"prototypes": 0.37, **{f"readout {name}": value for name, value in readouts.items()}}
    pointed_at = rows("pointing accuracy", pointed, "flickr30k_entities")
    _write(folder, "disentangle/phrase_grounding.parquet", QUALITY, pointed_at)


def _spans(trained_on: str) -> list[dict[str, object]]:
    """F1 that falls with typos; the mixed path lies 0.4 points above the better single path."""
    rows = []
    for typos in (0.0, 0.1, 0.2):
        single = {"main": 0.8 - typos, "fallback": 0.9 - 2 * typos}
        best = max(single.values())
        for path, f1 in {**single, "mixed": best + 0.004, "asked": best + 0.006}.items():
            margin = f1 - best if path in ("mixed", "asked") else np.nan
            for kind in ("entity", "all"):
                about = dict(trained_on=trained_on, domain="captions", typos=typos, path=path, kind=kind)
                about |= dict(precision=f1, recall=f1, f1=f1, low=f1 - 0.03, high=f1 + 0.03, margin=margin)
                about |= dict(margin_low=margin - 0.005, margin_high=margin + 0.005, count=300, cut=4, trusted=0.5)
                rows.append(about)
    return rows


def _signal(folder: Path, draw: np.random.Generator) -> None:
    scores, diagnosis, stress = [], [], []
    kinds = PAIR_KINDS[1:]
    for kind in PAIR_KINDS:
        shift = 0.15 if kind == "aligned" else (-0.2 if kind == "random" else 0.05)
        for number in range(120):
            glob, local = np.clip(draw.normal([0.5 + shift, 0.5 + shift], 0.1), 0, 1)
            c = 1 - abs(glob - local)
            entropy = float(draw.uniform(0.2, 0.9))
            scores.append(
                dict(
                    image_id=f"i{number}", text_id=f"i{number}!{kind}", kind=kind, s_global=glob / 2, s_local=local / 2,
                    s_local_plain=local / 3,
                    s_global_calibrated=glob, s_local_calibrated=local, consistency=c, consistency_raw=c,
                    agreement=glob * local, s_sum=glob + local, local_entropy=entropy, certainty=1 - entropy,
                )
            )  # fmt: skip
    for place, signal in enumerate((*SIGNALS, *REFERENCE_SIGNALS)):
        for order, kind in enumerate(kinds):
            auc = 0.52 + 0.05 * ((place + order) % 4) + (0.3 if kind == "random" else 0)
            ends = dict(auc=auc, low=auc - 0.03, high=auc + 0.03)
            tests = dict(cohen_d=0.4, p_value=0.0004, p_holm=0.012, pairs=1500, images=300)
            diagnosis.append(dict(signal=signal, kind=kind, **ends, **tests))
    attacks = {
        "gaussian noise": "severity", "blur": "severity", "fgsm": "epsilon in 1/255",
        "typos": "percent of words misspelt", "word substitution": "words replaced", "other domain": "domain",
    }  # fmt: skip
    for attack, unit in attacks.items():
        for strength in (0.0, 1.0) if unit == "domain" else (0.0, 1.0, 2.0, 3.0, 4.0, 5.0):
            for signal, slope in (("consistency", 0.02), ("s_global", 0.03), ("s_local", 0.01)):
                target = signal if attack == "fgsm" else "none"
                for kind, start in (("random", 0.9), ("hard", 0.68)):
                    auc = start - slope * strength
                    ends = dict(auc=auc, low=auc - 0.02, high=auc + 0.02, pairs=200)
                    about = dict(attack=attack, target=target, strength=strength, unit=unit)
                    stress.append(dict(**about, signal=signal, kind=kind, **ends))
    summary = []
    for attack in (*attacks, "all"):
        for signal, share in (("consistency", 0.8), ("s_global", 0.7), ("s_local", 0.9)):
            for kind in ("random", "hard"):
                area = dict(relative_area=share, low=share - 0.05, high=share + 0.05, clean=0.9)
                target = {"fgsm": signal, "all": "own"}.get(attack, "none")
                summary.append(dict(attack=attack, target=target, signal=signal, kind=kind, **area))
                if signal != "s_global":
                    gain = share - 0.7
                    summary[-1] |= dict(difference=gain, difference_low=gain - 0.04, difference_high=gain + 0.04)
    _write(folder, "signal/stress_summary.parquet", STRESS_SUMMARY, summary)
    probe = []
    accuracies = {
        "signal": 0.41, "s_global": 0.30, "s_local": 0.36, "s_local_plain": 0.2, "s_global+s_local": 0.37,
        "s_global+signal": 0.43, "s_global+s_local+signal": 0.44, "embedding": 0.62, "random": 0.13,
        "shuffled labels": 0.12,
    }  # fmt: skip
    for name, accuracy in accuracies.items():
        gain = None if name == "s_global" else accuracy - 0.30
        ends = dict(low=accuracy - 0.03, high=accuracy + 0.03, chance=0.125, classes=8, images=400)
        gains = dict(gain=gain, gain_low=gain and gain - 0.03, gain_high=gain and gain + 0.03)
        if name not in ("s_global", "s_global+s_local"):
            beyond = accuracy - 0.37
            gains |= dict(beyond_parts=beyond, beyond_parts_low=beyond - 0.03, beyond_parts_high=beyond + 0.03)
        probe.append(dict(features=name, accuracy=accuracy, selectivity=accuracy - 0.12, **ends, **gains))
    ratings = [
        dict(signal=name, ratings="expert", tau_b=0.3, tau_c=0.29, low=0.27, high=0.33, pairs=4000)
        for name in ("consistency", "s_global", "s_local", "s_local_plain", "s_sum")
    ]
    _write(folder, "evaluate/agreement.parquet", AGREEMENT, ratings)
    maps = [
        dict(similarity=name, slope=9.1, intercept=-2.4, free_slope=9.1, pairs=3000, auc=0.93, brier=0.11,
             calibration_error=0.02)
        for name in ("s_global", "s_local")
    ]  # fmt: skip
    _write(folder, "signal/calibration.parquet", SIGNAL_CALIBRATION, maps)
    _write(folder, "signal/scores.parquet", SIGNAL_SCORES, scores)
    controls = [{**row, "control": control} for control in CONTROLS for row in scores[:200]]
    _write(folder, "signal/controls.parquet", SIGNAL_CONTROLS, controls)
    _write(folder, "signal/diagnosis.parquet", DIAGNOSIS, diagnosis)
    _write(folder, "signal/stress.parquet", STRESS, stress)
    _write(folder, "signal/probe.parquet", PROBE, probe)


def _gate(folder: Path, gate: str, stop: str | None) -> None:
    evidence = {"signal": "signal/diagnosis.parquet", "budget": "budget/ledger.parquet", "early": "train/"}[gate]
    action = "stop" if stop == gate else "go"
    common = dict(gate=gate, action=action, evidence=evidence, reason="0.5 is what guessing gives")
    first = dict(criterion=f"the {gate} evidence lies beyond chance", **_interval(0.61), threshold=0.5, required=True)
    second = dict(criterion="human ratings agree", value=None, low=None, high=None, threshold=None, required=False)
    common |= dict(undecided=False)
    rows = [dict(**first, met=action == "go", **common), dict(**second, met=False, **common)]
    _write(folder, "signal/verdict.parquet" if gate == "signal" else f"gates/{gate}.parquet", VERDICT, rows)


def _training(folder: Path, draw: np.random.Generator, prefix: str) -> None:
    for place, method in enumerate(METHODS):
        for seed in (0, 1):
            log, monitor = [], []
            for step in range(1, 101):
                loss = 2.5 - place * 0.4 * (1 - np.exp(-step / 30)) + float(draw.normal(0, 0.05))
                terms = dict(contrastive=loss * 0.7, negative=loss * 0.2, regularisation=loss * 0.1)
                log.append(dict(step=step, loss=loss, **terms, learning_rate=1e-3, gradient_norm=0.8, seconds=0.05))
            for step in (0, 20, 40, 60, 80, 100):
                recall = 0.41 + place * 0.03 * step / 100 + seed * 0.004
                spread = dict(consistency_mean=0.8 + 0.02 * step / 100 + place * 0.01, consistency_sd=0.1)
                monitor.append(dict(step=step, recall=recall, negatives=0.55 + place * 0.001 * step, **spread))
            _write(folder, f"train/{method}/{seed}/{prefix}log.parquet", TRAINING_LOG, log)
            _write(folder, f"train/{method}/{seed}/{prefix}monitor.parquet", MONITOR, monitor)
            light = [dict(**row, score=(row["recall"] + row["negatives"]) / 2) for row in monitor]
            light = light if method == "vialign" else []
            _write(folder, f"train/{method}/{seed}/{prefix}signal_monitor.parquet", SIGNAL_MONITOR, light)
            weights = folder / f"train/{method}/{seed}/{'early' if prefix else 'final'}.safetensors"
            save_file({"weight": np.zeros(2)}, weights, metadata={"vialign": json.dumps(PROVENANCE)})
    _rolling(folder, "gates/early_monitoring.parquet" if prefix else "analyse/monitoring.parquet")


def _rolling(folder: Path, path: str) -> None:
    rows = []
    for seed in (0, 1):
        for of in ("level", "change"):
            for place, step in enumerate((0, 20, 40, 60, 80, 100)):
                key = dict(method="vialign", seed=seed, of=of, step=step, window=place + 1)
                if place < 3:
                    rows.append(dict(**key, warned=False))
                    continue
                value = -0.95 if of == "level" and step == 100 else 0.3 - 0.1 * seed
                ends = dict(low=max(-1.0, value - 0.6), high=-0.1 if value < -0.9 else value + 0.6)
                band = dict(band_low=-0.9, band_high=0.9, warned=value < -0.9)
                rows.append(dict(**key, correlation=value, **ends, **band))
    _write(folder, path, MONITORING, rows)


def _dynamics(folder: Path) -> None:
    terms, samples, path = [], [], []
    for step in (0, 60, 100):
        for seed in (0, 1):
            key = dict(method="vialign", seed=seed, step=step)
            for second in ("negative", "transport"):
                value = 0.3 - 0.003 * step
                ends = dict(cosine=value, low=value - 0.1, high=value + 0.1, batches=6)
                terms.append(dict(**key, first="contrastive", second=second, **ends))
            shares = dict(first_share=0.8, second_share=0.1)
            path.append(dict(**key, first=step / 50 - 1, second=(step / 50 - 1) ** 2 + 0.1 * seed, **shares))
        for number in range(5):
            value = 0.05 * number
            ends = dict(cosine=value, low=value - 0.04, high=value + 0.04, samples=76)
            samples.append(dict(method="vialign", step=step, bin=number, consistency=0.7 + 0.05 * number, **ends))
    _write(folder, "analyse/gradient_terms.parquet", GRADIENT_TERMS, terms)
    _write(folder, "analyse/gradient_samples.parquet", GRADIENT_SAMPLES, samples)
    _write(folder, "analyse/optimisation_path.parquet", OPTIMISATION_PATH, path)


def _trust(folder: Path) -> None:
    """Fitted on `validation`; the local ranking adds 0.04, nothing where it is shuffled; one direction never errs."""
    rows, curves = [], []
    for split in ("validation", "test", "test_domain"):
        for direction in TRUST_DIRECTIONS:
            alike = split == "test_domain" and direction == "image_to_text"
            for name, local, level in TRUSTED:
                combined = name in TRUST_COMBINED
                key = dict(split=split, direction=direction, predictor=name, local=local)
                about = dict(fitted_on="validation" if combined else "", uses="margin,entropy" if combined else name)
                row = dict(**key, **about, wrong=0.0 if alike else 0.25, queries=300, images=100)
                if not alike:
                    row |= dict(auroc=level, low=level - 0.02, high=level + 0.02)
                area = 0.0 if alike else 0.9 - level
                row |= dict(aurc=area, aurc_low=max(0.0, area - 0.01), aurc_high=area + 0.01)
                if combined and name != "best simple":
                    row |= dict(reference="simple and return" if name == "all" else "best simple")
                if combined and name != "best simple" and not alike:
                    change = level - (0.82 if name == "all" else 0.8)
                    row |= dict(difference=change, difference_low=change - 0.02, difference_high=change + 0.02)
                    row |= dict(p_value=0.002 if change > 0.02 else 0.6, p_holm=0.004 if change > 0.02 else 0.6)
                    ends = dict(aurc_difference_low=-change - 0.01, aurc_difference_high=0.01 - change)
                    row |= dict(aurc_difference=-change, **ends)
                rows.append(row)
                if name in ("best simple", "simple and local ranking", "all"):
                    for coverage in (0.25, 0.5, 0.75, 1.0):
                        risk = 0.0 if alike else 0.25 - 0.2 * level * (1 - coverage)
                        ends = dict(low=max(0.0, risk - 0.03), high=risk + 0.03)
                        curves.append(dict(**key, coverage=coverage, risk=risk, **ends))
    _write(folder, "analyse/trust.parquet", TRUST, rows)
    _write(folder, "analyse/trust_curves.parquet", TRUST_CURVES, curves)


TRUSTED = (
    ("similarity", "none", 0.7),
    ("margin", "none", 0.78),
    ("best simple", "none", 0.8),
    ("simple", "none", 0.79),
    ("simple and return", "none", 0.82),
    ("consistency", "with geometry", 0.65),
    ("local_rank", "with geometry", 0.75),
    ("simple and signal", "with geometry", 0.81),
    ("simple and local ranking", "with geometry", 0.84),
    ("all", "with geometry", 0.86),
    ("simple and local ranking", "without geometry", 0.805),
    ("simple and local ranking", "shuffled", 0.798),
)
"""Predictor, way of looking locally, and AUROC."""


def _theory(folder: Path) -> None:
    values, trends = [], []
    for place, world in enumerate(THEORY_WORLDS):
        for order, measure in enumerate(THEORY_MEASURES):
            for level in range(4):
                value = 0.3 + 0.04 * order + 0.05 * level * (place != 3)
                about = dict(world=world, parameter=0.2 * level, mutual_information=float(level), measure=measure)
                values.append(dict(**about, **_interval(value), seeds=6))
            ends = dict(correlation=0.9 - 0.3 * place, low=0.8 - 0.3 * place, high=0.95 - 0.3 * place)
            change = dict(change=0.15, change_low=0.12, change_high=0.18)
            trends.append(dict(world=world, measure=measure, **ends, **change, seeds=6))
    _write(folder, "analyse/theory.parquet", THEORY, values)
    _write(folder, "analyse/theory_trends.parquet", THEORY_TRENDS, trends)


def _budget(folder: Path) -> None:
    rows = []
    for method, extra, inference, train in (("lora", 0.004, 0.001, 0.06), ("vialign", 0.014, 0.05, 0.12)):
        for backbone in ("vialign-scenes", "ViT-B-32"):
            common = dict(method=method, backbone=backbone)
            for measure, value, limit in (
                ("parameters_extra_share", extra, 0.02),
                ("inference_overhead", inference, 0.10),
                ("training_overhead", train, 0.10),
            ):
                outcome = "kept" if value + 0.004 < limit else "broken"
                ends = dict(value=value, low=value - 0.004, high=value + 0.004, outcome=outcome, reason=None)
                rows.append(dict(**common, measure=measure, **ends, unit="share of the reference", limit=limit))
            if method == "vialign":
                for name, share in (("none", 0.0), ("in_domain", 0.1), ("out_of_domain", 0.6), ("all", 1.0)):
                    nothing = dict(limit=None, outcome=None, reason=None)
                    read = dict(value=share, low=None, high=None, unit="share of captions", **nothing)
                    rows.append(dict(**common, measure=f"parser_share_{name}", **read))
                    slower = dict(**_interval(0.02 + 0.03 * share), unit="share beyond the reference", **nothing)
                    rows.append(dict(**common, measure=f"inference_overhead_{name}", **slower))
            plain = dict(low=None, high=None, unit="parameters", limit=None, outcome=None, reason=None)
            rows.append(dict(**common, measure="total parameters", value=4.1e6, **plain))
    _write(folder, "budget/ledger.parquet", BUDGET, rows)


def _ablation(folder: Path) -> None:
    rows = []
    path = {7: 0, 6: 1, 4: 2, 0: 3}
    for subset in range(8):
        active = [module for place, module in enumerate(MODULES) if subset >> place & 1]
        score = 0.5 + 0.02 * len(active) - (0.01 if len(active) == 3 else 0)
        name = "vialign" if len(active) == 3 else "vialign-" + ("-".join(active) or "none")
        flags = {module: module in active for module in MODULES}
        ends = dict(recall=score - 0.1, negatives=score + 0.1, score=score, low=score - 0.01, high=score + 0.01)
        rows.append(dict(method=name, **flags, **ends, path=path.get(subset, -1), chosen=subset == 7))
    _write(folder, "ablate/ablation.parquet", ABLATION, rows)
    gains = [
        dict(module=module, measure=measure, removal=0.01 - 0.004 * place, low=-0.002, high=0.02, shapley=0.012)
        for place, module in enumerate(MODULES)
        for measure in ("recall", "negatives", "score")
    ]
    _write(folder, "ablate/contributions.parquet", CONTRIBUTIONS, gains)


BENCHMARKS = {
    "image_to_text": ("r1", "r5", "r10"),
    "text_to_image": ("r1", "r5", "r10"),
    "winoground": ("text", "image", "group", "match"),
    "aro_relation": ("accuracy",),
    "vqa": ("soft_accuracy",),
}


def _spending(folder: Path) -> None:
    rows = [
        dict(
            method="vialign-correct",
            benchmark=f"confirmation/{direction}",
            rule=rule,
            share=share,
            gain=0.06,
            kept=min(1.0, base + 5 * share),
            loss=0.06 * (1 - min(1.0, base + 5 * share)),
            low=-0.01,
            high=0.03,
            p_holm=0.4,
            items=500,
        )
        for direction in ("image_to_text", "text_to_image")
        for rule, base in (("margin", 0.8), ("top", 0.7), ("random", 0.0))
        for share in (0.01, 0.1)
    ]
    _write(folder, "analyse/spending.parquet", SPENDING, rows)


def _attribution(folder: Path) -> None:
    rows, claims = [], []
    for method in ("vialign-correct", "vialign"):
        for name, part, cost in (
            ("constant", "driver", 0.002),
            ("shuffled", "driver", -0.004),
            ("best match only", "local", 0.21),
            ("frozen", "whole", 0.25),
        ):
            for benchmark, measure in (("text_to_image", "r1"), ("negatives/swap_roles", "accuracy")):
                rows.append(
                    dict(
                        method=method,
                        part=part,
                        replacement=name,
                        benchmark=f"confirmation/{benchmark}",
                        measure=measure,
                        value=0.8 - cost,
                        shipped=0.8,
                        cost=cost,
                        low=cost - 0.02,
                        high=cost + 0.02,
                        p_value=None if name == "frozen" else 0.5 - 2 * cost,
                        p_holm=None if name == "frozen" else 0.04,
                        gain=0.25,
                        seeds=2,
                        steps=60,
                        items=500,
                    )
                )
        claims += [
            dict(method=method, claim=DRIVER, holds=False, share=-0.016, reason="no measure loses significantly"),
            dict(
                method=method,
                claim="the geometry of two prototypes",
                holds=True,
                share=0.84,
                reason="best match only in its place costs something on negatives/swap_roles, accuracy",
            ),
        ]
    _write(folder, "attribute/attribution.parquet", ATTRIBUTION, rows)
    _write(folder, "attribute/carriers.parquet", CARRIERS, claims)


def _comparison(folder: Path, draw: np.random.Generator) -> None:
    results, comparisons = [], []
    for split in ("test", "test_combination", "test_domain"):
        for name, measures in BENCHMARKS.items():
            for order, measure in enumerate(measures):
                item = dict(benchmark=f"{split}/{name}", measure=measure)
                for place, method in enumerate(METHODS):
                    value = 0.4 + 0.15 * order + 0.03 * place + float(draw.uniform(0, 0.01))
                    counts = dict(items=1000, seeds=2, ties=place)
                    results.append(dict(method=method, **item, convention="micro", **_interval(value), **counts))
                for method, reference in (("lora", "frozen"), ("vialign", "frozen"), ("vialign", "lora")):
                    ends = dict(difference=0.03, low=0.01, high=0.05, p_value=0.001, p_holm=0.02)
                    rest = dict(
                        item_low=0.02, item_high=0.04, seed_spread=0.007, seeds=5, df=6.2, detectable=0.018, items=1000
                    )
                    comparisons.append(dict(method=method, reference=reference, **item, **ends, **rest))
    alone = {"aro_order": (0.97, 0.2), "aro_relation": (0.51, 0.5), "aro_attribution": (0.12, 0.5)}
    blind = []
    for name, (value, chance) in {**alone, "winoground": (0.02, 0.25)}.items():
        ends = dict(accuracy=value, low=value - 0.02, high=value + 0.02, chance=chance)
        blind.append(dict(benchmark=f"test/{name}", **ends, items=300, solved=value > chance + 0.12))
    _write(folder, "evaluate/blind.parquet", BLIND, blind)
    ranks = [
        dict(
            method=method,
            seed=0,
            benchmark=f"test/{name}",
            median_rank=2.5 + place,
            map_at_r=0.3,
            queries=90,
            gallery=99,
        )
        for place, method in enumerate(METHODS)
        for name in ("image_to_text", "text_to_image")
    ]
    _write(folder, "compare/ranks.parquet", RANKS, ranks)
    _write(folder, "compare/results.parquet", RESULTS, results)
    _write(folder, "compare/comparisons.parquet", COMPARISONS, comparisons)
    confirmation = []
    for reference in ("frozen", "lora"):
        for _, measure, name in CLAIMS:
            p_value = 0.3 if (name, reference) == ("text_to_image", "lora") else 0.001
            item = dict(method="vialign", reference=reference, benchmark=f"confirmation/{name}", measure=measure)
            rest = dict(
                difference=0.02,
                low=0.01,
                high=0.03,
                p_value=p_value,
                p_holm=p_value,
                detectable=0.02,
                item_low=0.012,
                item_high=0.028,
                seed_spread=0.004,
                seeds=5,
                df=8.0,
            )
            confirmation.append(dict(**item, **rest, items=500))
    _write(folder, "compare/confirmation.parquet", COMPARISONS, confirmation)
    both = ("package", "package-truthful")
    frozen = [row for row in results if row["method"] == "frozen"]
    _write(folder, "compare/backbones.parquet", RESULTS, [row | dict(method=name) for name in both for row in frozen])
    between = [row for row in comparisons if row["reference"] == "lora"]
    between = [row | dict(method=both[1], reference=both[0]) for row in between]
    _write(folder, "compare/backbone_differences.parquet", COMPARISONS, between)
    known = dict(benchmark="test/image_to_text", metric="r1", published=41.2, measured=41.1, tolerance=0.3)
    known |= dict(passed=True, cause="", source="README")
    _write(folder, "compare/reproduction.parquet", REPRODUCTION, [known])


def _failures(folder: Path) -> None:
    """What became of 24 queries a benchmark: the later method solves more of them."""
    outcomes, failures = [], []
    for place, method in enumerate(METHODS):
        for seed in (0,) if method == "frozen" else (0, 1):
            for benchmark in ("test/text_to_image", "test/aro_relation", "test_domain/text_to_image"):
                for number in range(24):
                    key = dict(method=method, seed=seed, benchmark=benchmark, item_id=f"q{number}")
                    image = f"{benchmark.split('/')[0]}_{number % 6}"
                    level = (5 * number + 2 * seed) % 9
                    failed = level > 2 + 2 * place
                    outcomes.append(dict(**key, image_id=image, measure="r1", value=float(not failed)))
                    if failed:
                        failures.append(key | fake_failure(level, image, f"test_{(number + 1) % 6}", benchmark))
    _write(folder, "analyse/failures.parquet", FAILURES, failures)
    frames = pd.DataFrame(outcomes), pd.DataFrame(failures)
    rates, moves = failure_tables(*frames, draws=50, level=0.05, seed=0)
    write_table(rates, FAILURE_RATES, folder / "analyse/failure_rates.parquet", PROVENANCE)
    write_table(moves, FAILURE_MOVES, folder / "analyse/failure_moves.parquet", PROVENANCE)


def fake_failure(number: int, image: str, other: str, benchmark: str) -> dict[str, object]:
    """The columns of a failure that do not name its query; `number` picks class, rule and phrase."""
    rival = "text" if "aro" in benchmark else "image"
    rules = ("missing", "same words", "agreement", "none", "missing", "same concepts", "identical text", "none")
    row: dict[str, object] = dict(
        image_id=image, true_text=HOSTILE, chosen_text="the blue square is above the red circle", rival=rival,
        chosen_image=other if rival == "image" else image, failure=FAILURE_CLASSES[number % 4],
        rule=rules[number % 8], phrase_kind=PHRASE_KINDS[number % 4], worst_phrase=HOSTILE, worst_match=0.11,
        worst_match_rival=0.3, missing_limit=0.2, local_true=0.5, local_rival=0.49, margin_limit=0.02, agreement=0.9,
        agreement_limit=0.8, human=None, human_limit=0.5,
    )  # fmt: skip
    if row["phrase_kind"] == "none":
        return row
    where = dict(prototype=number % 8, prototype_image=image, prototype_x=0.1, prototype_y=0.9, prototype_area=0.05)
    before = 0.05 if rival == "image" else None
    return row | where | dict(phrase="a red circle", phrase_of="rival", phrase_match=0.11, phrase_match_true=before)


def _benchmarks(folder: Path) -> None:
    for rule, seconds in (("train/vialign/0", 41.5), ("extract_features/test", 12.25)):
        path = folder / f"benchmarks/{rule}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:41\t812.5\t-\n", encoding="utf-8")
