"""Phrase units: invariants, the two paths and their gate."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vialign.config.disentangle import TextConfig
from vialign.disentangle.structure import TokenDistributions
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.types import TokenStructure

N, E, A, R = range(4)


def disentangler(seed=0, dimension=16, units=4):
    torch.manual_seed(seed)
    text = TextDisentangler(dimension, units, 8, 4, confidence=0.8, trust=1.0, smoothing=0.1)
    torch.nn.init.normal_(text.up.weight, std=0.1)
    torch.nn.init.normal_(text.kind_weight, std=0.3)
    return text


def batch_of(seed, batch=3, length=7):
    """Random states, ragged masks and a random parse."""
    draw = torch.Generator().manual_seed(seed)
    states = torch.randn(batch, length, 16, generator=draw) * 2 + 0.5
    mask = torch.arange(length) < torch.randint(1, length + 1, (batch, 1), generator=draw)
    kind = torch.randint(0, 4, (batch, length), generator=draw) * mask
    begin = torch.rand(batch, length, generator=draw) < 0.5
    subject, object_ = (torch.randint(-1, length, (batch, length), generator=draw) for _ in range(2))
    return states, mask, TokenStructure(kind, begin, subject, object_)


@given(st.integers(0, 2**31), st.sampled_from(["main", "fallback", "mixed"]))
def test_invariants(seed, path):
    text = disentangler(seed)
    states, mask, structure = batch_of(seed)
    phrases = text(states, mask, structure, path)
    real = phrases.kind != N
    assert bool(real.any(dim=1).all())  # every caption has a unit
    torch.testing.assert_close(phrases.features.norm(dim=-1), real.float())
    torch.testing.assert_close(phrases.weight.sum(dim=-1), torch.ones(3))
    assert bool(((phrases.weight > 0) == real).all())
    torch.testing.assert_close(phrases.assign.sum(dim=-1), real.float())
    assert not phrases.assign.detach().masked_select(~mask[:, None, :]).any()
    for argument in (phrases.subject, phrases.object):
        assert bool((argument >= -1).all()) and bool((argument[~real] == -1).all())
        pointed = phrases.kind.gather(1, argument.clamp_min(0))
        assert bool(((argument == -1) | (pointed == E)).all())


def test_padding_never_changes_a_phrase():
    text = disentangler()
    states, mask, structure = batch_of(1)
    before = text(states, mask, structure)
    longer = TokenStructure(
        F.pad(structure.kind, (0, 3)),
        F.pad(structure.begin, (0, 3)),
        F.pad(structure.subject, (0, 3), value=-1),
        F.pad(structure.object, (0, 3), value=-1),
    )
    after = text(F.pad(states, (0, 0, 0, 3), value=9.0), F.pad(mask, (0, 3)), longer)
    torch.testing.assert_close(after.features, before.features)
    torch.testing.assert_close(after.weight, before.weight)
    assert torch.equal(after.subject, before.subject) and torch.equal(after.kind, before.kind)


def test_a_caption_does_not_depend_on_its_batch():
    text = disentangler()
    states, mask, structure = batch_of(2)
    whole = text(states, mask, structure)
    alone = text(states[1:2], mask[1:2], structure.taken(slice(1, 2)))
    torch.testing.assert_close(whole.features[1:2], alone.features)


@pytest.fixture
def disagreement():
    """The main path reads `entity relation entity`; the parser reads one entity."""
    mask = torch.ones(1, 3, dtype=torch.bool)

    def main(confidence):
        kind = torch.full((1, 3, 4), (1 - confidence) / 3)
        kind[0, [0, 1, 2], [E, R, E]] = confidence
        pointer = torch.zeros(1, 3, 4)
        pointer[0, :, 0] = 1
        return TokenDistributions(kind, torch.full((1, 3), 0.9), pointer, pointer)

    begin = torch.tensor([[True, False, False]])
    parser = TokenStructure(torch.tensor([[E, E, E]]), begin, torch.full((1, 3), -1), torch.full((1, 3), -1))
    return main, parser, mask


def test_a_sure_main_path_wins_and_an_unsure_one_leans_on_the_parser(disagreement):
    main, parser, mask = disagreement
    text = disentangler()
    assert text.decide(main(0.97), mask, parser).kind.tolist() == [[E, R, E]]
    assert text.decide(main(0.5), mask, parser).kind.tolist() == [[E, E, E]]
    assert text.decide(main(0.5), mask, parser, "main").kind.tolist() == [[E, R, E]]
    assert text.decide(main(0.97), mask, parser, "fallback").kind.tolist() == [[E, E, E]]


def test_a_caption_that_the_parser_could_not_read_is_the_main_paths(disagreement):
    main, parser, mask = disagreement
    unread = TokenStructure(parser.kind * 0, parser.begin & False, parser.subject, parser.object)
    assert disentangler().decide(main(0.4), mask, unread).kind.tolist() == [[E, R, E]]


def test_a_caption_that_the_main_path_trusts_itself_with_is_its_own(disagreement):
    """Where the gate would have listened to the parser; the least sure token decides."""
    main, parser, mask = disagreement
    belief, text = main(0.7), disentangler()
    assert text.decide(belief, mask, parser).kind.tolist() == [[E, E, E]]
    text.trust = 0.6
    assert text.decide(belief, mask, parser).kind.tolist() == [[E, R, E]]
    assert text.decide(belief, mask, parser, "asked").kind.tolist() == [[E, E, E]]
    belief.kind[0, 2] = torch.tensor([0.2, 0.5, 0.2, 0.1])
    assert text.decide(belief, mask, parser).kind.tolist() == [[E, E, E]]


def test_the_gates_weights_move_the_decision(disagreement):
    main, parser, mask = disagreement
    text = disentangler()
    text.gate.copy_(torch.tensor([0.0, 0.0, 8.0]))
    assert text.decide(main(0.5), mask, parser).kind.tolist() == [[E, R, E]]
    text.gate.copy_(torch.tensor([0.0, 0.0, -8.0]))
    assert text.decide(main(0.97), mask, parser).kind.tolist() == [[E, E, E]]


def test_without_structure_the_main_path_is_alone(disagreement):
    main, _, mask = disagreement
    assert disentangler().decide(main(0.5), mask).kind.tolist() == [[E, R, E]]
    with pytest.raises(ValueError, match="needs the parser's structure"):
        disentangler().decide(main(0.5), mask, None, "fallback")


def test_an_entity_means_its_attributes_too():
    """Changing the state of "red" changes the unit "red circle", and not the unit "square"."""
    text = disentangler()
    kind = torch.tensor([[A, E, R, E]])
    begin = torch.ones(1, 4, dtype=torch.bool)
    structure = TokenStructure(kind, begin, torch.tensor([[1, -1, 1, -1]]), torch.tensor([[-1, -1, 3, -1]]))
    mask = torch.ones(1, 4, dtype=torch.bool)
    states = torch.randn(1, 4, 16)
    reading = text.read(states, mask)
    before = text.phrases(reading, mask, structure)
    reading.states[0, 0] = torch.randn(16)
    after = text.phrases(reading, mask, structure)
    changed = (after.features - before.features).norm(dim=-1)[0] > 1e-3
    assert before.kind.tolist() == [[A, E, R, E]] and before.subject.tolist() == [[1, -1, 1, -1]]
    assert changed.tolist() == [True, True, False, False]


def test_gradient_reaches_what_pools_and_what_reads():
    text = disentangler()
    states, mask, structure = batch_of(3)
    phrases = text(states, mask, structure)
    (phrases.features.sum() + (phrases.weight * phrases.kind).sum()).backward()
    for name in ("scale", "down.weight", "up.weight", "kind_weight", "reader.enter.weight", "reader.tags.weight"):
        assert float(text.get_parameter(name).grad.abs().sum()) > 0, name


@pytest.mark.parametrize("dimension, limit", [(128, 14_000), (512, 60_000)])
def test_size_of_the_default(dimension, limit):
    text = TextDisentangler.from_config(TextConfig(), dimension)
    assert sum(parameter.numel() for parameter in text.parameters()) <= limit


def test_shifted_sums_are_the_convolution_over_neighbours():
    torch.manual_seed(0)
    reader = TextDisentangler(8, 3, 6, 2, 0.5, 0.9, 0.1).reader.double()
    for length in (1, 2, 7):
        hidden = torch.randn(4, length, 6, dtype=torch.float64)
        expected = reader.neighbours(hidden.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(reader._beside(hidden), expected)
