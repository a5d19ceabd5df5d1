"""Every loss and score as a pure function: where its arguments are, whatever device that is, and in bfloat16."""

from dataclasses import is_dataclass, replace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from elsewhere import META, elsewhere
from planted import asked, random_world
from tolerance import close
from vialign.contrastive import contrastive_loss, pair_losses
from vialign.disentangle import losses
from vialign.disentangle.geometry import relation_loss, relative_geometry
from vialign.disentangle.structure import TokenDistributions
from vialign.disentangle.text import Reading, TextDisentangler
from vialign.disentangle.text_fitting import structure_losses
from vialign.disentangle.types import TokenStructure
from vialign.disentangle.visual import VisualDisentangler
from vialign.methods.baselines.crops import mean_best_match
from vialign.methods.baselines.filip import late_interaction, reduce_matches
from vialign.methods.baselines.fsc_clip import focal_smoothed_loss, local_score
from vialign.methods.baselines.negclip import negclip_loss
from vialign.methods.baselines.tip_adapter import cached
from vialign.methods.baselines.uniter import added
from vialign.methods.baselines.vinvl import mean_best
from vialign.methods.curriculum.correct import local_matches
from vialign.methods.curriculum.reweight import ambiguity, normalise_weights
from vialign.methods.objective import hardest_losses, negative_losses
from vialign.signal.score import agreement, consistency, local_similarity, match_entropy, relation_queries
from vialign.signal.transport import sinkhorn_loss

DIM = 12


class Case(NamedTuple):
    """A function with arguments, and what its result may be off by in bfloat16."""

    function: object
    arguments: tuple
    scale: float = 1.0
    """Of the largest number on the way, for `close`; logits are larger than cosines."""
    length: int = DIM
    """Roundings on the way."""


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def unit(*shape):
    return F.normalize(draw(*shape), dim=-1)


def mapped(part, change):
    """The arguments with every tensor changed."""
    if isinstance(part, torch.Tensor):
        return change(part)
    if is_dataclass(part):
        return type(part)(**{name: mapped(value, change) for name, value in vars(part).items()})
    if isinstance(part, dict):
        return {name: mapped(value, change) for name, value in part.items()}
    if isinstance(part, tuple):
        values = [mapped(value, change) for value in part]
        return type(part)(*values) if hasattr(part, "_fields") else tuple(values)
    return part


def single(part):
    """The same in single precision."""
    return mapped(part, lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)


