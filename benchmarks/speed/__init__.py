"""Speed of vialign beside what a user would take instead: `python -m benchmarks.speed`, or `make bench`."""

import vialign.backbone  # noqa: F401  # mends torchvision where that is broken, before any library here loads it
