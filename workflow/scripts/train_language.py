from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.files.artifacts import read_table, write_table
    from vialign.language.pipeline import save_pipeline
    from vialign.language.stage import train_language
    from vialign.tables.data import CAPTIONS, IMAGES
    from vialign.tables.language import QUALITY

    captions, images = read_table(run.input.captions, CAPTIONS), read_table(run.input.images, IMAGES)
    nlp, quality = train_language(run.config.language, captions, images, run.config.seed)
    save_pipeline(nlp, run.output.pipeline, run.provenance)
    write_table(quality, QUALITY, run.output.quality, run.provenance)
