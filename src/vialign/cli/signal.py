"""`vialign signal ...`: the signal as a tool, on any open_clip model and any folder of captioned images."""

from pathlib import Path
from typing import Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import (
    Batch,
    CaptionsFile,
    Definition,
    Device,
    Driver,
    FitImages,
    Html,
    Images,
    Json,
    Model,
    Pipeline,
    Pretrained,
    Readout,
    SaveUnits,
    Seed,
    Settings,
    Strict,
    Tolerance,
    Treebank,
    Units,
)
from vialign.cli.signal_shared import (
    backbone_of,
    captions_of,
    fit_units,
    inputs_of,
    outputs_of,
    settings_of,
    show,
    signal_of,
)
from vialign.files.folders import check_free
from vialign.files.paths import ANY, TABLE, Output, check_paths

app = typer.Typer(
    help="Score any images and captions, and verify the score before you use it (docs/signal-toolkit.md).",
    no_args_is_help=True,
)


@app.command("example")
def signal_example(
    folder: Annotated[Path, typer.Argument(help="New folder: images/ and captions.csv.")],
    images: Annotated[int, typer.Option(min=1, help="Images to draw.")] = 240,
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
) -> None:
    """Draw a folder of captioned images to try the tool out on, with the demo backbone.

    Use it with `--model vialign-scenes --pretrained package --images shapes/images --captions shapes/captions.csv`.

    Example: `vialign signal example shapes`
    """
    with one_line_errors():
        from vialign.toolkit.example import draw_example

        check_paths([Output("FOLDER", folder / "images", None), Output("FOLDER", folder / "captions.csv", ANY)], {})
        print(f"{draw_example(folder, images, seed)}: captions of {images} images in {folder / 'images'}")


@app.command("fit")
def signal_fit(
    images: Images,
    captions: CaptionsFile,
    out: Annotated[Path, typer.Option(help="New folder for the units.")],
    model: Model = None,
    pretrained: Pretrained = None,
    definition: Definition = None,
    pipeline: Pipeline = None,
    treebank: Treebank = None,
    config: Settings = None,
    readout: Readout = None,
    fit_images: FitImages = 1000,
    seed: Seed = 0,
    batch: Batch = 32,
    strict: Strict = False,
    tolerance: Tolerance = 0.05,
    device: Device = "cpu",
) -> None:
    """Fit the units and the calibration of a signal on a part of the images.

    Example: `vialign signal fit --model ViT-B-32 --pretrained weights.safetensors --images photos --captions
    captions.csv --pipeline en_pipeline --out units`
    """
    with one_line_errors():
        from vialign.toolkit import save_signal

        inputs = inputs_of(images, captions, pretrained, definition, pipeline, treebank, config)
        check_paths([Output("--out", out, None)], inputs)
        check_free(out, "the units")
        backbone = backbone_of(model, pretrained, definition, None, device)
        given = captions_of(images, captions, strict, tolerance)
        settings = settings_of(config, readout, seed, batch)
        save_signal(fit_units(backbone, given, settings, pipeline, treebank, fit_images), out)
        print(
            f"{out}: units of {backbone.contract['architecture']}; "
            f"use them with `vialign signal score --units {out} ...`"
        )


@app.command("score")
def signal_score(
    images: Images,
    captions: CaptionsFile,
    out: Annotated[Path, typer.Option(help="Parquet file to write, one row a caption.")],
    model: Model = None,
    pretrained: Pretrained = None,
    units: Units = None,
    save_units: SaveUnits = None,
    html: Html = None,
    as_json: Json = False,
    definition: Definition = None,
    pipeline: Pipeline = None,
    treebank: Treebank = None,
    config: Settings = None,
    readout: Readout = None,
    fit_images: FitImages = 1000,
    seed: Seed = 0,
    batch: Batch = 32,
    strict: Strict = False,
    tolerance: Tolerance = 0.05,
    device: Device = "cpu",
) -> None:
    """Score every image with its captions: global and local similarity, their consistency and agreement.

    Example: `vialign signal score --model ViT-B-32 --pretrained weights.safetensors --images photos --captions
    captions.csv --out scores.parquet`
    """
    with one_line_errors():
        from vialign.tables.signal import TOOLKIT_SCORES
        from vialign.toolkit import score_signal

        inputs = inputs_of(images, captions, pretrained, definition, pipeline, treebank, config)
        check_paths(outputs_of(out, save_units, html), {**inputs, "--units": units})
        given = captions_of(images, captions, strict, tolerance)
        backbone = backbone_of(model, pretrained, definition, units, device)
        settings = settings_of(config, readout, seed, batch)
        signal = signal_of(backbone, given, settings, units, save_units, pipeline, treebank, fit_images)
        said = str(score_signal(signal, given, out, batch))
        show(said, TOOLKIT_SCORES, None, out, html, as_json, "score")


