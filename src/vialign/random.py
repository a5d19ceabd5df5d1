"""Seeds: every random choice derives from the run's seed and the name of what is being drawn."""

import hashlib

import numpy as np


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed that depends on `seed` and on every name, and on nothing else (not on call order)."""
    text = "/".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """An independent numpy generator for one named purpose."""
    return np.random.default_rng(derive_seed(seed, *names))


def seed_torch(seed: int, *names: object) -> None:
    """Seed torch's global generators for one named purpose and ask for deterministic kernels."""
    import torch

    torch.manual_seed(derive_seed(seed, *names))
    torch.use_deterministic_algorithms(True, warn_only=True)
