"""A run as large as a whole study: many methods, seeds and benchmarks, each with thousands of items."""

from pathlib import Path

import numpy as np
import pandas as pd

from unit.report.fake_results import METHODS, PROVENANCE, fake_config, fake_failure, write_fake_results
from vialign.config.experiment import Config
from vialign.files.artifacts import write_table
from vialign.tables.data import IMAGES
from vialign.tables.evaluation import COMPARISONS, OUTCOMES, RESULTS
from vialign.tables.failures import FAILURE_CLASSES, FAILURE_MOVES, FAILURE_RATES, FAILURES, PHRASE_KINDS, QUERY_STATES
from vialign.tables.schema import Table
from vialign.tables.training import MONITOR, TRAINING_LOG

_MEASURES = ("r1", "r5", "r10")


def method_names(count: int) -> list[str]:
    """The methods of the fake run, and others until there are `count`."""
    return [*METHODS, *(f"baseline-{place}" for place in range(count - len(METHODS)))]


def large_config(methods: int, seeds: int) -> Config:
    """The config of the large run, whose methods are more than there are: so it is not checked as a user's is."""
    config = fake_config()
    training = {"methods": tuple(method_names(methods)), "seeds": tuple(range(seeds))}
    return config.model_copy(update={"training": config.training.model_copy(update=training)})


def write_large_results(folder: Path, *, methods: int, seeds: int, benchmarks: int, items: int) -> Path:
    """A whole fake run whose tables on methods are replaced by large ones; half of all queries fail."""
    write_fake_results(folder)
    draw = np.random.default_rng(0)
    names, places = method_names(methods), [f"test/benchmark_{place}" for place in range(benchmarks)]
    _images(folder, items)
    _results(folder, draw, names, places, seeds, items)
    _training(folder, draw, names, seeds)
    failures = []
    for method in names:
        for seed in range(1 if method == "frozen" else seeds):
            solved = draw.random((benchmarks, items)) < 0.5
            _outcomes(folder, method, seed, places, solved)
            failures.append(_failures(method, seed, places, solved))
    _write(folder, "analyse/failures.parquet", FAILURES, pd.concat(failures, ignore_index=True))
    _rates(folder, draw, names, places, seeds, items)
    return folder


def _write(folder: Path, path: str, table: Table, frame: pd.DataFrame) -> None:
    write_table(frame.reindex(columns=list(table.columns)), table, folder / path, PROVENANCE)


def _images(folder: Path, items: int) -> None:
    """One file serves all images: only those that are shown are read."""
    path, table = folder / "data/images.parquet", IMAGES
    old = pd.read_parquet(path)
    one = old[old["split"] == "test"].iloc[:1]
    more = one.loc[one.index.repeat(items)].assign(image_id=[f"image_{place}" for place in range(items)])
    _write(folder, "data/images.parquet", table, pd.concat([old, more], ignore_index=True))


def _results(
    folder: Path, draw: np.random.Generator, names: list[str], places: list[str], seeds: int, items: int
) -> None:
    keys = pd.MultiIndex.from_product([names, places, _MEASURES], names=["method", "benchmark", "measure"])
    results = keys.to_frame(index=False).assign(convention="micro", items=items, seeds=seeds, ties=0)
    results["value"] = draw.uniform(0.3, 0.7, len(results))
    results = results.assign(low=results["value"] - 0.02, high=results["value"] + 0.02)
    _write(folder, "compare/results.parquet", RESULTS, results)
    pairs = [(method, reference) for reference in ("frozen", "lora") for method in names if method not in METHODS[:2]]
    pairs.append(("lora", "frozen"))
    rows = [(*pair, benchmark, measure) for pair in pairs for benchmark in places for measure in _MEASURES]
    frame = pd.DataFrame(rows, columns=["method", "reference", "benchmark", "measure"])
    frame["difference"] = draw.uniform(-0.1, 0.1, len(frame))
    frame = frame.assign(low=frame["difference"] - 0.03, high=frame["difference"] + 0.03, items=items)
    model = {"item_low": frame["low"] + 0.01, "item_high": frame["high"] - 0.01, "seed_spread": 0.01, "df": 8.0}
    model["seeds"] = seeds
    _write(
        folder,
        "compare/comparisons.parquet",
        COMPARISONS,
        frame.assign(p_value=0.01, p_holm=0.04, detectable=0.02, **model),
    )


