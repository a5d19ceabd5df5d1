"""WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903): weights between the frozen and the tuned ones.

Free, since nothing is trained: a share of the tuned weights, which selection chooses. What differs from the paper: the
share is chosen for each method and seed, where the paper recommends one half without validation data.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor

from vialign.methods.objective import Objective

State = Mapping[str, Tensor]


def averaged(start: State, tuned: State, share: float, fitted: Collection[str] = ()) -> dict[str, Tensor]:
    """`(1 - share) start + share tuned`, as it changes the weights of the backbone.

    Low-rank changes are products, `B A` with `B = 0` at the start: there `B` alone is scaled, so that the change is
    `share` times the tuned one and not its square. What was `fitted` before the first step is no weight, and an average
    of it with nothing would be another fit: it is the tuned one's at every share.
    """
    there = {name: tuned[name].to(tensor.device) for name, tensor in start.items()}
    return {
        name: there[name].clone() if "lora_A" in name or name in fitted else tensor.lerp(there[name], share)
        for name, tensor in start.items()
    }


def choose_share(
    method: Objective, start: State, tuned: State, shares: Sequence[float], score: Callable[[], float]
) -> tuple[float, dict[float, float]]:
    """The share whose weights score best (the first of equals), and the score of each; the method is left with it."""
    found: dict[float, float] = {}
    fitted = method.statistics()
    for share in shares:
        method.load_state(averaged(start, tuned, share, fitted))
        found[share] = score()
    best = max(found, key=lambda share: found[share])
    method.load_state(averaged(start, tuned, best, fitted))
    return best, found
