"""`vialign failures ...`: people look at the failures of a run, and the rules are held against what they say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import ConfigFiles, Json, Results
from vialign.cli.printing import print_json
from vialign.config.experiment import Config, read_config
from vialign.errors import UserError
from vialign.files.paths import Output, check_paths

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    help="Export failed queries for review by people, and read their labels back (docs/failures.md).",
    no_args_is_help=True,
)


@app.command("export")
def failures_export(
    results: Results,
    out: Annotated[Path, typer.Option(help="New folder for sheet.csv and review.html.")],
    per_class: Annotated[int, typer.Option(min=1, help="Failures of each class, at most.")] = 25,
    seed: Annotated[int, typer.Option(help="Seed of the sample and its order.")] = 0,
    config: ConfigFiles = None,
) -> None:
    """Write a review sheet: a CSV and a page with the images, which do not show what class the rules gave.

    Without --config the run is taken to have the default configuration.

    Example: `vialign failures export results --out review --per-class 25`
    """
    with one_line_errors():
        from vialign.analysis.failures.review import sample_failures
        from vialign.files.artifacts import read_table
        from vialign.report.failure_sheet import PAGE, SHEET, export_sheet
        from vialign.report.pictures import open_album
        from vialign.tables.data import IMAGES
        from vialign.tables.failures import FAILURES

        check_paths([Output("--out", out, None)], {"RESULTS": results})
        failures = read_table(results / "analyse/failures.parquet", FAILURES)
        if failures.empty:
            raise UserError(f"{results}: no query failed; there is nothing to review")
        sample = sample_failures(failures, per_class, seed)
        images = read_table(results / "data/images.parquet", IMAGES)
        paths = dict(zip(images["image_id"], images["path"], strict=True))
        missing = export_sheet(sample, paths, open_album(images, results, _config(config)), out)
        if missing:
            print(f"{missing} images were not found; name the run's configuration with --config")
        print(f"{out}: {len(sample)} failures; open {out / PAGE} or fill in {out / SHEET}, then")
        print(f"`vialign failures import {results} {out / SHEET}`")


@app.command("import")
def failures_import(
    results: Results,
    sheets: Annotated[
        list[Path], typer.Argument(help="One sheet, or two of two people; a file's name is the rater's.")
    ],
    config: ConfigFiles = None,
    as_json: Json = False,
) -> None:
    """Read filled-in sheets back: Cohen's kappa between rules and people, written for the report.

    Writes analyse/failure_review.parquet into the results; the next report shows it. Without --config the run is taken
    to have the default configuration.

    Example: `vialign failures import results ada.csv grace.csv`
    """
    with one_line_errors():
        from vialign.analysis.failures.review import RULES, classes_digest, read_sheet, review_table
        from vialign.files.artifacts import read_provenance, read_table, write_table
        from vialign.tables.failures import FAILURE_REVIEW, FAILURES

        if len(sheets) > 2:
            raise UserError(f"{sheets[2]}: a third sheet; one or two are read at a time")
        names = [sheet.stem for sheet in sheets]
        if len({RULES, *names}) <= len(names):
            raise UserError(f"{sheets[-1]}: the file's name stands for the rater and must not occur twice; rename it")
        out = results / "analyse/failure_review.parquet"
        check_paths([Output("RESULTS", out)], {f"SHEET {sheet}": sheet for sheet in sheets})
        path = results / "analyse/failures.parquet"
        failures = read_table(path, FAILURES)
        labels = {name: read_sheet(sheet, failures) for name, sheet in zip(names, sheets, strict=True)}
        settings = _config(config).evaluation
        table = review_table(
            failures, labels, draws=settings.bootstrap, level=settings.level, seed=_config(config).seed
        )
        provenance = read_provenance(path) | {"rule": "failures import", "classes_digest": classes_digest(failures)}
        write_table(table, FAILURE_REVIEW, out, provenance)
        if as_json:
            print_json(table)
            return
        for (first, second), part in table.groupby(["first", "second"], sort=False):
            row = part.iloc[0]
            print(
                f"{first} and {second}: kappa {_kappa(row)}, "
                f"agreed on {100 * row['observed']:.1f} % of {row['items']} failures"
            )
            counts = part.pivot(index="first_label", columns="second_label", values="count")
            order = part["first_label"].unique()
            print(counts.loc[order, order].rename_axis(index=f"{first} \\ {second}", columns=None).to_string())
        print(f"{out}: written")


def _kappa(row: "pd.Series") -> str:
    """Kappa with its interval, of which either may be missing."""
    values = row[["kappa", "low", "high"]].astype(float)
    if values.isna()["kappa"]:
        return "is not defined (both said one and the same class throughout)"
    interval = "" if values.isna().any() else f" [{values['low']:.3f}, {values['high']:.3f}]"
    return f"{values['kappa']:.3f}{interval}"


def _config(files: list[Path] | None) -> Config:
    return read_config(*files) if files else Config()