@app.command("diagnose")
def signal_diagnose(
    images: Images,
    captions: CaptionsFile,
    out: Annotated[Path, typer.Option(help="Parquet file to write, one row a signal and kind of wrong caption.")],
    model: Model = None,
    pretrained: Pretrained = None,
    driver: Driver = None,
    units: Units = None,
    save_units: SaveUnits = None,
    html: Html = None,
    as_json: Json = False,
    definition: Definition = None,
    pipeline: Pipeline = None,
    treebank: Treebank = None,
    config: Settings = None,
    readout: Readout = None,
    fit_images: FitImages = 1000,
    seed: Seed = 0,
    batch: Batch = 32,
    strict: Strict = False,
    tolerance: Tolerance = 0.05,
    device: Device = "cpu",
) -> None:
    """Verify a signal before you use it: captions against random ones and rule-made wrong ones, on unused images.

    Exit status 0 whatever the verdict is.

    Example: `vialign signal diagnose --model ViT-B-32 --pretrained weights.safetensors --images photos --captions
    captions.csv --units units --out diagnosis.parquet`
    """
    with one_line_errors():
        from vialign.files.artifacts import write_table
        from vialign.tables.signal import DIAGNOSIS
        from vialign.toolkit import diagnose_signal

        inputs = inputs_of(images, captions, pretrained, definition, pipeline, treebank, config)
        check_paths(outputs_of(out, save_units, html), {**inputs, "--units": units})
        given = captions_of(images, captions, strict, tolerance)
        backbone = backbone_of(model, pretrained, definition, units, device)
        settings = settings_of(config, readout, seed, batch)
        signal = signal_of(backbone, given, settings, units, save_units, pipeline, treebank, fit_images)
        diagnosis = diagnose_signal(signal, given, driver=driver, gate=settings.gates.signal, seed=seed, batch=batch)
        write_table(diagnosis.table, DIAGNOSIS, out, signal.provenance)
        show(str(diagnosis), DIAGNOSIS, diagnosis.table, out, html, as_json, "diagnose")


@app.command("attribute")
def signal_attribute(
    images: Images,
    captions: CaptionsFile,
    out: Annotated[Path, typer.Option(help="Parquet file to write, one row a replacement and measure.")],
    model: Model = None,
    pretrained: Pretrained = None,
    seeds: Annotated[int, typer.Option(min=2, help="Training seeds; each replacement is trained once with each.")] = 5,
    measured: Annotated[int, typer.Option(min=20, help="Unused images to measure on, at most.")] = 500,
    units: Units = None,
    save_units: SaveUnits = None,
    html: Html = None,
    as_json: Json = False,
    definition: Definition = None,
    pipeline: Pipeline = None,
    treebank: Treebank = None,
    config: Settings = None,
    readout: Readout = None,
    fit_images: FitImages = 1000,
    seed: Seed = 0,
    batch: Batch = 32,
    strict: Strict = False,
    tolerance: Tolerance = 0.05,
) -> None:
    """Find out what carries a gain: train with the driver or the local part replaced, measured on unused images.

    Exit status 0 whatever carries it.

    Example: `vialign signal attribute --model ViT-B-32 --pretrained weights.safetensors --images photos --captions
    captions.csv --units units --out attribution.parquet`
    """
    with one_line_errors():
        from vialign.analysis.attribution.folder import attribute_signal
        from vialign.files.artifacts import write_table
        from vialign.tables.attribution import ATTRIBUTION

        inputs = inputs_of(images, captions, pretrained, definition, pipeline, treebank, config)
        check_paths(outputs_of(out, save_units, html), {**inputs, "--units": units})
        given = captions_of(images, captions, strict, tolerance)
        backbone = backbone_of(model, pretrained, definition, units, "cpu")
        settings = settings_of(config, readout, seed, batch)
        signal = signal_of(backbone, given, settings, units, save_units, pipeline, treebank, fit_images)
        found = attribute_signal(
            signal, given, config=settings, seeds=range(seeds), images=measured, seed=seed, batch=batch
        )
        write_table(found.table, ATTRIBUTION, out, signal.provenance)
        show(str(found), ATTRIBUTION, found.table, out, html, as_json, "attribute")


