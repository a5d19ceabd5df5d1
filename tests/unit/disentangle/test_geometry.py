"""Relation phrases can learn what they ask of geometry, and only where the geometry is there to be learned."""

import torch
import torch.nn.functional as F

from vialign.disentangle.geometry import GEOMETRY, argument_geometry, relation_loss, relative_geometry
from vialign.disentangle.types import ENTITY, RELATION, Phrases, Prototypes

WORDS = 4
OFFSETS = torch.tensor([[0.0, -0.4], [0.0, 0.4], [-0.4, 0.0], [0.4, 0.0]])


def world(count: int, seed: int, *, true: bool = True) -> tuple[Prototypes, torch.Tensor, Phrases]:
    """Images of two things, captions `first WORD second`; the word says where the first lies, if `true`."""
    rng = torch.Generator().manual_seed(seed)
    word = torch.randint(0, WORDS, (count,), generator=rng)
    shown = word if true else torch.randint(0, WORDS, (count,), generator=rng)
    things = torch.eye(6)[torch.stack([torch.randperm(6, generator=rng)[:2] for _ in range(count)])]
    moments = torch.full((count, 2, 5), 0.1)
    moments[:, 1, :2] = 0.5
    moments[:, 0, :2] = 0.5 + OFFSETS[shown]
    prototypes = Prototypes(things, torch.full((count, 2), 0.5), None, moments)
    relation = F.normalize(torch.ones(count, 1, 6), dim=-1)
    none, kind = torch.full((count, 3), -1), torch.tensor([ENTITY, ENTITY, RELATION]).repeat(count, 1)
    subject, object_ = none.clone(), none.clone()
    subject[:, 2], object_[:, 2] = 0, 1
    weight = torch.full((count, 3), 1 / 3)
    return prototypes, word, Phrases(torch.cat([things, relation], 1), weight, kind, subject, object_, None)


def accuracy_on_exchanged_roles(seed: int, *, true: bool) -> float:
    """After training directions a word, how often the right order of arguments matches better than the exchanged."""
    table = torch.nn.Parameter(0.01 * torch.randn(WORDS, GEOMETRY, generator=torch.Generator().manual_seed(seed)))
    optimiser = torch.optim.Adam([table], lr=0.05)

    def asked(word: torch.Tensor) -> torch.Tensor:
        return F.pad(F.normalize(table[word], dim=-1)[:, None], (0, 0, 2, 0))

    for step in range(60):
        prototypes, word, phrases = world(64, seed * 1000 + step, true=true)
        phrases = Phrases(**{**phrases.__dict__, "direction": asked(word)})
        loss = relation_loss(prototypes, phrases, torch.tensor(10.0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    prototypes, word, phrases = world(400, seed + 999_999, true=true)
    _, forward, backward = argument_geometry(prototypes, phrases)
    direction = asked(word).detach()
    return float(((direction * forward).sum(-1) > (direction * backward).sum(-1))[:, 2].double().mean())


def test_directions_learn_the_word_and_shuffled_places_teach_nothing() -> None:
    assert accuracy_on_exchanged_roles(1, true=True) > 0.99
    assert abs(accuracy_on_exchanged_roles(1, true=False) - 0.5) < 0.1


def test_a_prototype_beside_itself_has_no_offset() -> None:
    place = torch.rand(3, 5)
    geometry = relative_geometry(place, place)
    assert torch.equal(geometry[:, -1], torch.ones(3))
    assert float(geometry[:, :-1].abs().max()) == 0


def test_captions_without_a_relation_cost_nothing() -> None:
    prototypes, _, phrases = world(4, 0)
    direction = torch.zeros(4, 3, GEOMETRY, requires_grad=True)
    plain = Phrases(**{**phrases.__dict__, "kind": torch.ones_like(phrases.kind), "direction": direction})
    loss = relation_loss(prototypes, plain, torch.tensor(10.0))
    loss.backward()
    assert float(loss.detach()) == 0.0
