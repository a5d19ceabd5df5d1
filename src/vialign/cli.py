"""`vialign ...`: small tools around a run. The run itself is `snakemake`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vialign.artifacts import read_provenance
from vialign.config import Config, digest, read_config
from vialign.errors import UserError

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
config_app = typer.Typer(help="Check configurations.", no_args_is_help=True)
results_app = typer.Typer(help="Ask results where they come from.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(results_app, name="results")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show a user's error as its one line, with exit status 1 and no traceback."""
    try:
        yield
    except UserError as error:
        print(f"vialign: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@config_app.command("check")
def config_check(
    files: Annotated[list[Path], typer.Argument(help="YAML files, later ones over earlier ones.")],
) -> None:
    """Check configuration files as one experiment and print its digest."""
    with one_line_errors():
        config = read_config(*files)
        print(f"{config.name}: valid, digest {digest(config)}")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of a configuration."""
    print(schema_text(), end="")


@results_app.command("provenance")
def results_provenance(
    path: Annotated[Path, typer.Argument(help="A Parquet or safetensors file of a run.")],
) -> None:
    """Print what made an artifact: rule, config, code, backbone, seed, versions."""
    with one_line_errors():
        provenance = read_provenance(path)
        if not provenance:
            raise UserError(f"{path}: carries no provenance of vialign; it was made by something else")
        for name, value in sorted(provenance.items()):
            print(f"{name}: {value}")


def schema_text() -> str:
    """The JSON schema as it is kept in `workflow/schemas/config.schema.json`."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    app()
