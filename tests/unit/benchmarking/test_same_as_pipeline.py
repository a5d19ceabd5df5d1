"""`vialign evaluate` against the jobs of a run, from the published files on: every outcome is the same."""

from types import SimpleNamespace

import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmark_layouts import PUBLISHED
from explained import FOLDER, finished_run
from job_files import Files
from vialign.benchmarking.models import slug
from vialign.cli.app import app
from vialign.config.data import BenchmarkConfig, DataConfig
from vialign.config.evaluation import EvaluationConfig
from vialign.data.prepare_job import prepare_data
from vialign.disentangle.encode_job import encode_split
from vialign.evaluation.job import evaluate_method
from vialign.features.extract_job import extract_split
from vialign.files.artifacts import read_table, write_table
from vialign.language.pipeline import load_pipeline
from vialign.language.texts import build_texts
from vialign.names import MEASURES, RECALLS
from vialign.stage import Run
from vialign.tables.data import CAPTIONS, CHOICES, IMAGES, QUESTIONS
from vialign.tables.evaluation import OUTCOMES, RANKS
from vialign.tables.language import TEXTS, UNITS

TRAINED = FOLDER / "results"


def job(config, given, made, **wildcards):
    params = SimpleNamespace(seeds=[0])
    files = [Files({name: str(path) for name, path in named.items()}) for named in (given, made)]
    return Run(*files, params, SimpleNamespace(**wildcards), 1, config, {})


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    """Config, results folder and files of a run over all benchmarks, up to what methods are evaluated on."""
    results = tmp_path_factory.mktemp("run") / "results"
    own = {name: place[2].get(name) for name in PUBLISHED}
    benchmarks = {
        name: BenchmarkConfig(folder=str(place[1] / name), images=images and str(images), tolerance=1)
        for name, images in own.items()
    }
    sizes = dict.fromkeys(("calibration", "diagnosis", "confirmation"), 1)
    data = DataConfig(dataset="flickr8k", folder=str(place[1] / "flickr8k"), sizes=sizes, benchmarks=benchmarks)
    changed = {"results": str(results), "data": data, "evaluation": EvaluationConfig(splits=("test",))}
    config = finished_run()[0].config.model_copy(update=changed)
    tables = {name: results / f"data/{name}.parquet" for name in ("images", "captions", "choices", "questions")}
    places = {"drawn": results / "data/images", "published": results / "data/published"}
    prepare_data(job(config, {}, places | tables))
    files = {name: tables[name] for name in ("images", "choices", "questions")}
    for split in config.test_splits:
        texts, units = (results / f"language/{split}/{name}.parquet" for name in ("texts", "units"))
        read = [read_table(tables[table.name], table) for table in (CAPTIONS, IMAGES, CHOICES, QUESTIONS)]
        parser = load_pipeline(TRAINED / "language/pipeline")
        found = build_texts(*read, parser, split=split, kinds=config.language.negatives, seed=0, every_kind=False)
        write_table(found[0], TEXTS, texts, {})
        write_table(found[1], UNITS, units, {})
        features = {part: results / f"features/{split}/{part}" for part in ("images", "texts")}
        given = {"images": tables["images"], "texts": texts, "readout": TRAINED / "features/readout.parquet"}
        extract_split(job(config, given, features, split=split))
        encoded = results / f"disentangle/{split}/encoded.safetensors"
        given = {name: TRAINED / f"disentangle/{name}.safetensors" for name in ("visual", "text")}
        target = job(config, features | given | {"units": units}, {})
        encode_split(Run(target.input, [str(encoded)], None, target.wildcards, 1, config, {}))
        parts = {"texts": texts, "image_features": features["images"], "text_features": features["texts"]}
        files |= {f"{split}_{part}": path for part, path in (parts | {"encoded": encoded}).items()}
    return config, results, files


def by_item(outcomes):
    """Outcomes by what they are of, without who was measured."""
    own = outcomes.drop(columns=["method", "seed"]).set_index(["benchmark", "measure", "item_id"]).sort_index()
    return own.astype({name: object for name in ("tag", "chosen", "image_id")}).where(own.notna(), None)


def of_the_run(run, method):
    """Outcomes of the run's own job, without the negatives that it makes of captions, and its ranks."""
    config, results, files = run
    calibration = TRAINED / "signal/calibration.parquet"
    given = files | {"calibration": calibration, "checkpoint": TRAINED / f"train/{method}/0/final.safetensors"}
    folder = results / f"evaluate/{method}/0"
    made = {name: folder / f"{name}.parquet" for name in ("outcomes", "reranking", "ranks")}
    evaluate_method(job(config, given, made, method=method))
    found = read_table(made["outcomes"], OUTCOMES)
    assert found["benchmark"].eq("test/negatives").any()
    found = found[found["benchmark"] != "test/negatives"]
    ranks = read_table(made["ranks"], RANKS)
    return by_item(of_dataset(found)), of_dataset(ranks).drop(columns="method")


def of_dataset(found):
    """A table of the run, whose test split `vialign evaluate` calls as the data set."""
    return found.assign(benchmark=found["benchmark"].str.replace("test/", "flickr8k/"))


def test_evaluate_gives_the_outcomes_and_ranks_of_the_runs_jobs_on_every_form(place, run, tmp_path):
    names = [*PUBLISHED, "flickr8k"]
    words = ["evaluate", "--data", place[1], "--tolerance", 1, "--out", tmp_path]
    words += [word for name in names for word in ("--benchmark", name)]
    words += [word for name, folder in place[2].items() for word in ("--images", f"{name}={folder}")]
    plain = ["--model", place[0] / "explain-tiny.json", "--pretrained", "random", "--model", place[0] / "tuned"]
    done = CliRunner().invoke(app, [str(word) for word in (*words, *plain)])
    assert done.exit_code == 0, done.output
    ranks = read_table(tmp_path / "ranks.parquet", RANKS).groupby("method")
    for method, name in (("frozen", "explain-tiny random"), ("vialign", "tuned")):
        files = [tmp_path / f"outcomes/{slug(name)}/{benchmark}.parquet" for benchmark in names]
        measured = by_item(pd.concat([read_table(file, OUTCOMES) for file in files]))
        assert set(measured.index.get_level_values("measure")) == {*MEASURES, *RECALLS}
        outcomes, by_rank = of_the_run(run, method)
        pd.testing.assert_frame_equal(measured, outcomes)
        own = ranks.get_group(name).drop(columns="method").reset_index(drop=True)
        assert len(own) == 2
        pd.testing.assert_frame_equal(own, by_rank)
