"""What all commands of `vialign signal` share: their options, and what is made of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vialign.cli.printing import print_json
from vialign.config.experiment import Config, read_config
from vialign.errors import UserError
from vialign.files.folders import check_free
from vialign.files.paths import PAGE, Output

if TYPE_CHECKING:
    import pandas as pd

    from vialign.backbone import Backbone
    from vialign.tables.schema import Table
    from vialign.toolkit import Captions, Signal

EXPORTED = "config.json"
"""What an exported folder has and a folder of units has not."""

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
Readout = Annotated[str | None, typer.Option(help="Patch readout of the fit: final, value, self_self or early.")]
FitImages = Annotated[int, typer.Option(min=1, help="Images to fit the units on, at most; never over half of all.")]
Seed = Annotated[int, typer.Option(help="Seed of the division of the images and of the fit.")]
Batch = Annotated[int, typer.Option(min=1, help="Images that are held in memory at a time, with four texts each.")]
Tolerance = Annotated[
    float, typer.Option(min=0, max=1, help="Share of the images that may be missing or broken and is skipped.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at an image that is missing or broken.")]
Html = Annotated[Path | None, typer.Option(help="Also write what is printed, and the table, as a page.")]
Device = Annotated[str, typer.Option(help="Where the backbone runs, such as cpu or cuda.")]


def inputs_of(
    images: Path,
    captions: Path,
    pretrained: str | None,
    definition: Path | None,
    pipeline: Path | None,
    treebank: Path | None,
    config: Path | None,
) -> dict[str, Path | str | None]:
    """What a command reads, by the option that names it; a model's tag is no file and is passed over."""
    return {
        "--images": images,
        "--captions": captions,
        "--pretrained": pretrained,
        "--definition": definition,
        "--pipeline": pipeline,
        "--treebank": treebank,
        "--config": config,
    }


def outputs_of(out: Path, save_units: Path | None, html: Path | None = None) -> list[Output]:
    """What a command writes, by the option that names it."""
    units = [] if save_units is None else [Output("--save-units", save_units, None)]
    page = [] if html is None else [Output("--html", html, PAGE)]
    return [Output("--out", out), *units, *page]


def backbone_of(
    model: str | None, pretrained: str | None, definition: Path | None, units: Path | None, device: str
) -> "Backbone":
    """The backbone that is named, or that of an exported folder. Raises UserError where neither is said."""
    if model is None and units is not None and (units / EXPORTED).is_file():
        from vialign.aligner.about import read_about
        from vialign.aligner.folder import open_folder_backbone
        from vialign.toolkit.models import moved

        return cast("Backbone", moved(cast("Any", open_folder_backbone(units, read_about(units), pretrained)), device))
    if model is None or pretrained is None:
        raise UserError(
            "--model and --pretrained: name the model and its weights (for the units of an exported folder: neither)"
        )
    from vialign.toolkit import open_backbone

    return open_backbone(model, pretrained, definition, device)


def show(
    said: str, table: "Table", frame: "pd.DataFrame | None", out: Path, html: Path | None, as_json: bool, command: str
) -> None:
    """What a command found: as text, as JSON or, beside either, as a page. Without `frame` it is read from `out`."""
    from vialign.files.artifacts import read_provenance, read_table, write_text

    if frame is None and (as_json or html is not None):
        frame = read_table(out, table)
    if html is not None and frame is not None:
        from vialign.report.build import with_links
        from vialign.report.signal_page import render_signal

        made = {} if out.suffix.lower() == ".csv" else read_provenance(out)
        page = render_signal(command, said, frame, table, out.name, made)
        write_text(with_links(page, out.parent, html), html)
    if as_json and frame is not None:
        print_json(frame)
        return
    print(said)
    print(f"{out}: written" + ("" if html is None else f"; {html}: written"))


def captions_of(images: Path, captions: Path, strict: bool, tolerance: float) -> "Captions":
    """The captions of a folder. Raises UserError as `read_captions`."""
    from vialign.toolkit import read_captions

    return read_captions(images, captions, strict, tolerance)


def settings_of(file: Path | None, readout: str | None, seed: int, batch: int) -> Config:
    """The configuration of the file, or the default one, with what the options say."""
    config = Config() if file is None else read_config(file)
    features = {"batch": batch} | ({} if readout is None else {"readout": readout})
    return config.model_copy(update={"seed": seed, "features": config.features.model_copy(update=features)})


def signal_of(
    backbone: "Backbone",
    captions: "Captions",
    config: Config,
    units: Path | None,
    save_units: Path | None,
    pipeline: Path | None,
    treebank: Path | None,
    fit_images: int,
) -> "Signal":
    """The units that were given, or new ones, which are saved where wanted."""
    from vialign.toolkit import load_signal, save_signal
    from vialign.toolkit.captions import warn

    if units is not None:
        for option, value in (("--pipeline", pipeline), ("--treebank", treebank), ("--save-units", save_units)):
            if value is not None:
                raise UserError(f"{option}: the units in {units} carry their parser and are saved; leave it out")
        return load_signal(units, backbone)
    if save_units is not None:
        check_free(save_units, "the units")
    warn("no --units given: fitting them on a part of these images first (column used_for says which)")
    signal = fit_units(backbone, captions, config, pipeline, treebank, fit_images)
    if save_units is not None:
        save_signal(signal, save_units)
    return signal


def fit_units(
    backbone: "Backbone",
    captions: "Captions",
    config: Config,
    pipeline: Path | None,
    treebank: Path | None,
    fit_images: int,
) -> "Signal":
    """New units, fitted on a part of the images, with the parser that is given or a small one."""
    from vialign.toolkit import find_parser, fit_signal

    parser = find_parser(pipeline, treebank, config.language, config.seed)
    return fit_signal(backbone, captions, parser, config=config, fit_images=fit_images)
