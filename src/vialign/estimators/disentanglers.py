"""The two disentanglers as estimators: patches to prototypes, texts to phrase units."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from vialign.config.disentangle import VisualConfig
from vialign.data.base import image_table
from vialign.disentangle import fit_visual
from vialign.disentangle.visual import chosen_maps
from vialign.tables.data import OBJECTS
from vialign.toolkit.signal import Signal

if TYPE_CHECKING:
    from torch import Tensor


class VisualDisentangler(TransformerMixin, BaseEstimator):
    """A dictionary of concept atoms over patches; the most active atoms of an image are its prototypes.

    `X` (image, rows x columns x dim) holds the patches of each image, row-major and flattened; `grid` says how many
    rows and columns there are, and without it each image is one patch. Fitted without boxes: on reconstruction and
    sparsity. `transform` gives the prototypes' features, most active first, (image, prototypes x dim).

    >>> import numpy as np
    >>> from vialign.estimators import VisualDisentangler
    >>> patches = np.random.default_rng(0).normal(size=(12, 2 * 2 * 5))
    >>> VisualDisentangler(atoms=4, prototypes=2, grid=(2, 2), steps=3).fit_transform(patches).shape
    (12, 10)
    """

    def __init__(
        self,
        atoms: int = 8,
        background: int = 0,
        prototypes: int = 2,
        grid: tuple[int, int] | None = None,
        steps: int = 50,
        batch: int = 32,
        learning_rate: float = 1e-2,
        temperature: float = 0.05,
        random_state: int = 0,
    ) -> None:
        self.atoms, self.background, self.prototypes, self.grid = atoms, background, prototypes, grid
        self.steps, self.batch, self.learning_rate = steps, batch, learning_rate
        self.temperature, self.random_state = temperature, random_state

    def fit(self, X: Any, y: Any = None) -> "VisualDisentangler":
        """Fit the dictionary. Raises ValueError where there are fewer patches than atoms."""
        X = validate_data(self, X, dtype=np.float64)
        patches = self._patches(X)
        if patches.shape[0] * patches.shape[1] < self.atoms + self.background:
            raise ValueError(
                f"n_samples={len(X)} with {patches.shape[1]} patches each are fewer than the "
                f"{self.atoms + self.background} atoms of the dictionary"
            )
        config = VisualConfig(
            atoms=self.atoms,
            background=self.background,
            prototypes=self.prototypes,
            steps=self.steps,
            batch=min(self.batch, len(X)),
            learning_rate=self.learning_rate,
            temperature=self.temperature,
            images=len(X),
            adapter_rank=1,
        )
        names = [str(place) for place in range(len(X))]
        images = image_table([(name, "train", name, 1, 1) for name in names])
        self.visual_, log = fit_visual(
            patches, OBJECTS.empty(), images, None, config, self._grid(), int(self.random_state)
        )
        self.losses_ = log["loss"].to_numpy()
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features of the prototypes, unit vectors, most active first."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            features = self.visual_(self._patches(X)).features
        return np.asarray(features.flatten(1).double().numpy())

    def score(self, X: Any, y: Any = None) -> float:
        """Mean cosine of a patch (without the mean patch) with the prototypes that it is assigned to."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            parts = self.visual_.parts(self._patches(X))
            found = self.visual_.prototypes_of(parts)
            rebuilt = torch.nn.functional.normalize(chosen_maps(parts) @ found.features, dim=-1)
        return float((rebuilt * parts.patches).sum(dim=-1).mean())

    def _grid(self) -> tuple[int, int]:
        return (1, 1) if self.grid is None else (int(self.grid[0]), int(self.grid[1]))

    def _patches(self, X: np.ndarray) -> "Tensor":
        rows, columns = self._grid()
        if X.shape[1] % (rows * columns):
            raise ValueError(f"{X.shape[1]} numbers an image are no {rows} by {columns} patches of one length")
        return torch.from_numpy(X.astype(np.float32)).view(len(X), rows * columns, -1)


class TextDisentangler(TransformerMixin, BaseEstimator):
    """Phrase units of texts, by the units of a fitted signal (`vialign.toolkit.fit_signal`, which fits both sides).

    `X` is a sequence of texts. `transform` gives the features of the phrases, zeros where a text has fewer,
    (text, units x dim); nothing is fitted here, so `score` says in which share of the texts the parser finds a unit.
    """

    def __init__(self, signal: Signal | None = None) -> None:
        self.signal = signal

    def fit(self, X: Sequence[str], y: Any = None) -> "TextDisentangler":
        """Check that there is a signal. Raises ValueError where there is none."""
        self._encoder()
        return self

    def transform(self, X: Sequence[str]) -> np.ndarray:
        """Features of the phrases of each text, unit vectors."""
        phrases = self._encoder().texts(list(X)).phrases
        return np.asarray(phrases.features.flatten(1).double().numpy())

    def score(self, X: Sequence[str], y: Any = None) -> float:
        """Share of the texts in which the parser finds a unit."""
        return float(np.mean(self._encoder().texts(list(X)).parsed))

    def _encoder(self) -> Any:
        if self.signal is None:
            raise ValueError("TextDisentangler: give a fitted signal: TextDisentangler(signal=load_signal(...))")
        return self.signal.encoder
