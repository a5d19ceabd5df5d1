from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    import pandas as pd

    from vialign.artifacts import read_table, write_table
    from vialign.backbone import load_backbone
    from vialign.data.folders import image_folders
    from vialign.evaluation.calibration import require_calibration
    from vialign.evaluation.run import validation_outcomes
    from vialign.signal.calibration import read_calibration
    from vialign.tables import CALIBRATION, IMAGES, MONITOR, OUTCOMES, SIGNAL_MONITOR, TRAINING_LOG
    from vialign.training.checkpoint import load_checkpoint, load_trail, save_checkpoint, save_trail
    from vialign.training.inputs import read_split
    from vialign.training.loop import train
    from vialign.training.methods import build_method, learning_rate

    for table in getattr(run.input, "calibrated", []):
        require_calibration(read_table(table, CALIBRATION), run.config.evaluation.calibration.action)
    config, name, seed = run.config, run.wildcards.method, int(run.wildcards.seed)
    backbone = load_backbone(config.backbone, config.seed)
    method = build_method(name, config, backbone, read_calibration(run.input.calibration), seed)
    images = read_table(run.input.images, IMAGES)
    data = {
        split: read_split(
            *(run.input[f"{split}_{part}"] for part in ("texts", "image_features", "text_features", "encoded")),
            needs=method.needs,
            images=images,
            folders=image_folders(config.data, Path(run.input.images).parent),
            backbone=backbone,
        )
        for split in ("train", "validation")
    }
    early = run.params.until == "early"
    result = train(
        method,
        data["train"],
        data["validation"],
        config.training,
        peak_rate=learning_rate(name, config.training),
        seed=seed,
        to_step=config.training.early_steps if early else config.training.steps,
        start=None if early else load_checkpoint(run.input.start),
    )
    log, monitor, signal_monitor, trail = result.log, result.monitor, result.signal_monitor, result.trail
    if early:
        outcomes = validation_outcomes(method, data["validation"], name, seed)
        write_table(outcomes, OUTCOMES, run.output.outcomes, run.provenance)
    else:
        log = pd.concat([read_table(run.input.start_steps, TRAINING_LOG), log])
        monitor = pd.concat([read_table(run.input.start_monitor, MONITOR), monitor])
        signal_monitor = pd.concat([read_table(run.input.start_signal_monitor, SIGNAL_MONITOR), signal_monitor])
        trail = {**load_trail(run.input.start_trail), **trail}
    save_checkpoint(result.checkpoint, run.output.checkpoint, run.provenance)
    write_table(log, TRAINING_LOG, run.output.steps, run.provenance)
    write_table(monitor, MONITOR, run.output.monitor, run.provenance)
    write_table(signal_monitor, SIGNAL_MONITOR, run.output.signal_monitor, run.provenance)
    save_trail(trail, run.output.trail, run.provenance)
