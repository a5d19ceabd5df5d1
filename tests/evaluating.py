"""Calls of `vialign evaluate` on the benchmarks of `benchmark_layouts`, and what they see."""

from PIL import Image
from typer.testing import CliRunner

from vialign.benchmarking.measuring import named_benchmark
from vialign.cli.app import app


def benchmark(place, name, limit=None):
    return named_benchmark(name, place[1], place[2].get(name), limit, strict=False, tolerance=1.0)


def picture_of(asked, row):
    """One image of a benchmark as it is seen: its file, and the part of it."""
    picture = Image.open(asked.folders[row["source"]] / row["path"]).convert("RGB")
    if len(row["crop"]):
        x, y, width, height = row["crop"]
        picture = picture.crop((round(x), round(y), round(x + width), round(y + height)))
    return picture


def evaluate(place, *arguments, names=("winoground", "aro")):
    given = [word for name in names for word in ("--benchmark", name)]
    words = ["evaluate", *given, "--data", place[1], "--tolerance", 1, *arguments]
    return CliRunner().invoke(app, [str(word) for word in words])


def done_again(result):
    """How many measurements a call took as they were."""
    assert result.exit_code == 0, result.output
    return result.stderr.count("is done already")
