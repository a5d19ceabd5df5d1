from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.artifacts import read_provenance, read_table, write_table
    from vialign.backbone import load_backbone
    from vialign.data.folders import image_folders
    from vialign.disentangle import load_text, load_visual
    from vialign.language.pipeline import load_pipeline
    from vialign.signal.calibration import read_calibration
    from vialign.tables import BUDGET, IMAGES, TEXTS
    from vialign.training.efficiency import measure_run

    config = run.config
    table = measure_run(
        load_backbone(config.backbone, config.seed),
        read_provenance(run.input.readout)["readout"],
        load_visual(run.input.visual),
        load_text(run.input.text),
        load_pipeline(run.input.pipeline),
        read_calibration(run.input.calibration),
        read_table(run.input.images, IMAGES),
        read_table(run.input.texts, TEXTS),
        image_folders(config.data, Path(run.input.images).parent),
        config,
        methods=run.params.methods,
        at_reference=run.params.at_reference,
    )
    print(table[["method", "backbone", "measure", "value", "low", "high", "limit", "kept"]].to_string())
    write_table(table, BUDGET, run.output[0], run.provenance)
