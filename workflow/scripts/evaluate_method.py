from pathlib import Path

from vialign.stage import stage

with stage(snakemake) as run:
    import pandas as pd

    from vialign.artifacts import read_table, write_table
    from vialign.backbone import load_backbone
    from vialign.data.registry import image_folder
    from vialign.evaluation.run import evaluate
    from vialign.signal.calibration import read_calibration
    from vialign.tables import CHOICES, IMAGES, OUTCOMES, QUESTIONS
    from vialign.training.checkpoint import load_best
    from vialign.training.inputs import read_split
    from vialign.training.methods import NEEDS, build_method

    config, name, seed = run.config, run.wildcards.method, int(run.wildcards.seed)
    backbone = load_backbone(config.backbone, config.seed)
    method = build_method(name, config, backbone, read_calibration(run.input.calibration), seed)
    load_best(method, run.input.checkpoint)
    images = read_table(run.input.images, IMAGES)
    choices, questions = read_table(run.input.choices, CHOICES), read_table(run.input.questions, QUESTIONS)
    frames = []
    for split in config.evaluation.splits:
        data = read_split(
            *(run.input[f"{split}_{part}"] for part in ("texts", "image_features", "text_features", "encoded")),
            needs=NEEDS[name],
            images=images,
            folder=image_folder(config.data, Path(run.input.images).parent),
            backbone=backbone,
        )
        frames.append(evaluate(method, data, choices, questions, split, name, seed, config.evaluation.gallery_batch))
    write_table(pd.concat(frames), OUTCOMES, run.output[0], run.provenance)
