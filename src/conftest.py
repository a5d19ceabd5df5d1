"""What the docstrings of the toolkit find in their folder: `pytest --doctest-modules src/vialign/toolkit`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

_QUICK = """
visual: {steps: 3, batch: 8, atoms: 8, background: 2, prototypes: 4}
text: {steps: 3, batch: 8}
language: {sentences: 100, epochs: 1}
signal:
  {pairs: 40, permutations: 999, bootstrap: 20, folds: 3, severities: [5], epsilons: [8], attack_steps: 1,
   attack_restarts: 1}
"""


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `shapes/` (36 images with captions), `quick.yaml` (a fit of few steps) and its `units/`."""
    from vialign.config.experiment import read_config
    from vialign.toolkit import draw_example, find_parser, fit_signal, open_backbone, read_captions, save_signal

    folder = tmp_path_factory.mktemp("examples")
    (folder / "quick.yaml").write_text(_QUICK, encoding="utf-8")
    config = read_config(folder / "quick.yaml")
    captions = read_captions(folder / "shapes/images", draw_example(folder / "shapes", images=36))
    parser = find_parser(config=config.language)
    backbone = open_backbone("vialign-scenes", "package")
    signal = fit_signal(backbone, captions, parser, config=config, fit_images=8, calibration_images=6)
    save_signal(signal, folder / "units")
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every docstring starts beside these files, and what it writes is seen by no other."""
    for path in shapes.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    yield
