from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.artifacts import read_provenance, read_table, write_table
    from vialign.backbone import load_backbone
    from vialign.data.folders import image_folders
    from vialign.disentangle import load_visual
    from vialign.features import load_pixels
    from vialign.signal.calibration import read_calibration
    from vialign.signal.inputs import read_split_features
    from vialign.signal.validation.stress import image_encoder, robustness, stress_curves
    from vialign.tables import IMAGES, SIGNAL_SCORES, STRESS, STRESS_SUMMARY

    backbone = load_backbone(run.config.backbone, run.config.seed)
    features = read_split_features(run.input.image_features, run.input.text_features, run.input.encoded)
    images = read_table(run.input.images, IMAGES).set_index("image_id").loc[list(features.image_ids)].reset_index()
    readout = read_provenance(run.input.readout)["readout"]
    encode = image_encoder(
        lambda pixels: backbone.image_tokens(backbone.normalise(pixels), readout), load_visual(run.input.visual)
    )
    curves = stress_curves(
        load_pixels(images, image_folders(run.config.data, Path(run.input.images).parent), backbone),
        read_table(run.input.scores, SIGNAL_SCORES)[["image_id", "text_id", "kind"]],
        features,
        encode,
        read_calibration(run.input.calibration),
        run.config.signal,
        run.config.seed,
    )
    write_table(curves, STRESS, run.output.curves, run.provenance)
    write_table(robustness(curves), STRESS_SUMMARY, run.output.summary, run.provenance)
