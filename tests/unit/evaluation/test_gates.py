import numpy as np
import pandas as pd
import pytest

from vialign.config.gates import EarlyGateConfig, GateConfig
from vialign.config.methods import BudgetConfig
from vialign.gates.budget import budget_verdict
from vialign.gates.early import early_verdict
from vialign.gates.verdict import missed, undecided, unmeasured
from vialign.signal.validation.monitoring import EarlyWarning
from vialign.tables.gates import VERDICT

IMAGES, EACH = 150, 5


def outcomes_of(method, seed, recall, negatives, draws):
    """Validation outcomes with given success rates; `draws` are the items' difficulties, shared by all methods."""
    frames = []
    for benchmark, measure, rate in (
        ("image_to_text", "r1", recall),
        ("text_to_image", "r1", recall),
        ("negatives", "accuracy", negatives),
    ):
        if rate is None:
            continue
        each = 1 if benchmark == "image_to_text" else EACH
        items = [f"i{n // each}#{n % each}" for n in range(IMAGES * each)]
        frames.append(
            pd.DataFrame(
                {
                    "method": method,
                    "seed": seed,
                    "benchmark": f"gate/{benchmark}",
                    "item_id": items,
                    "measure": measure,
                    "value": (draws[benchmark][: len(items)] < rate).astype(float),
                    "tag": None,
                    "tie": False,
                    "chosen": None,
                    "image_id": [item.split("#")[0] for item in items],
                }
            )
        )
    return pd.concat(frames)


@pytest.fixture
def draws():
    rng = np.random.default_rng(0)
    return {name: rng.random(IMAGES * EACH) for name in ("image_to_text", "text_to_image", "negatives")}


CALM = EarlyWarning(0.5, -0.2, 0.9, 7)
WARNED = EarlyWarning(-0.9, -0.99, -0.3, 7)


def verdict(draws, full, lora, action="stop", warning=CALM, warns="inform"):
    frames = [outcomes_of("vialign", seed, *full, draws) for seed in (0, 1)]
    frames += [outcomes_of("lora", seed, *lora, draws) for seed in (0, 1)]
    gate = EarlyGateConfig(action=action, warning=warns)
    return VERDICT.check(early_verdict(pd.concat(frames), warning, gate))


def test_a_clearly_worse_model_stops_and_a_better_one_goes(draws):
    worse = verdict(draws, (0.20, 0.60), (0.35, 0.80))
    assert set(worse["action"]) == {"stop"}
    assert worse.loc[worse["required"], "high"].item() < 0
    better = verdict(draws, (0.35, 0.80), (0.20, 0.60))
    assert set(better["action"]) == {"go"}
    assert better["met"].all()


def test_an_insignificant_loss_goes(draws):
    rows = verdict(draws, (0.301, 0.70), (0.305, 0.702))
    assert rows["value"].min() < 0
    assert set(rows["action"]) == {"go"}


def test_the_config_turns_a_stop_into_a_warning(draws):
    assert set(verdict(draws, (0.20, 0.60), (0.35, 0.80), "warn")["action"]) == {"warn"}


def test_the_score_is_the_mean_of_recall_and_negatives_and_only_it_is_required(draws):
    rows = verdict(draws, (0.20, 0.95), (0.35, 0.60))
    score, recall, negatives, _ = rows["value"]
    assert score == pytest.approx((recall + negatives) / 2)
    assert rows["required"].tolist() == [True, False, False, False]
    assert rows["met"].tolist() == [True, False, True, True]
    assert set(rows["action"]) == {"go"}


def test_values_are_the_plain_means(draws):
    rows = verdict(draws, (0.3, 0.8), (0.2, 0.7))
    expected = [
        np.mean((draws[name][:size] < 0.3).astype(float) - (draws[name][:size] < 0.2))
        for name, size in (("image_to_text", IMAGES), ("text_to_image", IMAGES * EACH))
    ]
    assert rows["value"][1] == pytest.approx(np.mean(expected))
    gain = (draws["negatives"] < 0.8).mean() - (draws["negatives"] < 0.7).mean()
    assert rows["value"][2] == pytest.approx(gain)


def test_without_negatives_recall_decides_and_the_gap_is_said(draws):
    rows = verdict(draws, (0.20, None), (0.40, None))
    assert rows["value"][0] == rows["value"][1]
    assert set(rows["action"]) == {"stop"}
    assert rows["reason"].str.contains("not available").sum() == 1


def test_a_missing_method_is_an_error(draws):
    with pytest.raises(ValueError, match="no outcomes on the split gate of lora"):
        early_verdict(outcomes_of("vialign", 0, 0.3, 0.5, draws), CALM, EarlyGateConfig())


