from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.disentangle import encode_images, encode_texts, load_text, load_visual
    from vialign.disentangle.encoded import write_encoded
    from vialign.features import read_images, read_texts
    from vialign.files.artifacts import read_table
    from vialign.tables.language import UNITS

    prototypes = encode_images(load_visual(run.input.visual), read_images(run.input.images))
    phrases = encode_texts(load_text(run.input.text), read_texts(run.input.texts), read_table(run.input.units, UNITS))
    write_encoded(prototypes, phrases, run.output[0], run.provenance)
