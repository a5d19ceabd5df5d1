"""`vialign benchmarks`: every benchmark that can be read, what it measures, and what of it is here."""

from pathlib import Path
from typing import Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import Json
from vialign.cli.printing import print_object
from vialign.errors import UserError


def benchmarks(
    files: Annotated[
        list[Path] | None, typer.Argument(help="YAML files of a run whose benchmarks are looked for, if any.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with a folder for each benchmark, named as here."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List every benchmark: what it measures, what guessing reaches, counts, licence, what is here, what text solves.

    What text alone solves is read from the results of the run that the files describe, where it was measured.

    Example: `vialign benchmarks config.yaml --json`
    """
    with one_line_errors():
        from vialign.config.experiment import read_config
        from vialign.data.listing import list_benchmarks, listing_lines, listing_record
        from vialign.files.artifacts import read_table
        from vialign.tables.evaluation import BLIND

        if data is not None and not data.is_dir():
            raise UserError(f"{data}: no such folder; give --data the folder in which those of the benchmarks lie")
        folders: dict[str, Path] = {}
        blind = None
        if files:
            config = read_config(*files)
            folders = {name: Path(source.folder) for name, source in config.data.benchmarks.items()}
            measured = Path(config.results) / "evaluate" / "blind.parquet"
            blind = read_table(measured, BLIND) if measured.is_file() else None
        found = list_benchmarks(folders, data, blind)
        if as_json:
            print_object([listing_record(listed) for listed in found])
        else:
            print("\n\n".join("\n".join(listing_lines(listed)) for listed in found))
