"""The network that is to read, from the pixels, what boxes do not decide: what it is asked, told and shown."""

import numpy as np
import pytest
import torch

from scripts import load_script
from vialign.data.scenes.world import SEEN, true_of


@pytest.fixture(scope="module")
def control(repository):
    return load_script(repository / "benchmarks/seen_control.py")


@pytest.fixture(scope="module")
def drawn(control):
    return control.draw(np.random.default_rng(0), 60, "scenes")


@pytest.mark.parametrize("form", ["seen_roles", "seen_relation", "seen_object"])
def test_who_knows_the_scene_answers_every_item_and_who_knows_nothing_none(control, drawn, form):
    def known(asked):
        return np.array([float(true_of(drawn.scenes[scene], *said)) for scene, said in asked])

    found = control.answered(drawn.scenes, form, known)
    assert all(right == asked for right, asked in found.values()) and found["all"][1] > 5
    assert found["all"][1] == sum(asked for relation, (_, asked) in found.items() if relation != "all")
    nothing = {relation: (0, asked) for relation, (_, asked) in found.items()}
    assert control.answered(drawn.scenes, form, lambda asked: np.zeros(len(asked))) == nothing
    assert control.answered(drawn.scenes, form, lambda asked: -known(asked)) == nothing


def test_labels_are_what_holds_of_the_two_things_in_their_order(control, drawn):
    pairs = [(number, *pair) for number, scene in enumerate(drawn.scenes) for pair in control.pairs_of(scene)]
    labels = drawn.labels(pairs)
    mains = {(number, *scene.main[::2]): scene.main[1] for number, scene in enumerate(drawn.scenes)}
    for pair, row in zip(pairs, labels, strict=True):
        if pair in mains:
            assert row[SEEN.index(mains[pair])] == 1
        holding = [name for name in SEEN if true_of(drawn.scenes[pair[0]], pair[1], name, pair[2])]
        assert [SEEN[k] for k in row.nonzero().flatten()] == holding


def test_without_pixels_the_boxes_alone_are_left(control, drawn):
    seen, blind = (drawn.inputs([(0, 1, 0), (1, 0, 1)], see) for see in (True, False))
    assert seen[:, :3].abs().sum() > 0 and blind[:, :3].abs().sum() == 0
    assert torch.equal(seen[:, 3:], blind[:, 3:])
    thing = drawn.scenes[0].things[1]
    rows, columns = blind[0, 3].nonzero().T
    scale = control.SIDE / 112
    assert (
        abs(rows.float().mean() + 0.5 - scale * thing.y) <= 1
        and abs(columns.float().mean() + 0.5 - scale * thing.x) <= 1
    )
    assert (rows.max() + 1 - rows.min()) == pytest.approx(scale * thing.size, abs=1)


def test_the_network_learns_what_it_is_shown_and_every_weight_has_a_gradient(control, drawn):
    pairs = [(number, *pair) for number, scene in enumerate(drawn.scenes[:8]) for pair in control.pairs_of(scene)]
    inputs, labels = drawn.inputs(pairs, True), drawn.labels(pairs)
    torch.manual_seed(0)
    reader = control.Reader()
    optimizer, losses = torch.optim.AdamW(reader.parameters(), lr=3e-3), []
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(reader(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad.abs().sum() > 0 for weight in reader.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