@app.command("stress")
def signal_stress(
    images: Images,
    captions: CaptionsFile,
    out: Annotated[Path, typer.Option(help="Parquet file to write, one row a disturbance, strength, signal and kind.")],
    model: Model = None,
    pretrained: Pretrained = None,
    driver: Driver = None,
    stress_images: Annotated[
        int, typer.Option(min=1, help="Images to disturb; each is encoded some sixty times.")
    ] = 60,
    units: Units = None,
    save_units: SaveUnits = None,
    html: Html = None,
    as_json: Json = False,
    definition: Definition = None,
    pipeline: Pipeline = None,
    treebank: Treebank = None,
    config: Settings = None,
    readout: Readout = None,
    fit_images: FitImages = 1000,
    seed: Seed = 0,
    batch: Batch = 32,
    strict: Strict = False,
    tolerance: Tolerance = 0.05,
) -> None:
    """Test a signal under attacks, corruptions, typos, word order and word substitution, on unused images.

    Example: `vialign signal stress --model ViT-B-32 --pretrained weights.safetensors --images photos --captions
    captions.csv --units units --out stress.parquet`
    """
    with one_line_errors():
        from vialign.files.artifacts import write_table
        from vialign.tables.signal import STRESS
        from vialign.toolkit import stress_signal

        inputs = inputs_of(images, captions, pretrained, definition, pipeline, treebank, config)
        check_paths(outputs_of(out, save_units, html), {**inputs, "--units": units})
        given = captions_of(images, captions, strict, tolerance)
        backbone = backbone_of(model, pretrained, definition, units, "cpu")
        settings = settings_of(config, readout, seed, batch)
        signal = signal_of(backbone, given, settings, units, save_units, pipeline, treebank, fit_images)
        stress = stress_signal(signal, given, driver=driver, images=stress_images, seed=seed)
        write_table(stress.curves, STRESS, out, signal.provenance)
        show(str(stress), STRESS, stress.curves, out, html, as_json, "stress")


@app.command("trust")
def signal_trust(
    images: Images,
    captions: CaptionsFile,
    out: Annotated[Path, typer.Option(help="File to write, one row a predictor: CSV where it ends so, else Parquet.")],
    model: Model = None,
    pretrained: Pretrained = None,
    curves: Annotated[
        Path | None, typer.Option(help="Another such file, for the risk-coverage curves with their intervals.")
    ] = None,
    trust_images: Annotated[
        int,
        typer.Option(min=20, help="Images of the gallery at most, all held in memory with their captions."),
    ] = 1000,
    units: Units = None,
    save_units: SaveUnits = None,
    html: Html = None,
    as_json: Json = False,
    definition: Definition = None,
    pipeline: Pipeline = None,
    treebank: Treebank = None,
    config: Settings = None,
    readout: Readout = None,
    fit_images: FitImages = 1000,
    seed: Seed = 0,
    batch: Batch = 32,
    strict: Strict = False,
    tolerance: Tolerance = 0.05,
    device: Device = "cpu",
) -> None:
    """Learn which numbers tell that the top answer of a search is wrong, on unused images, in both directions.

    Simple confidences, whether the answer leads back, C, agreement and H_local, and the rank that the local look gives
    the answer; alone, and combined by a regression that is cross-validated by image. Exit status 0 whatever comes out.

    Example: `vialign signal trust --model ViT-B-32 --pretrained weights.safetensors --images photos --captions
    captions.csv --units units --out trust.parquet`
    """
    with one_line_errors():
        from vialign.tables.signal import TRUST, TRUST_CURVES
        from vialign.toolkit import trust_signal
        from vialign.toolkit.trusting import write_trust

        inputs = inputs_of(images, captions, pretrained, definition, pipeline, treebank, config)
        tables = [Output("--out", out, _begins(out))]
        tables += [] if curves is None else [Output("--curves", curves, _begins(curves))]
        check_paths([*tables, *outputs_of(out, save_units, html)[1:]], {**inputs, "--units": units})
        given = captions_of(images, captions, strict, tolerance)
        backbone = backbone_of(model, pretrained, definition, units, device)
        settings = settings_of(config, readout, seed, batch)
        signal = signal_of(backbone, given, settings, units, save_units, pipeline, treebank, fit_images)
        trust = trust_signal(signal, given, images=trust_images, seed=seed, batch=batch)
        write_trust(trust.table, TRUST, out, signal.provenance)
        if curves is not None:
            write_trust(trust.curves, TRUST_CURVES, curves, signal.provenance)
        show(str(trust), TRUST, trust.table, out, html, as_json, "trust")


def _begins(path: Path) -> bytes:
    """How an earlier output of that name begins."""
    return ANY if path.suffix.lower() == ".csv" else TABLE
