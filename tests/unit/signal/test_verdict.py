import os

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from vialign.config.gates import SignalGateConfig
from vialign.config.signal import SignalConfig
from vialign.gates.signal import signal_verdict
from vialign.gates.verdict import missed, not_shown
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import build_pairs, calibrate_signal, score_pairs
from vialign.signal.validation.diagnosis import diagnose
from vialign.signal.validation.probe import ProbeData, run_probe
from vialign.tables.gates import VERDICT
from vialign.tables.signal import CONTROLS, PROBE, SIGNALS, STRESS_SUMMARY

GATE = SignalGateConfig()
KINDS = ("random", "replace_relation", "shuffle")


def evidence(world, config: SignalConfig, gain: float, seed: int = 0):
    """Scores, calibration, diagnosis and probe of a world; the probe's labels show in the signal by `gain`."""
    pairs = build_pairs(world.texts, world.features.image_ids, KINDS, config.pairs, seed)
    calibration = calibrate_signal(pairs, world.features, config, seed)
    scores = score_pairs(pairs, world.features, SignalCalibration.from_table(calibration), config, seed)
    return judged(scores, calibration, config, gain, seed)


def judged(scores, calibration, config: SignalConfig, gain: float, seed: int = 0):
    """The same with the diagnosis and the probe of the scores."""
    probe = run_probe(drawn_probe(seed, gain, 90), config, seed)
    return scores, calibration, diagnose(scores, config, GATE.level, seed), probe


