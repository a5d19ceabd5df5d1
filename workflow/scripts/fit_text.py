from vialign.stage import stage

with stage(snakemake) as run:
    import pandas as pd

    from vialign.artifacts import read_table, write_table
    from vialign.disentangle import encode_images, load_visual, save_text
    from vialign.disentangle.stage import fit_and_measure_text
    from vialign.features import read_images, read_texts
    from vialign.language.gold import gold_units
    from vialign.tables import CAPTIONS, QUALITY, TEXTS, UNITS

    visual = load_visual(run.input.visual)
    texts = {split: read_table(run.input[f"{split}_texts"], TEXTS) for split in ("train", "validation")}
    images = read_images(run.input.train_images)
    text, quality, log = fit_and_measure_text(
        encode_images(visual, images),
        list(images.ids),
        texts,
        {split: read_texts(run.input[f"{split}_features"]) for split in texts},
        {split: read_table(run.input[f"{split}_units"], UNITS) for split in texts},
        gold_units(read_table(run.input.captions, CAPTIONS), texts["validation"]),
        run.config.text,
        domain=run.config.name,
        seed=run.config.seed,
    )
    print(pd.concat([log.head(1), log.iloc[len(log) // 2 : len(log) // 2 + 1], log.tail(1)]).to_string())
    save_text(text, run.output.weights, run.provenance)
    write_table(quality, QUALITY, run.output.quality, run.provenance)
