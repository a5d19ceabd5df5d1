"""`vialign frontier`: published checkpoints, and the methods of a run among them."""

from pathlib import Path
from typing import Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import PageOut
from vialign.cli.report import config_of, provenance_of
from vialign.config.experiment import Config
from vialign.files.paths import PAGE, Output, check_paths


def frontier(
    published: Annotated[Path, typer.Option(help="CSV with a row a checkpoint, as vl_compo's results.csv.")],
    results: Annotated[
        Path | None, typer.Option(help="Results folder of a run whose methods are drawn where benchmarks are the same.")
    ] = None,
    out: PageOut = Path("frontier.html"),
    base: Annotated[
        str, typer.Option(help="What the tuned checkpoints started from: `architecture, checkpoint`.")
    ] = "ViT-B-32, openai",
) -> None:
    """Draw retrieval against composition over published checkpoints, and what tuning for composition costs.

    Example: `vialign frontier --published results.csv --results results --out frontier.html`
    """
    with one_line_errors():
        from vialign.evaluation.frontier import read_frontier
        from vialign.report.frontier import build_frontier

        check_paths([Output("--out", out, PAGE)], {"--published": published, "--results": results})
        config = Config() if results is None else config_of(results, None)
        found = read_frontier(published)
        build_frontier(found, base, out, provenance_of(config, "vialign.report.frontier"), results, config)
        print(f"{out}: {len(found.table)} checkpoints drawn")