def drawn_probe(seed: int, gain: float, items: int) -> ProbeData:
    """Labels that S_global shows a little, and the signal by `gain`."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, items)
    s_global, signal = rng.standard_normal((2, items, 3)) + np.eye(3)[labels] * np.array([0.7, gain])[:, None, None]
    s_local = rng.standard_normal((items, 3))
    features = {
        "signal": signal,
        "s_global": s_global,
        "s_global+s_local": np.hstack([s_global, s_local]),
        "s_global+signal": np.hstack([s_global, signal]),
        "s_global+s_local+signal": np.hstack([s_global, s_local, signal]),
    }
    return ProbeData(features, labels, np.arange(items))


@pytest.fixture(scope="module")
def agreement_config(small_config) -> SignalConfig:
    return small_config.model_copy(update={"driver": "agreement"})


MAPS_RISE = pd.DataFrame({"similarity": ["s_global", "s_local"], "slope": 1.0, "free_slope": 1.0})


def drawn_controls(seed: int, shift: float = 0.0, images: int = 30) -> pd.DataFrame:
    """Both controls, of noise, or with a driver that tells replaced relations by `shift`."""
    parts = [drawn_scores(1000 + seed + n, shift, images).assign(control=name) for n, name in enumerate(CONTROLS)]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def planted(small_config):
    """A driver that tells replaced relations, which neither similarity does; and controls of noise."""
    found = judged(drawn_scores(0, 2.5, images=60), MAPS_RISE, small_config, gain=2.5)
    return (*found, None, drawn_controls(0))


def required(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["required"]]


def verdict(evidence, config, gate=GATE, **changed) -> pd.DataFrame:
    """The verdict on `evidence` with parts of it exchanged."""
    names = ("scores", "calibration", "diagnosis", "probe", "stress", "controls")
    return signal_verdict(**{**dict(zip(names, evidence, strict=True)), **changed}, config=config, gate=gate, seed=0)


def row(table: pd.DataFrame, words: str) -> pd.Series:
    found = table[table["criterion"].str.contains(words, regex=False)]
    assert len(found) == 1
    return found.iloc[0]


def test_planted_evidence_opens_the_gate(planted, small_config):
    table = verdict(planted, small_config)
    VERDICT.check(table)
    assert (table["action"] == "go").all() and required(table)["met"].all() and len(required(table)) == 9
    missing = row(table, "swap_roles")
    assert missing["reason"].startswith("not available") and not missing["required"]


def test_each_required_criterion_alone_closes_it(planted, small_config):
    _, calibration, diagnosis, probe, _, controls = planted
    breaks = {
        "slope": {"calibration": calibration.assign(slope=[1.0, 0.0])},
        "p": {"diagnosis": diagnosis.assign(p_holm=0.06)},
        "auc": {"diagnosis": diagnosis.assign(low=0.5)},
        "gain": {"probe": probe.assign(gain_low=-0.01)},
        "gain beyond both": {"probe": probe.assign(beyond_parts_low=-0.01)},
        "no control": {"controls": controls[controls["control"] == CONTROLS[1]]},
    }
    for changed in breaks.values():
        table = verdict(planted, small_config, **changed)
        assert (table["action"] == "stop").all() and (~required(table)["met"]).sum() == 1
        warned = verdict(planted, small_config, SignalGateConfig(action="warn"), **changed)
        assert (warned["action"] == "warn").all()
    for name in ("beyond_global", "beyond_parts"):
        table = verdict(planted, small_config, SignalGateConfig(**{name: 0.5}))
        assert (table["action"] == "stop").all() and not required(table)["met"].all()


def test_a_driver_that_repeats_its_parts_adds_nothing_and_does_not_open_the_gate(planted, small_config):
    """It is far above chance, above S_global and above each part, but the combination of both says as much."""
    calibration, scores = planted[1], drawn_scores(0, 2.5, images=200)
    half = scores["consistency"]
    noise = np.random.default_rng(5).standard_normal(len(scores))
    repeated = scores.assign(s_local=half + 3 * noise, s_global=half - 3 * noise, consistency=half)
    found = (*judged(repeated, calibration, small_config, gain=2.5), None, planted[-1])
    table = verdict(found, small_config)
    alone, both = row(table, "adds to s_global in"), row(table, "adds to s_global with s_local")
    assert alone["met"] and alone["low"] > 0
    assert not both["met"] and both["required"] and both["value"] == pytest.approx(0.0, abs=0.03)
    assert (table["action"] == "stop").all() and (~required(table)["met"]).sum() == 1


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_that_passes_closes_the_gate(planted, small_config, control):
    others = planted[-1][planted[-1]["control"] != control]
    passing = drawn_scores(7, 2.5, images=60).assign(control=control)
    table = verdict(planted, small_config, controls=pd.concat([others, passing], ignore_index=True))
    assert (table["action"] == "stop").all() and (~required(table)["met"]).sum() == 1
    assert "meets all that is asked" in row(table, f"control fails: consistency with {control}")["reason"]
    fine = row(verdict(planted, small_config), f"control fails: consistency with {control}")
    assert fine["met"] and "it fails where the signal is asked" in fine["reason"]


def test_without_controls_the_claim_is_not_shown(planted, small_config):
    table = verdict(planted, small_config, controls=None)
    assert (table["action"] == "stop").all() and len(not_shown(table)) == len(missed(table)) == 2


def test_what_the_text_alone_tells_is_no_evidence(planted, small_config):
    """The driver is above chance; a blind score that is perfect leaves nothing beyond the text."""
    scores = planted[0]
    rng = np.random.default_rng(0)
    told = scores.assign(blind=(scores["kind"] == "aligned") * 1.0)
    guessed = scores.assign(blind=rng.standard_normal(len(scores)))
    for blind, action in ((told, "stop"), (guessed, "go")):
        table = verdict(planted, small_config, scores=blind)
        found = row(table, "at least one kind")
        assert table["action"].iloc[0] == action and found["met"] == (action == "go")
        assert "beyond the blind baseline" in found["reason"]
    plain = verdict(planted, small_config)
    assert plain["reason"].str.contains("no blind baseline was available").sum() == 1


def test_discrimination_of_random_captions_alone_is_not_enough(planted, small_config):
    diagnosis = planted[2]
    coarse = diagnosis.assign(p_holm=diagnosis["p_holm"].where(diagnosis["kind"] == "random", 1.0))
    assert (verdict(planted, small_config, diagnosis=coarse)["action"] == "stop").all()


def test_without_labelled_relations_the_claim_is_not_shown(planted, small_config):
    table = verdict(planted, small_config, probe=PROBE.empty())
    rows = table[table["evidence"] == "signal/probe.parquet"]
    assert len(rows) == 2 and rows["value"].isna().all() and rows["required"].all() and not rows["met"].any()
    assert rows["reason"].str.startswith("not shown: ").all()
    assert (table["action"] == "stop").all() and len(not_shown(table)) == len(missed(table)) == 2
    warned = verdict(planted, small_config, SignalGateConfig(action="warn"), probe=PROBE.empty())
    assert (warned["action"] == "warn").all()


def test_without_hard_negatives_the_gate_stops(planted, small_config):
    scores, diagnosis, controls = planted[0], planted[2], planted[-1]
    only = diagnosis[diagnosis["kind"] == "random"]
    fewer, less = (frame[frame["kind"].isin(("aligned", "random"))] for frame in (scores, controls))
    table = verdict(planted, small_config, scores=fewer, diagnosis=only, controls=less)
    assert (table["action"] == "stop").all() and len(not_shown(table)) == 3


def test_shuffled_prototypes_stop_the_run(world, small_config):
    control = small_config.model_copy(update={"driver": "agreement", "shuffle_prototypes": True})
    table = verdict((*evidence(world, control, gain=0.0), None, drawn_controls(0)), control)
    assert (table["action"] == "stop").all()


def test_a_simpler_signal_that_does_better_is_named(world, small_config):
    table = verdict((*evidence(world, small_config, gain=2.0), None, drawn_controls(0)), small_config)
    found = row(table, "better than s_sum on random")
    assert found["high"] < 0 and not found["met"] and not found["required"]
    assert "discriminates worse than s_sum" in found["reason"]


def test_the_blind_spot_of_consistency_is_measured(world, small_config):
    found = (*evidence(world, small_config, gain=2.0), None, drawn_controls(0))
    spot = row(verdict(found, small_config), "both similarities low")
    random, aligned = (found[0][found[0]["kind"] == kind] for kind in ("random", "aligned"))
    low = (random["s_global_calibrated"] < 0.5) & (random["s_local_calibrated"] < 0.5)
    assert spot["value"] == pytest.approx((low & (random["consistency"] >= aligned["consistency"].median())).mean())
    assert spot["value"] > 0.05 and not spot["met"]


def test_stress_is_summed_up_beside_s_global(planted, small_config):
    kept = dict(attack="all", target="own", kind="hard", clean=0.9)
    rows = [
        {**kept, "signal": "consistency", "relative_area": 0.9, "low": 0.8, "high": 1.0}
        | {"difference": 0.2, "difference_low": 0.1, "difference_high": 0.3},
        {**kept, "signal": "s_global", "relative_area": 0.7, "low": 0.6, "high": 0.8}
        | {"difference": None, "difference_low": None, "difference_high": None},
    ]
    stress = STRESS_SUMMARY.check(pd.DataFrame(rows))
    found = row(verdict(planted, small_config, stress=stress), "each under attacks on itself")
    assert (found["value"], found["low"], found["high"], found["threshold"]) == (0.2, 0.1, 0.3, 0.0) and found["met"]
    assert "90%; S_global 70%" in found["reason"] and not found["required"]
    blind = stress.assign(**dict.fromkeys(["relative_area", "difference", "difference_low"], float("nan")))
    found = row(verdict(planted, small_config, stress=blind), "each under attacks on itself")
    assert not found["met"] and pd.isna(found["value"]) and "not available" in found["reason"]
    assert "did not run" in row(verdict(planted, small_config), "survives stress")["reason"]


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


def open_gates(shift: float, gain: float, seeds: range, images: int = 30) -> pd.Series:
    """How often the gate opens, and how often each of the required criteria that data decide holds."""
    config = SignalConfig(permutations=999, bootstrap=200, folds=2)
    counts: dict[str, int] = {}
    for seed in seeds:
        scores = drawn_scores(seed, shift, images)
        found = diagnose(scores, config, GATE.level, seed)
        probe = run_probe(drawn_probe(seed, gain, 60), config, seed)
        arguments = MAPS_RISE, found, probe, None, drawn_controls(seed, images=images), config, GATE, seed
        table = signal_verdict(scores, *arguments)
        held = required(table)[~required(table)["criterion"].str.contains("slope|control")].set_index("criterion")[
            "met"
        ]
        for name, met in {"opened": table["action"].iloc[0] == "go", **held}.items():
            counts[name] = counts.get(name, 0) + int(met)
    return pd.Series(counts)


def test_without_a_signal_the_gate_rarely_opens_and_its_parts_err_no_more_than_they_may():
    """`VIALIGN_SIMULATIONS=400 pytest -s -k rarely_opens` measures the rates that docs/measurements.md states."""
    repeats = int(os.environ.get("VIALIGN_SIMULATIONS", "15"))
    counts = open_gates(shift=0.0, gain=0.0, seeds=range(repeats))
    print(f"of {repeats}:\n{counts.to_string()}")
    assert len(counts) == 6
    for count in counts:
        assert binomtest(int(count), repeats, 0.05, alternative="greater").pvalue > 0.01


def test_with_a_signal_the_same_simulation_opens_the_gate():
    assert (open_gates(shift=2.5, gain=2.5, seeds=range(3), images=60) >= 2).all()


def test_the_diagnosis_errs_no_more_than_its_level_over_the_whole_table():
    config, repeats, wrong = SignalConfig(permutations=999, bootstrap=20), 60, 0
    for seed in range(repeats):
        table = diagnose(drawn_scores(seed, 0.0), config, GATE.level, seed, signals=("consistency", "s_global"))
        wrong += bool((table["p_holm"] < GATE.level).any())
    assert binomtest(wrong, repeats, GATE.level, alternative="greater").pvalue > 0.01
