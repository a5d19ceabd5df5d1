from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.device import device_of
    from vialign.disentangle import encode_images, encode_texts, load_text, load_visual
    from vialign.disentangle.encoded import write_encoded
    from vialign.features import read_images, read_texts
    from vialign.files.artifacts import read_table
    from vialign.tables.language import UNITS

    device, units = device_of(run.config), read_table(run.input.units, UNITS)
    prototypes = encode_images(load_visual(run.input.visual).to(device), read_images(run.input.images))
    phrases = encode_texts(load_text(run.input.text).to(device), read_texts(run.input.texts), units)
    write_encoded(prototypes, phrases, run.output[0], run.provenance)
