"""`vialign explain`: which phrase of a caption found what in an image, on the artifacts of a run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import ConfigFiles
from vialign.config.experiment import read_config
from vialign.errors import UserError
from vialign.files.paths import PAGE, PNG, Output, check_paths

MADE = {"explain.html": PAGE, "explain.png": PNG}
"""Files that are written, and how each begins."""


def explain(
    image: Annotated[Path, typer.Argument(help="Any image file.")],
    caption: Annotated[str, typer.Argument(help="A caption, in quotes.")],
    out: Annotated[Path, typer.Option(help="Folder for explain.html and explain.png.")],
    results: Annotated[
        Path | None, typer.Option(help="Results of the run to use; without it those that the configuration names.")
    ] = None,
    config: ConfigFiles = None,
) -> None:
    """Draw what each phrase of a caption matches in an image, with every number of the signal, as HTML and PNG.

    Works on the artifacts of a run: its disentanglers, calibration and parser and, where they are, trained methods.
    Without --config it reads config.yaml. Files of an earlier explanation in the folder are replaced.

    Example: `vialign explain photo.jpg "a red circle above a blue square" --out explained`
    """
    with one_line_errors():
        given = read_config(*(config or [Path("config.yaml")]))
        if results is not None:
            given = given.model_copy(update={"results": str(results)})
        if not image.is_file():
            raise UserError(f"{image}: no such image file")
        if not caption.strip():
            raise UserError('explain: the caption is empty; give one in quotes, such as "a dog on a sofa"')
        made = [Output("--out", out, None), *(Output("--out", out / name, kind) for name, kind in MADE.items())]
        check_paths(made, {"IMAGE": image, "--results": results} | {f"--config {file}": file for file in config or []})
        from vialign.analysis.explain import explain_pair, open_run
        from vialign.files.images import Changes, open_image
        from vialign.report.explain import write_explanation

        decoded, changes = open_image(image, own=True), Changes()
        changes.add(image.name, decoded.changes)
        for _, text in changes.lines(own=True):
            print(f"vialign: 1 images {text} ({image.name})", file=sys.stderr)
        run = open_run(given)
        for path in write_explanation(explain_pair(run, decoded.picture, caption), run.provenance, out):
            print(f"{path}: written")