@pytest.mark.parametrize(
    ("warning", "warns", "action", "met"),
    [
        (CALM, "stop", "go", True),
        (WARNED, "inform", "go", False),
        (WARNED, "stop", "stop", False),
        (None, "stop", "go", False),
    ],
)
def test_an_early_warning_informs_or_stops_as_the_config_says(draws, warning, warns, action, met):
    rows = verdict(draws, (0.35, 0.80), (0.20, 0.60), warning=warning, warns=warns)
    row = rows.iloc[-1]
    assert set(rows["action"]) == {action} and row["met"] == met
    assert row["required"] == (warns == "stop" and warning is not None)
    if warning is None:
        assert np.isnan(row["value"]) and row["reason"].startswith("not available")
    else:
        assert (row["value"], row["low"], row["high"]) == (warning.correlation, warning.low, warning.high)


def ledger(*rows):
    columns = ["method", "backbone", "measure", "value", "low", "high", "unit", "limit", "outcome"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(reason=["a restless machine" if found == "undecided" else None for found in frame["outcome"]])


def test_one_broken_limit_of_the_full_method_stops():
    rows = [
        ("vialign", "ViT-B-32", "parameters_extra_share", 0.012, None, None, "share", 0.02, "kept"),
        ("vialign", "ViT-B-32", "inference_overhead", 0.15, 0.11, 0.19, "share", 0.10, "broken"),
        ("vialign", "ViT-B-32", "flops", 1e9, None, None, "operations", None, None),
        ("lora", "ViT-B-32", "training", 0.5, 0.4, 0.6, "share", 0.10, "broken"),
    ]
    stopped = VERDICT.check(budget_verdict(ledger(*rows), GateConfig(), BudgetConfig()))
    assert stopped[["required", "met"]].values.tolist() == [[True, True], [True, False], [False, False]]
    assert set(stopped["action"]) == {"stop"}
    # LoRA's broken limit alone stops nothing.
    kept = VERDICT.check(budget_verdict(ledger(rows[0], rows[3]), GateConfig(), BudgetConfig()))
    assert set(kept["action"]) == {"go"}


def test_what_is_measured_on_a_small_backbone_informs_unless_the_config_binds_it():
    rows = ledger(
        ("vialign", "vialign-scenes", "parameters_extra_share", 0.25, None, None, "share", 0.02, "broken"),
        ("vialign", "vialign-scenes", "inference_overhead", 0.3, 0.2, 0.4, "share", 0.10, "broken"),
    )
    informed = budget_verdict(rows, GateConfig(), BudgetConfig())
    assert set(informed["action"]) == {"go"} and not informed["met"].any()
    bound = budget_verdict(rows, GateConfig(), BudgetConfig(binds="everywhere"))
    assert set(bound["action"]) == {"stop"}


@pytest.mark.parametrize(
    ("operations", "strict", "action"),
    [("kept", False, "go"), ("kept", True, "stop"), ("broken", False, "stop"), ("broken", True, "stop")],
)
def test_an_undecided_time_goes_on_unless_strict_and_what_is_counted_decides_beside_it(operations, strict, action):
    large, small = ("vialign", "ViT-B-32"), ("vialign", "vialign-scenes")
    value = 0.2 if operations == "broken" else 0.02
    rows = ledger(
        (*large, "inference_overhead", 0.09, -0.3, 0.24, "share", 0.10, "undecided"),
        (*large, "inference_operations_overhead", value, None, None, "share", 0.10, operations),
        (*large, "training_overhead", 0.02, 0.01, 0.03, "share", 0.10, "kept"),
        (*large, "training_bytes_overhead", 0.2, None, None, "share", 0.10, "broken"),
        (*small, "inference_operations_overhead", 0.5, None, None, "share", 0.10, "broken"),
    )
    verdict = VERDICT.check(budget_verdict(rows, GateConfig(), BudgetConfig(strict=strict)))
    assert set(verdict["action"]) == {action}
    required = verdict[verdict["required"]]
    assert len(required) == 3  # operations decide where the clock did not, bytes of training only inform
    time = required[required["undecided"]]
    assert len(time) == 1 and not time["met"].any() and "a restless machine" in time["reason"].iloc[0]
    told = missed(verdict)
    if operations == "broken":
        assert "operations" in told["criterion"].iloc[0] and len(told) == 1
    else:
        assert len(told) == (1 if strict else 0)
    # Told as unmeasured, and not as undecided where the counted work of its stage is inside the limit.
    assert len(unmeasured(verdict)) == 1 and len(undecided(verdict)) == (operations == "broken")
    nothing_counted = verdict[~verdict["criterion"].str.contains("operations")]
    assert len(undecided(nothing_counted)) == 1


def test_a_ledger_without_limits_for_the_method_cannot_pass():
    rows = ledger(("lora", "ViT-B-32", "training", 0.5, 0.4, 0.6, "share", 0.10, "broken"))
    with pytest.raises(ValueError, match="no limit for vialign"):
        budget_verdict(rows, GateConfig(), BudgetConfig())
