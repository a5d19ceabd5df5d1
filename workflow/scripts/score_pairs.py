from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.device import device_of
    from vialign.files.artifacts import read_table, write_table
    from vialign.signal.calibration import read_calibration
    from vialign.signal.inputs import read_split_features
    from vialign.signal.pairs import build_pairs, score_pairs
    from vialign.tables.data import NEGATIVE_KINDS
    from vialign.tables.language import TEXTS
    from vialign.tables.signal import SIGNAL_SCORES

    device = device_of(run.config)
    features = read_split_features(run.input.image_features, run.input.text_features, run.input.encoded, device)
    settings, seed = run.config.signal, run.config.seed
    kinds = ["random", *NEGATIVE_KINDS]
    pairs = build_pairs(read_table(run.input.texts, TEXTS), features.image_ids, kinds, settings.pairs, seed)
    scores = score_pairs(pairs, features, read_calibration(run.input.calibration), settings, seed)
    write_table(scores, SIGNAL_SCORES, run.output[0], run.provenance)
