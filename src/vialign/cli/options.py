"""Arguments and options that several commands have, each declared once; what one command alone asks stands with it.

Defaults stand with the commands: they may differ where the meaning does not.
"""

from pathlib import Path
from typing import Annotated

import typer

from vialign.config.signal import DRIVERS

# A run: its configuration and its results.
Files = Annotated[list[Path], typer.Argument(help="YAML files, later ones over earlier ones.")]
ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--config", help="A YAML file of the run's configuration; repeat it for overlays, later ones over earlier ones."
    ),
]
Results = Annotated[Path, typer.Argument(help="Results folder of a finished run.")]

# What is printed and written.
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else; of a table, one object a row.")]
PageOut = Annotated[Path, typer.Option(help="HTML file to write; it needs nothing beside it.")]
Into = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="A page whose generated block is written anew; nothing is printed then."
    ),
]

# How a model looks at images, and what is done about those that are broken.
Device = Annotated[str, typer.Option(help="Where the towers run, such as cpu or cuda.")]
TowerBatch = Annotated[int, typer.Option(min=1, help="Images that a tower sees at a time.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first row or image that is missing or broken.")]
Tolerance = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Share of the rows of a kind, or of the images, that may be missing or broken and is skipped.",
    ),
]

# `vialign budget`.
Count = Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Instead of the config's.")]

# `vialign search` and `vialign serve`.
Index = Annotated[Path, typer.Argument(help="Folder that `vialign index` wrote.")]

# `vialign signal`.
Model = Annotated[
    str | None,
    typer.Option(
        help="An open_clip architecture, such as ViT-B-32; vialign-scenes is the demo. Not needed where --units is an "
        "exported folder, which names its own."
    ),
]
Pretrained = Annotated[
    str | None,
    typer.Option(
        help="A safetensors or pt file of its weights, an open_clip tag, `package` (the demo's own weights), or "
        "`random` to try the tool out."
    ),
]
Definition = Annotated[Path | None, typer.Option(help="An open_clip JSON that defines --model.")]
Images = Annotated[Path, typer.Option(help="Folder of images.")]
CaptionsFile = Annotated[Path, typer.Option(help="CSV with columns image, caption and, if wanted, caption_id.")]
Pipeline = Annotated[Path | None, typer.Option(help="Folder of an English spaCy pipeline with tagger and parser.")]
Treebank = Annotated[
    Path | None, typer.Option(help="Universal Dependencies or Penn Treebank folder to train the parser on.")
]
Units = Annotated[
    Path | None,
    typer.Option(help="Folder that `signal fit` or `vialign export` wrote; without it the units are fitted now."),
]
SaveUnits = Annotated[Path | None, typer.Option(help="New folder for the units fitted now.")]
Settings = Annotated[
    Path | None, typer.Option(help="YAML with the sections visual, text, signal, language or features, for the fit.")
]
Readout = Annotated[str | None, typer.Option(help="Patch readout of the fit: final, value, self_self, early or crops.")]
Driver = Annotated[str | None, typer.Option(help=f"Signal to judge, one of {', '.join(DRIVERS)}; consistency is C.")]
FitImages = Annotated[int, typer.Option(min=1, help="Images to fit the units on, at most; never over half of all.")]
Seed = Annotated[int, typer.Option(help="Seed of the division of the images and of the fit.")]
Batch = Annotated[int, typer.Option(min=1, help="Images that are held in memory at a time, with four texts each.")]
Html = Annotated[Path | None, typer.Option(help="Also write what is printed, and the table, as a page.")]
