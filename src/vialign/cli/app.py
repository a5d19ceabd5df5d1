"""`vialign ...`: small tools around a run. The run itself is `snakemake`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from vialign import __version__
from vialign.cli.benchmarks import benchmarks
from vialign.cli.budget import budget
from vialign.cli.collection import index, search, serve
from vialign.cli.compare import compare
from vialign.cli.errors import one_line_errors
from vialign.cli.evaluate import evaluate
from vialign.cli.explain import explain
from vialign.cli.export import export
from vialign.cli.failures import app as failures_app
from vialign.cli.frontier import frontier
from vialign.cli.init import init
from vialign.cli.options import Files, Into, Json
from vialign.cli.printing import print_object
from vialign.cli.report import app as report_app
from vialign.cli.signal import app as signal_app
from vialign.config.experiment import digest, read_config
from vialign.data.folders import check_run_folders
from vialign.errors import UserError
from vialign.files.artifacts import read_provenance, write_text
from vialign.files.locks import end_cleanly
from vialign.files.paths import ANY, Output, check_paths, check_space
from vialign.files.text import any_console, print_page, read_text, with_block


class _AnyConsole(typer.Typer):
    """The application as it is started from a console, which may have any encoding: also for its help."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        any_console()
        return super().__call__(*args, **kwargs)


app = _AnyConsole(no_args_is_help=True, pretty_exceptions_enable=False)
config_app = typer.Typer(help="Check configurations.", no_args_is_help=True)
data_app = typer.Typer(help="Look after data sets.", no_args_is_help=True)
results_app = typer.Typer(help="Ask results where they come from.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")
app.add_typer(signal_app, name="signal")
app.add_typer(failures_app, name="failures")
app.add_typer(report_app, name="report")
app.command("benchmarks")(benchmarks)
app.command("budget")(budget)
app.command("compare")(compare)
app.command("explain")(explain)
app.command("frontier")(frontier)
app.command("evaluate")(evaluate)
app.command("export")(export)
app.command("index")(index)
app.command("init")(init)
app.command("search")(search)
app.command("serve")(serve)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"vialign {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Small tools around a run. The run itself is `snakemake`.

    Start with `vialign config check config.yaml`, then `snakemake --cores all all`; the documentation is in docs/.
    """
    end_cleanly()


@config_app.command("check")
def config_check(files: Files) -> None:
    """Check configuration files as one experiment, as a run of them does, and print its digest.

    Example: `vialign config check config.yaml configs/paper.yaml`
    """
    with one_line_errors():
        config = read_config(*files)
        check_run_folders(config)
        print(f"{config.name}: valid, digest {digest(config)}")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of a configuration, for editors that complete and check YAML.

    Example: `vialign config schema > config.schema.json`
    """
    print_page(schema_text())


@config_app.command("reference")
def config_reference() -> None:
    """Print every key of the configuration as Markdown: its type, its default and what it means.

    Example: `vialign config reference > docs/configuration.md`
    """
    from vialign.config.reference import reference_page

    print_page(reference_page())


@data_app.command("check")
def data_check(files: Files, as_json: Json = False) -> None:
    """Read every data set that a configuration names: what is there, how much of it, what is wrong, how to get it.

    Exit status 1 when one is missing.

    Example: `vialign data check config.yaml configs/paper.yaml`
    """
    from vialign.data.checking import check_lines, check_sources

    with one_line_errors():
        missing, rows = 0, []
        for report in check_sources(read_config(*files)):
            missing += report.missing is not None
            if not as_json:
                print("\n".join(check_lines(report)), flush=True)
                continue
            found = {"name": report.name, "key": report.key, "missing": report.missing, "counts": dict(report.counts)}
            rows.append({**found, "problems": 0 if report.problems is None else len(report.problems)})
        if as_json:
            print_object(rows)
        if missing:
            raise UserError(f"{missing} of the data sets are missing or cannot be read; see above and docs/data.md")


@data_app.command("notes")
def data_notes(into: Into = None) -> None:
    """Print, as Markdown, every data set that can be read: how to get it, its files, its published counts.

    Example: `vialign data notes --into docs/data.md`
    """
    from vialign.data.checking import MARKS, notes_markdown

    _print_or_write(into, MARKS, notes_markdown())


