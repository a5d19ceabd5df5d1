"""`vialign report ...`: the page of a finished run again, and two runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import PageOut
from vialign.config.experiment import Config, read_config
from vialign.errors import UserError
from vialign.files.paths import PAGE, Output, check_paths

app = typer.Typer(help="Draw the report of a finished run again, or two runs side by side.", no_args_is_help=True)


@app.command("build")
def report_build(
    results: Annotated[Path, typer.Argument(help="Results folder of a run, finished or stopped by a gate.")],
    config: Annotated[
        list[Path] | None,
        typer.Argument(help="The run's YAML files, later ones over earlier ones; without any, its own record of them."),
    ] = None,
    out: PageOut = Path("report.html"),
) -> None:
    """Draw the report from the tables of a run, without Snakemake.

    Example: `vialign report build results --out report.html`
    """
    with one_line_errors():
        from vialign.report.build import build_report

        files = config or []
        check_paths([Output("--out", out, PAGE)], {"RESULTS": results} | {f"CONFIG {file}": file for file in files})
        settings = config_of(results, files)
        build_report(results, settings, out, provenance_of(settings, "vialign.report.build"))
        print(f"{out}: written")


@app.command("compare")
def report_compare(
    run_a: Annotated[Path, typer.Argument(help="Results folder of the first run, A.")],
    run_b: Annotated[Path, typer.Argument(help="Results folder of the second run, B.")],
    out: PageOut = Path("comparison.html"),
) -> None:
    """Set two runs side by side: configuration, gates, results with differences, budget and signal.

    Example: `vialign report compare results/scenes results/larger --out comparison.html`
    """
    with one_line_errors():
        from vialign.report.side_by_side import build_comparison

        check_paths([Output("--out", out, PAGE)], {"RUN_A": run_a, "RUN_B": run_b})
        build_comparison(run_a, run_b, out, provenance_of(Config(), "vialign.report.side_by_side"))
        print(f"{out}: written; differences are {run_b} minus {run_a}")


def config_of(results: Path, files: list[Path] | None) -> Config:
    """The configuration of a run: of these files, else the run's own record; None where a command takes no files.

    Raises UserError where there is none.
    """
    from vialign.report.runs import CONFIG

    if files:
        return read_config(*files)
    stored = results / CONFIG
    if not stored.exists():
        mend = "give the folder of a run that has a report"
        raise UserError(
            f"{stored}: no such file; "
            + (mend if files is None else f"name the run's configuration files after {results}")
        )
    return read_config(stored)


def provenance_of(config: Config, module: str) -> dict[str, str]:
    """What made a page: the configuration, the code that `module` reaches, the versions."""
    from vialign.digest import code_digest
    from vialign.stage import make_provenance

    return make_provenance(config, "vialign report", code_digest(module))