def cases():
    prototypes, phrases = (single(part) for part in random_world(0, texts=5)[:2])
    told = asked(phrases.features, phrases.subject, phrases.object)
    phrases = replace(phrases, direction=told)
    local = (prototypes.features, phrases.features, phrases.weight, prototypes.mass)
    geometry = (prototypes.moments, relation_queries(phrases))
    logits, assignment = 3 * draw(6, 6), draw(3, 9, 8).softmax(dim=-1)
    coverage = (draw(3, 2, 9) > 0.5).float()
    present = torch.tensor([[True, True, False], [True, True, True], [True, False, False], [True, True, True]])
    patches, tokens = unit(4, 9, DIM), unit(4, 3, DIM)
    kinds = torch.tensor([[1, 3, 1], [2, 1, 0]])
    structure = TokenStructure(kinds, kinds > 0, torch.where(kinds > 1, 0, -1), torch.where(kinds == 3, 2, -1))
    said = TokenDistributions(draw(2, 3, 4), draw(2, 3), draw(2, 3, 4), draw(2, 3, 4))
    reading = Reading(draw(2, 3, DIM), said, said, draw(2, 3), draw(2, 3, DIM))
    return {
        "contrastive": Case(contrastive_loss, (logits,), 10),
        "weighted contrastive": Case(contrastive_loss, (logits, torch.rand(6) + 0.5), 10),
        "pair losses": Case(pair_losses, (logits,), 10),
        "negatives": Case(negative_losses, (logits[0], logits[1]), 10),
        "hardest": Case(hardest_losses, (logits,), 10),
        "negclip": Case(negclip_loss, (logits, logits[:, :2]), 10),
        "focal, smoothed": Case(focal_smoothed_loss, (logits[:, :2], 2.0, 0.02), 10),
        "local score": Case(local_score, (patches, tokens, present, 10.0), 20, 3 * DIM),
        "late interaction": Case(late_interaction, (patches, tokens, present)),
        "reduced matches": Case(reduce_matches, (patches @ tokens.transpose(1, 2), present)),
        "regions and words": Case(
            lambda *parts: torch.cat(mean_best(*parts)),
            (patches @ tokens.transpose(1, 2), draw(4, 9) > 0, present, present / 3),
        ),
        "pieces and crops": Case(mean_best_match, (tokens @ patches.transpose(1, 2), present)),
        "added": Case(added, (logits.tanh() / 2, logits / 10)),
        "cache": Case(
            cached, (unit(4, DIM), unit(3, DIM), unit(3, DIM), torch.tensor([True, True, False]), 0.2, 5.0), 5
        ),
        "reconstruction": Case(losses.reconstruction_loss, (patches, draw(4, 9, 3).softmax(-1), unit(4, 3, DIM)), 4),
        "sparsity": Case(losses.sparsity_loss, (assignment,)),
        "usage": Case(losses.usage_loss, (assignment,), 2),
        "purity": Case(losses.purity_loss, (assignment, coverage)),
        "extent": Case(losses.extent_loss, (assignment, coverage)),
        "alignment": Case(
            losses.alignment_loss, (unit(4, DIM), torch.tensor([0, 1, 2, 1]), unit(3, DIM), torch.tensor(5.0)), 10
        ),
        "stability": Case(losses.stability_loss, (assignment, assignment.flip(0), torch.arange(9) - 1)),
        "local scores": Case(losses.local_scores, local[:3]),
        "caption scores": Case(losses.caption_scores, (prototypes.features, unit(5, DIM)), 10),
        "relations": Case(relation_loss, (prototypes, phrases, torch.tensor(5.0)), 20, 3 * DIM),
        "geometry": Case(relative_geometry, (prototypes.moments[:, 0], prototypes.moments[:, 1]), 8),
        "structure": Case(
            lambda *parts: sum(structure_losses(*parts, 0.1).values()), (reading, kinds > 0, structure), 10
        ),
        "S_local": Case(local_similarity, (*local, *geometry), 4, 2 * DIM),
        "match entropy": Case(match_entropy, (*local[:3], 0.1, local[3]), 10),
        "C": Case(consistency, (logits.sigmoid(), logits.T.sigmoid())),
        "agreement": Case(agreement, (logits.sigmoid(), logits.T.sigmoid())),
        "transport": Case(sinkhorn_loss, (local[0], local[3], local[1], local[2], 0.5, 5), 4, 4 * DIM),
        "ambiguity": Case(ambiguity, (logits.sigmoid()[0], logits.sigmoid()[1], 1.0, 1.0), 2),
        "weights": Case(normalise_weights, (logits.sigmoid()[0], torch.tensor(0.5), 0.25, 4.0), 4),
        "matches": Case(local_matches, (prototypes.features[None], phrases.features[None])),
    }


CASES = cases()
every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_the_result_is_where_the_arguments_are(name):
    function, arguments = CASES[name][:2]
    with elsewhere():
        found = function(*mapped(arguments, lambda tensor: tensor.to(META)))
        assert found.device == META and torch.equal(found.cpu(), function(*arguments))


@every_case
def test_no_tensor_is_made_elsewhere(name):
    function, arguments = CASES[name][:2]
    expected = function(*arguments)
    with META:  # where a tensor is made of which nobody says where
        found = function(*arguments)
    assert torch.equal(found, expected)


@every_case
def test_bfloat16_gives_the_same_but_for_its_roundings(name):
    function, arguments, scale, length = CASES[name]
    expected = function(*arguments)
    halved = mapped(arguments, lambda tensor: tensor.bfloat16() if tensor.is_floating_point() else tensor)
    found = function(*halved)
    torch.testing.assert_close(found.float(), expected, atol=close(torch.bfloat16, length, scale), rtol=0)


def disentanglers():
    """Both with what they read: patches; states, mask and the parser's structure."""
    visual = VisualDisentangler(DIM, (3, 3), atoms=8, background=1, prototypes=4, temperature=0.1, adapter_rank=2)
    sizes = dict(units=3, width=12, adapter_rank=2, confidence=0.7, trust=0.9, smoothing=0.1, lexical=4)
    mask = torch.arange(6) < torch.tensor([4, 6])[:, None]
    kind = torch.tensor([[1, 3, 3, 1, 0, 0], [2, 1, 1, 3, 2, 1]])
    structure = TokenStructure(kind, kind > 0, torch.where(kind == 3, 0, -1), torch.where(kind == 3, 3, -1))
    return (visual, (draw(2, 9, DIM),)), (TextDisentangler(DIM, **sizes), (draw(2, 6, DIM + 4), mask, structure))


def test_the_disentanglers_run_where_they_are():
    for module, arguments in disentanglers():
        module = module.requires_grad_(False)
        expected = module(*arguments)
        with META:
            found = module(*arguments)
        moved = module.to(META)(*mapped(arguments, lambda tensor: tensor.to(META)))
        for name, value in vars(expected).items():
            assert torch.equal(vars(found)[name], value) and vars(moved)[name].device == META, name
