import re

import pytest
import torch
from torch import nn

from vialign.budget import ModulePair, largest_pair_rank, ledger_text, measure_pair
from vialign.config.methods import BudgetConfig
from vialign.errors import UserError
from vialign.tables.gates import BUDGET


class WithAdapter(nn.Module):
    def __init__(self, backbone, rank):
        super().__init__()
        self.backbone = backbone
        self.down, self.up = nn.Linear(64, rank, bias=False), nn.Linear(rank, 64, bias=False)
        self.dropout = nn.Dropout(0.5)

    def forward(self, states):
        return self.backbone(states) + self.dropout(self.up(self.down(states)))


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)).requires_grad_(False)


def pair(backbone, rank=2, **settings):
    return ModulePair(backbone, WithAdapter(backbone, rank), (torch.ones(8, 64),), **settings)


def test_a_pair_is_counted_by_hand_and_left_as_it_was(backbone):
    given = pair(backbone, loss=lambda output: output.square().mean())
    given.method.dropout.eval()
    before = {name: tensor.clone() for name, tensor in given.method.state_dict().items()}
    modes = [part.training for part in given.method.modules()]
    frame = BUDGET.check(measure_pair(given, name="adapter", backbone="mlp", rounds=3)).set_index("measure")
    total = 64 * 256 + 256 + 256 * 64 + 64
    assert frame.loc["parameters_total", "value"] == total + 2 * 64 * 2
    assert frame.loc["parameters_extra", "value"] == frame.loc["parameters_trainable", "value"] == 256
    assert frame.loc["parameters_extra_share", "value"] == 256 / total
    assert frame.loc["flops_pair", "value"] == 2 * (2 * 64 * 256 + 2 * 64 * 2)
    assert [name for name in frame.index if "image" in name or "text" in name] == []
    timed = frame.loc[["inference_seconds", "training_seconds"]]
    assert (timed["value"] > 0).all() and (timed["low"] <= timed["high"]).all()
    assert all(torch.equal(before[name], tensor) for name, tensor in given.method.state_dict().items())
    assert [part.training for part in given.method.modules()] == modes


def test_without_a_loss_nothing_is_said_about_training(backbone):
    frame = measure_pair(pair(backbone), name="adapter", backbone="mlp", rounds=1)
    assert not frame["measure"].str.startswith("training").any()
    assert "training" not in ledger_text(frame)


def test_training_lowers_the_loss_of_a_copy_and_a_method_that_does_more_takes_longer(backbone):
    losses = {"reference": [], "method": []}

    class Slow(WithAdapter):
        def forward(self, states):
            for _ in range(20):
                self.backbone(states)
            return super().forward(states)

    def loss(output):
        value = output.square().mean()
        losses["method" if value.requires_grad else "reference"].append(value.item())
        return value

    slow = Slow(backbone, 2)
    slow.dropout = nn.Identity()
    given = ModulePair(backbone, slow, (torch.ones(8, 64),), loss=loss)
    frame = measure_pair(given, name="slow", backbone="mlp", rounds=15).set_index("measure")
    assert losses["method"][-1] < losses["method"][0]
    assert len(set(losses["reference"])) == 1
    assert frame.loc["inference_operations_overhead", "outcome"] == "broken"
    assert frame.loc["inference_overhead", "low"] > 1


def test_the_largest_rank_of_a_pair_is_the_last_under_the_limit(backbone):
    given = pair(backbone, at_rank=lambda rank: WithAdapter(backbone, rank))
    limits = BudgetConfig(parameters=0.02)  # 661.76 of 33,088 parameters, 128 a rank
    assert largest_pair_rank(given, limits, range(1, 20)) == (5, 640)
    with pytest.raises(UserError, match="rank 6 already needs 768 extra parameters"):
        largest_pair_rank(given, limits, range(6, 20))
    with pytest.raises(ValueError, match="at_rank"):
        largest_pair_rank(pair(backbone), limits, [1])


def test_the_text_tells_every_limit_with_its_verdict(backbone):
    frame = measure_pair(pair(backbone, rank=1), name="adapter", backbone="mlp", rounds=2)
    frame.loc[frame["measure"] == "inference_overhead", "outcome"] = "broken"
    frame.loc[frame["measure"] == "inference_operations_overhead", ["outcome", "reason"]] = ["kept", None]
    text = ledger_text(frame)
    assert text.splitlines()[0] == "adapter on mlp"
    assert "33,216 in all, 128 of them trained" in text
    assert "128 beyond the backbone, 0.387 % of it" in text
    assert re.search(r"operations +65.8 k a sample", text)
    assert re.search(r"of it +limit 2 %: kept", text)
    assert re.search(r"beyond the reference +limit 10 %: BROKEN", text)


def test_the_page_runs_as_it_is_written(repository, capsys):
    page = (repository / "docs/budget.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    code = code.replace('backbone="feed-forward")', 'backbone="feed-forward", rounds=2)')
    scope = {}
    exec(compile(code, "docs/budget.md", "exec"), scope)
    out = capsys.readouterr().out
    assert out.startswith("low rank on feed-forward\n")
    assert "largest rank inside the budget: 20, with 10,240 extra parameters" in out
    BUDGET.check(scope["ledger"])