def _training(folder: Path, draw: np.random.Generator, names: list[str], seeds: int) -> None:
    steps = np.arange(1, 1001)
    checks = np.arange(0, 1001, 50)
    for method in names:
        for seed in range(seeds):
            loss = 2 + np.exp(-steps / 200) + draw.normal(0, 0.1, len(steps))
            log = pd.DataFrame({"step": steps, "loss": loss, "contrastive": loss, "negative": 0.1})
            log = log.assign(regularisation=0.0, learning_rate=1e-3, gradient_norm=0.8, seconds=0.05)
            recall = 0.5 + 0.1 * checks / 1000 + draw.normal(0, 0.005, len(checks))
            monitor = pd.DataFrame({"step": checks, "recall": recall, "negatives": recall + 0.1})
            spread = dict(consistency_mean=recall, consistency_sd=0.1)
            where = f"train/{method}/{seed}"
            _write(folder, f"{where}/log.parquet", TRAINING_LOG, log)
            _write(folder, f"{where}/monitor.parquet", MONITOR, monitor.assign(**spread))


def _outcomes(folder: Path, method: str, seed: int, places: list[str], solved: np.ndarray) -> None:
    items = solved.shape[1]
    frame = pd.DataFrame({"benchmark": np.repeat(places, items), "value": solved.ravel().astype(float)})
    frame["item_id"] = np.tile([f"q{place}" for place in range(items)], len(places))
    frame["image_id"] = np.tile([f"image_{place}" for place in range(items)], len(places))
    frame = frame.assign(method=method, seed=seed, measure="r1", tie=False)
    _write(folder, f"evaluate/{method}/{seed}/outcomes.parquet", OUTCOMES, frame)


def _failures(method: str, seed: int, places: list[str], solved: np.ndarray) -> pd.DataFrame:
    """One row a query that is not solved, of the eight kinds of the fake run in turn."""
    benchmark, item = np.nonzero(~solved)
    kinds = pd.DataFrame([fake_failure(number, "image_0", "image_1", "test/text_to_image") for number in range(8)])
    frame = kinds.iloc[(benchmark + item) % 8].reset_index(drop=True)
    ids = pd.Series(item.astype(str))
    return frame.assign(
        method=method,
        seed=seed,
        benchmark=np.array(places)[benchmark],
        item_id="q" + ids,
        image_id="image_" + ids,
        true_text="the dotted red circle number " + ids + " is above a small blue square",
        chosen_text="a small blue square is above the dotted red circle number " + ids,
    )


def _rates(
    folder: Path, draw: np.random.Generator, names: list[str], places: list[str], seeds: int, items: int
) -> None:
    kinds, classes = ["all", *PHRASE_KINDS], ["all", *FAILURE_CLASSES]
    product = [names, [*places, "test/all"], kinds, classes]
    keys = pd.MultiIndex.from_product(product, names=["method", "benchmark", "phrase_kind", "failure"])
    rates = keys.to_frame(index=False).assign(queries=items, images=items, seeds=seeds)
    rates["rate"] = draw.uniform(0.05, 0.2, len(rates))
    rates = rates.assign(count=rates["rate"] * items, share=rates["rate"], change=0.0)
    for name in ("rate", "share", "change"):
        prefix = "" if name == "rate" else f"{name}_"
        rates[f"{prefix}low"], rates[f"{prefix}high"] = rates[name] - 0.02, rates[name] + 0.02
    _write(folder, "analyse/failure_rates.parquet", FAILURE_RATES, rates)
    product = [names[1:], ["test/all"], QUERY_STATES, QUERY_STATES]
    keys = pd.MultiIndex.from_product(product, names=["method", "benchmark", "before", "after"])
    moves = keys.to_frame(index=False).assign(queries=items, count=0.04 * items, share=0.04, low=0.03, high=0.05)
    moves = moves.assign(net=0.01, net_low=-0.01, net_high=0.03)
    _write(folder, "analyse/failure_moves.parquet", FAILURE_MOVES, moves)
