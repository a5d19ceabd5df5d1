"""What all commands of `vialign signal` make of their options."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

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
