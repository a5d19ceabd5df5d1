from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.device import device_of
    from vialign.files.artifacts import read_table, write_table
    from vialign.signal.inputs import read_split_features
    from vialign.signal.pairs import build_pairs, calibrate_signal
    from vialign.tables.language import TEXTS
    from vialign.tables.signal import SIGNAL_CALIBRATION

    device = device_of(run.config)
    features = read_split_features(run.input.image_features, run.input.text_features, run.input.encoded, device)
    settings, seed = run.config.signal, run.config.seed
    pairs = build_pairs(read_table(run.input.texts, TEXTS), features.image_ids, ["random"], settings.pairs, seed)
    table = calibrate_signal(pairs, features, settings, seed)
    write_table(table, SIGNAL_CALIBRATION, run.output[0], run.provenance)
