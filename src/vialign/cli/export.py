"""`vialign export ...`: a trained method as a folder that stands alone."""

from pathlib import Path
from typing import Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import ConfigFiles, Results
from vialign.files.folders import check_free
from vialign.files.paths import Output, check_paths


def export(
    results: Results,
    out: Annotated[Path, typer.Option(help="New folder.")],
    method: Annotated[str, typer.Option(help="A method that the run trained (docs/methods.md).")] = "vialign",
    seed: Annotated[int | None, typer.Option(help="Seed of the training; without it the run's first.")] = None,
    config: ConfigFiles = None,
    with_backbone: Annotated[
        bool, typer.Option("--with-backbone", help="Put the backbone's weights into the folder too.")
    ] = False,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold", help="Also write an open_clip checkpoint with the method inside its weights, where that is exact."
        ),
    ] = False,
) -> None:
    """Write a trained method as a folder that stands alone: weights, tokenizer, parser, calibration and a model card.

    Without --config the configuration is the copy that the results hold.

    The backbone is referred to by its digest unless --with-backbone. Use the folder with `vialign.load` in Python, or
    as the units of `vialign signal score`. With --fold the folder `open_clip` in it is what any program that loads
    open_clip reads (`local-dir:FOLDER/open_clip`), with its tokenizer; a method that is no linear change of the
    weights is refused.

    Example: `vialign export results --method vialign --out exported`
    """
    with one_line_errors():
        check_paths(
            [Output("--out", out, None)], {"RESULTS": results} | {f"--config {file}": file for file in config or []}
        )
        check_free(out, "the export")
        from vialign.aligner.export import aligner_of_run, run_config, write_export

        aligner = aligner_of_run(run_config(results, config), method, seed)
        write_export(aligner, out, with_backbone, fold)
        print(f"{out}: {method}, ready for vialign.load({str(out)!r})")
        if fold:
            print(
                f"{out}/open_clip: the same inside the weights of an open_clip model, checked on random inputs; its "
                "README.md says how to open it"
            )
