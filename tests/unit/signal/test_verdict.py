import os

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from vialign.config.gates import SignalGateConfig
from vialign.config.signal import SignalConfig
from vialign.gates.signal import signal_verdict
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import build_pairs, calibrate_signal, score_pairs
from vialign.signal.validation.diagnosis import diagnose
from vialign.signal.validation.probe import ProbeData, run_probe
from vialign.tables.gates import VERDICT
from vialign.tables.signal import PROBE, SIGNALS, STRESS_SUMMARY

GATE = SignalGateConfig()
KINDS = ("random", "replace_relation", "shuffle")


def evidence(world, config: SignalConfig, gain: float, seed: int = 0):
    """Scores, calibration, diagnosis and probe of a world; the probe's labels show in the signal by `gain`."""
    pairs = build_pairs(world.texts, world.features.image_ids, KINDS, config.pairs, seed)
    calibration = calibrate_signal(pairs, world.features, config, seed)
    scores = score_pairs(pairs, world.features, SignalCalibration.from_table(calibration), config, seed)
    probe = run_probe(drawn_probe(seed, gain, 90), config, seed)
    return scores, calibration, diagnose(scores, config, GATE.level, seed), probe


def drawn_probe(seed: int, gain: float, items: int) -> ProbeData:
    """Labels that S_global shows a little, and the signal by `gain`."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, items)
    s_global, signal = rng.standard_normal((2, items, 3)) + np.eye(3)[labels] * np.array([0.7, gain])[:, None, None]
    features = {"signal": signal, "s_global": s_global, "s_global+signal": np.hstack([s_global, signal])}
    return ProbeData(features, labels, np.arange(items))


@pytest.fixture(scope="module")
def agreement_config(small_config) -> SignalConfig:
    return small_config.model_copy(update={"driver": "agreement"})


@pytest.fixture(scope="module")
def planted(world, agreement_config):
    return evidence(world, agreement_config, gain=2.0)


def required(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["required"]]


def test_planted_evidence_opens_the_gate(planted, agreement_config):
    table = signal_verdict(*planted, None, agreement_config, GATE, 0)
    VERDICT.check(table)
    assert (table["action"] == "go").all() and required(table)["met"].all() and len(required(table)) == 4
    missing = table[table["criterion"].str.contains("swap_roles")].iloc[0]
    assert missing["reason"].startswith("not available") and not missing["required"]


def test_each_required_criterion_alone_closes_it(planted, agreement_config):
    scores, calibration, diagnosis, probe = planted
    breaks = {
        "slope": (scores, calibration.assign(slope=[1.0, 0.0]), diagnosis, probe),
        "p": (scores, calibration, diagnosis.assign(p_holm=0.06), probe),
        "auc": (scores, calibration, diagnosis.assign(low=0.5), probe),
        "gain": (scores, calibration, diagnosis, probe.assign(gain_low=-0.01)),
    }
    for broken in breaks.values():
        table = signal_verdict(*broken, None, agreement_config, GATE, 0)
        assert (table["action"] == "stop").all() and (~required(table)["met"]).sum() == 1
        warned = signal_verdict(*broken, None, agreement_config, SignalGateConfig(action="warn"), 0)
        assert (warned["action"] == "warn").all()


def test_what_the_text_alone_tells_is_no_evidence(planted, agreement_config):
    """The driver is perfect on its best kinds; a blind score that is so too leaves nothing beyond the text."""
    scores, calibration, diagnosis, probe = planted
    rng = np.random.default_rng(0)
    told = scores.assign(blind=(scores["kind"] == "aligned") * 1.0)
    guessed = scores.assign(blind=rng.standard_normal(len(scores)))
    for blind, action, said in ((told, "stop", "+0.000"), (guessed, "go", "beyond the blind baseline")):
        table = signal_verdict(blind, calibration, diagnosis, probe, None, agreement_config, GATE, 0)
        row = table[table["criterion"].str.contains("at least one kind")].iloc[0]
        assert table["action"].iloc[0] == action and row["met"] == (action == "go")
        assert action == "stop" or said in row["reason"]
    plain = signal_verdict(scores, calibration, diagnosis, probe, None, agreement_config, GATE, 0)
    assert plain["reason"].str.contains("no blind baseline was available").sum() == 1


def test_discrimination_of_random_captions_alone_is_not_enough(planted, agreement_config):
    scores, calibration, diagnosis, probe = planted
    coarse = diagnosis.assign(p_holm=diagnosis["p_holm"].where(diagnosis["kind"] == "random", 1.0))
    assert (
        signal_verdict(scores, calibration, coarse, probe, None, agreement_config, GATE, 0)["action"] == "stop"
    ).all()


def test_without_labelled_relations_the_probe_is_not_available_and_not_required(planted, agreement_config):
    scores, calibration, diagnosis, _ = planted
    table = signal_verdict(scores, calibration, diagnosis, PROBE.empty(), None, agreement_config, GATE, 0)
    row = table[table["evidence"] == "signal/probe.parquet"].iloc[0]
    assert pd.isna(row["value"]) and not row["met"] and not row["required"] and "not available" in row["reason"]
    assert (table["action"] == "go").all()


def test_without_hard_negatives_the_gate_stops(planted, agreement_config):
    scores, calibration, diagnosis, probe = planted
    only = diagnosis[diagnosis["kind"] == "random"]
    fewer = scores[scores["kind"].isin(("aligned", "random"))]
    assert (signal_verdict(fewer, calibration, only, probe, None, agreement_config, GATE, 0)["action"] == "stop").all()


def test_shuffled_prototypes_stop_the_run(world, agreement_config):
    control = agreement_config.model_copy(update={"shuffle_prototypes": True})
    table = signal_verdict(*evidence(world, control, gain=0.0), None, control, GATE, 0)
    assert (table["action"] == "stop").all()


def test_a_simpler_signal_that_does_better_is_named(world, small_config):
    table = signal_verdict(*evidence(world, small_config, gain=2.0), None, small_config, GATE, 0)
    row = table[table["criterion"].str.contains("better than s_sum on random")].iloc[0]
    assert row["high"] < 0 and not row["met"] and not row["required"]
    assert "discriminates worse than s_sum" in row["reason"]


def test_the_blind_spot_of_consistency_is_measured(planted, small_config):
    scores, calibration, diagnosis, probe = planted
    table = signal_verdict(scores, calibration, diagnosis, probe, None, small_config, GATE, 0)
    row = table[table["criterion"].str.contains("both similarities low")].iloc[0]
    random, aligned = (scores[scores["kind"] == kind] for kind in ("random", "aligned"))
    low = (random["s_global_calibrated"] < 0.5) & (random["s_local_calibrated"] < 0.5)
    assert row["value"] == pytest.approx((low & (random["consistency"] >= aligned["consistency"].median())).mean())
    assert row["value"] > 0.05 and not row["met"]


def test_stress_is_summed_up_beside_s_global(planted, agreement_config):
    kept = dict(attack="all", kind="hard", clean=0.9)
    rows = [
        {**kept, "signal": "agreement", "relative_area": 0.9, "low": 0.8, "high": 1.0}
        | {"difference": 0.2, "difference_low": 0.1, "difference_high": 0.3},
        {**kept, "signal": "s_global", "relative_area": 0.7, "low": 0.6, "high": 0.8}
        | {"difference": None, "difference_low": None, "difference_high": None},
    ]
    stress = STRESS_SUMMARY.check(pd.DataFrame(rows))
    table = signal_verdict(*planted, stress, agreement_config, GATE, 0)
    row = table[table["evidence"] == "signal/stress_summary.parquet"].iloc[0]
    assert (row["value"], row["low"], row["high"], row["threshold"]) == (0.2, 0.1, 0.3, 0.0) and row["met"]
    assert "90%; S_global 70%" in row["reason"] and not row["required"]
    blind = stress.assign(**dict.fromkeys(["relative_area", "difference", "difference_low"], float("nan")))
    row = signal_verdict(*planted, blind, agreement_config, GATE, 0).iloc[-1]
    assert not row["met"] and pd.isna(row["value"]) and "not available" in row["reason"]
    without = signal_verdict(*planted, None, agreement_config, GATE, 0)
    assert "did not run" in without[without["evidence"] == "signal/stress_summary.parquet"].iloc[0]["reason"]


def drawn_scores(seed: int, shift: float, images: int = 30) -> pd.DataFrame:
    """Scores of noise with an effect of the image; `shift` is what a replaced relation costs."""
    rng = np.random.default_rng(seed)
    level = rng.standard_normal(images)
    parts = []
    for kind in ("aligned", *KINDS):
        ids = [f"i{n}" for n in range(images)]
        suffix = {"aligned": "", "random": "~"}.get(kind, f"!{kind}")
        values = {name: level + rng.standard_normal(images) for name in SIGNALS}
        if kind == "replace_relation":
            values["consistency"] = values["consistency"] - shift
        names = {"image_id": ids, "text_id": [f"{name}#0{suffix}" for name in ids], "kind": kind}
        parts.append(pd.DataFrame({**names, **values, "s_global_calibrated": 0.6, "s_local_calibrated": 0.6}))
    return pd.concat(parts, ignore_index=True)


def open_gates(shift: float, gain: float, seeds: range) -> np.ndarray:
    """How often the gate opens, and how often each of its two criteria on data holds."""
    config = SignalConfig(permutations=999, bootstrap=200, folds=2)
    calibration = pd.DataFrame({"similarity": ["s_global", "s_local"], "slope": 1.0, "free_slope": 1.0})
    counts = np.zeros(3, dtype=int)
    for seed in seeds:
        scores = drawn_scores(seed, shift)
        found = diagnose(scores, config, GATE.level, seed)
        probe = run_probe(drawn_probe(seed, gain, 60), config, seed)
        table = signal_verdict(scores, calibration, found, probe, None, config, GATE, seed)
        met = table.set_index("evidence").loc[["signal/diagnosis.parquet", "signal/probe.parquet"]]
        by_evidence = met[met["required"]]["met"]
        counts += np.array([table["action"].iloc[0] == "go", *by_evidence])
    return counts


@pytest.mark.unchecked
def test_without_a_signal_the_gate_rarely_opens_and_its_parts_err_no_more_than_they_may():
    """`VIALIGN_SIMULATIONS=400 pytest -s -k rarely_opens` measures the rates that docs/measurements.md states."""
    repeats = int(os.environ.get("VIALIGN_SIMULATIONS", "15"))
    counts = open_gates(shift=0.0, gain=0.0, seeds=range(repeats))
    print(f"opened, diagnosis met, probe met: {counts} of {repeats}")
    for count in counts:
        assert binomtest(int(count), repeats, 0.05, alternative="greater").pvalue > 0.01


def test_with_a_signal_the_same_simulation_opens_the_gate():
    assert (open_gates(shift=2.5, gain=2.5, seeds=range(3)) >= 2).all()


@pytest.mark.unchecked
def test_the_diagnosis_errs_no_more_than_its_level_over_the_whole_table():
    config, repeats, wrong = SignalConfig(permutations=999, bootstrap=20), 60, 0
    for seed in range(repeats):
        table = diagnose(drawn_scores(seed, 0.0), config, GATE.level, seed, signals=("consistency", "s_global"))
        wrong += bool((table["p_holm"] < GATE.level).any())
    assert binomtest(wrong, repeats, GATE.level, alternative="greater").pvalue > 0.01