@data_app.command("unpack")
def data_unpack(
    benchmark: Annotated[str, typer.Argument(help="The benchmark: `winoground`, `bivlc` or `colorswap`.")],
    folder: Annotated[Path, typer.Argument(help="The folder with the Parquet file or its parts; it gets the images.")],
) -> None:
    """Make the folder that the reader wants from the packed form that a data hub serves.

    Example: `vialign data unpack winoground data/winoground`
    """
    from functools import partial

    from vialign.data.benchmarks import bivlc, colorswap, winoground
    from vialign.data.benchmarks.packed import find_parquet, unpack

    unpackers: dict[str, tuple[str, Callable[[Sequence[Path], Path], int]]] = {
        "winoground": (winoground.EXAMPLES, winoground.unpack_parquet),
        "bivlc": (bivlc.FILE, partial(unpack, bivlc.PACKED)),
        "colorswap": (colorswap.UNPACKED, partial(unpack, colorswap.PACKED)),
    }
    with one_line_errors():
        if benchmark not in unpackers:
            raise UserError(f"data unpack: {benchmark!r} does not come packed; {', '.join(unpackers)} do")
        text, unpack_parts = unpackers[benchmark]
        packed = find_parquet(folder, benchmark)
        if not packed:
            raise UserError(f"{benchmark}: {folder}: has no test-*.parquet; download it as docs/data.md says")
        made = [Output("FOLDER", folder / "images", None), Output("FOLDER", folder / text, ANY)]
        check_paths(made, {f"the packed file {number}": path for number, path in enumerate(packed)})
        check_space(folder, sum(path.stat().st_size for path in packed), "the images")
        names = ", ".join(str(path) for path in packed)
        print(f"{unpack_parts(packed, folder)} items of {names} unpacked to {folder}")


@data_app.command("order")
def data_order(
    captions: Annotated[Path, typer.Argument(help="`data/captions.parquet` of a run.")],
    images: Annotated[Path, typer.Argument(help="`data/images.parquet` of the same run.")],
    pipeline: Annotated[Path, typer.Argument(help="`language/pipeline` of a run: the tagger.")],
    output: Annotated[Path, typer.Argument(help="File to write, such as aro_coco_order.jsonl; its stem is the name.")],
    seed: Annotated[int, typer.Option(help="Seed of the shuffles.")] = 0,
) -> None:
    """Freeze word-order perturbations of the test captions, for `data.order_files`.

    Example: `vialign data order results/paper/data/captions.parquet results/paper/data/images.parquet
    results/paper/language/pipeline aro_coco_order.jsonl`
    """
    from vialign.data.benchmarks.aro_order import build_order_file
    from vialign.files.artifacts import read_table
    from vialign.language.pipeline import load_pipeline, tag_texts
    from vialign.tables.data import CAPTIONS, IMAGES

    with one_line_errors():
        if output.exists():
            raise UserError(f"{output}: exists; perturbations are written once, so choose another name")
        check_paths([Output("OUTPUT", output, ANY)], {"CAPTIONS": captions, "IMAGES": images, "PIPELINE": pipeline})
        shown = read_table(images, IMAGES)
        test = set(shown.loc[shown["split"] == "test", "image_id"])
        told = read_table(captions, CAPTIONS)
        nlp = load_pipeline(pipeline)
        build_order_file(
            told[told["image_id"].isin(test)], output, seed, output.stem, lambda texts: tag_texts(nlp, texts)
        )
        print(f"{output}: written; name it in data.order_files and keep it")


@app.command("methods")
def methods(into: Into = None, as_json: Json = False) -> None:
    """Print, as Markdown, every method that can be trained: what it trains, reads and is told.

    Example: `vialign methods --into docs/methods.md`
    """
    from vialign.catalogue import METHODS
    from vialign.methods import listing

    if as_json:
        print_object([asdict(method) for method in METHODS.values()])
        return
    _print_or_write(into, listing.MARKS, listing.listing())


@results_app.command("list")
def results_list(into: Into = None, as_json: Json = False) -> None:
    """Print, as Markdown, every table that a run writes, and the rule that makes it.

    Example: `vialign results list --into docs/architecture.md`
    """
    from vialign import results

    if as_json:
        print_object(results.records())
        return
    _print_or_write(into, results.MARKS, results.listing())


def _print_or_write(into: Path | None, marks: tuple[str, str], block: str) -> None:
    with one_line_errors():
        if into is None:
            print_page(block)
        else:
            check_paths([Output("--into", into, ANY)], {})
            write_text(with_block(read_text(into), str(into), marks, block), into)


@results_app.command("provenance")
def results_provenance(
    path: Annotated[Path, typer.Argument(help="A Parquet or safetensors file of a run.")],
    as_json: Json = False,
) -> None:
    """Print what made an artifact: rule, config, code, backbone, seed, versions.

    Example: `vialign results provenance results/signal/scores.parquet`
    """
    with one_line_errors():
        provenance = read_provenance(path)
        if not provenance:
            raise UserError(f"{path}: carries no provenance of vialign; it was made by something else")
        if as_json:
            print_object(provenance)
            return
        for name, value in sorted(provenance.items()):
            print(f"{name}: {value}")


def schema_text() -> str:
    """The JSON schema as it is kept in `workflow/schemas/config.schema.json`."""
    from vialign.config.reference import config_schema

    return json.dumps(config_schema(), indent=2) + "\n"


if __name__ == "__main__":
    app()
