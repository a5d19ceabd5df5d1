"""`vialign explain`: which phrase of a caption found what in an image, on the artifacts of a run."""

from pathlib import Path
from typing import Annotated

import typer

from vialign.cli_errors import one_line_errors
from vialign.config import read_config
from vialign.errors import UserError


def explain(
    image: Annotated[Path, typer.Argument(help="Any image file.")],
    caption: Annotated[str, typer.Argument(help="A caption, in quotes.")],
    out: Annotated[Path, typer.Option(help="Folder for explain.html and explain.png.")],
    results: Annotated[
        Path | None, typer.Option(help="Results of the run to use; without it those that the configuration names.")
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(help="A YAML file of that run's configuration; repeat it for overlays, later ones over earlier."),
    ] = None,
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
        if out.exists() and not out.is_dir():
            raise UserError(f"{out}: is not a folder; choose another name with --out")
        from vialign.analysis.explain import explain_pair, open_run
        from vialign.features.pixels import read_image
        from vialign.report.explain import write_explanation

        # Links are followed first: this file is one that the user named, not one that a table leads to.
        file = image.resolve()
        picture = read_image(file.parent, file.name, image.name)
        run = open_run(given)
        for path in write_explanation(explain_pair(run, picture, caption), run.provenance, out):
            print(f"{path}: written")
