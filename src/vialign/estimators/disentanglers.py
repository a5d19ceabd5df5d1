"""The two disentanglers as estimators: patches to prototypes, captions to phrase units."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from vialign.aligner.sides import opened
from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.data.base import image_table
from vialign.disentangle import Phrases, Prototypes, fit_visual
from vialign.disentangle.visual import chosen_maps
from vialign.features import extract_texts, read_texts
from vialign.progress import track_starts
from vialign.signal.trust.gallery import all_local
from vialign.tables.data import OBJECTS
from vialign.tables.language import TEXTS
from vialign.toolkit.fitting import fit_phrases
from vialign.toolkit.signal import Signal

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from vialign.toolkit.encoder import Encoder

_BATCH, _SHARD = 64, 2000
"""Texts, or pictures, that go through a tower together, and texts of a stored shard."""


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
    """Phrase units of captions, fitted on captions and their pictures as a run and `vialign signal fit` fit them.

    `signal` (`vialign.toolkit.load_signal`, or an aligner's own) gives the model, the parser and the prototypes of the
    pictures, and is left as it is. `X` is a sequence of texts, `y` the picture of each, an image or the name of a file;
    captions of one picture name the same file or hold the same object. `transform` gives the features of the phrases,
    zeros where a text has fewer, (text, units x dim), and takes texts alone.

    Texts are no arrays, so scikit-learn's `check_estimator` has no form for it.

    >>> from vialign.estimators import TextDisentangler
    >>> from vialign.toolkit import load_signal, open_backbone
    >>> signal = load_signal("units", open_backbone("vialign-scenes", "package"))
    >>> pictures = [f"shapes/images/0000{n}.png" for n in range(4)]
    >>> texts = ["a red circle", "a blue square", "a green star above a red circle", "a star"]
    >>> TextDisentangler(signal, steps=2).fit(texts, pictures).transform(texts).shape
    (4, 1024)
    """

    def __init__(
        self,
        signal: Signal | None = None,
        steps: int = 600,
        batch: int = 128,
        learning_rate: float = 1e-2,
        random_state: int = 0,
    ) -> None:
        self.signal, self.steps, self.batch = signal, steps, batch
        self.learning_rate, self.random_state = learning_rate, random_state

    def fit(self, X: Sequence[str], y: "Sequence[Image.Image | str | Path] | None" = None) -> "TextDisentangler":
        """Fit the phrase units: the parser's reading is the soft target, the pictures' prototypes the other side.

        Raises ValueError without a signal, without a picture for each text, and for fewer than two pictures; UserError
        for a picture that cannot be read and a text without a token.
        """
        encoder, texts = self._encoder(), list(X)
        if y is None or len(y) != len(texts):
            given = "none" if y is None else str(len(y))
            raise ValueError(f"TextDisentangler: {len(texts)} texts with {given} pictures; give each text its own as y")
        pictures, owner = _distinct(y)
        prototypes = _prototypes(encoder, pictures)
        numbers = [str(place) for place in range(len(texts))]
        own = {"text_id": numbers, "image_id": [str(place) for place in owner], "text": texts}
        table = TEXTS.check(pd.DataFrame({**own, "split": "train", "kind": "caption"}))
        config = TextConfig(steps=self.steps, batch=self.batch, learning_rate=self.learning_rate)
        with tempfile.TemporaryDirectory() as folder:
            extract_texts(encoder.backbone, table, folder, batch=_BATCH, shard=_SHARD, provenance={})
            self.text_, log = fit_phrases(
                encoder.backbone,
                read_texts(folder),
                table,
                torch.tensor(owner),
                prototypes,
                encoder.parser,
                config,
                int(self.random_state),
            )
        self.losses_ = log["loss"].to_numpy()
        return self

    def transform(self, X: Sequence[str]) -> np.ndarray:
        """Features of the phrases of each text, unit vectors."""
        return np.asarray(self._phrases(X).features.flatten(1).double().numpy())

    def score(self, X: Sequence[str], y: "Sequence[Image.Image | str | Path]") -> float:
        """Share of the texts whose own picture matches their phrases best of all pictures given (local recall@1)."""
        phrases = self._phrases(X)
        pictures, owner = _distinct(y)
        local = all_local(_prototypes(self._encoder(), pictures), phrases)
        own = torch.tensor(owner)
        mine = local.gather(1, own[:, None])
        return float(((local >= mine).sum(dim=1) == 1).double().mean())

    def _phrases(self, X: Sequence[str]) -> "Phrases":
        check_is_fitted(self, "text_")
        fitted = replace(self._encoder(), text=self.text_)
        texts = list(X)
        parts = [fitted.texts(texts[start : start + _BATCH]).phrases for start in range(0, len(texts), _BATCH)]
        return Phrases.concatenate(parts)

    def _encoder(self) -> "Encoder":
        if self.signal is None:
            raise ValueError("TextDisentangler: give a fitted signal: TextDisentangler(signal=load_signal(...))")
        return self.signal.encoder


def _distinct(
    pictures: "Sequence[Image.Image | str | Path]",
) -> "tuple[list[Image.Image | str | Path], list[int]]":
    """Every picture once, by file name or by object, and the place of each among them."""
    places: dict[str | int, int] = {}
    found: list[Image.Image | str | Path] = []
    owner = []
    for picture in pictures:
        key = str(picture) if isinstance(picture, str | Path) else id(picture)
        if key not in places:
            places[key] = len(found)
            found.append(picture)
        owner.append(places[key])
    return found, owner


def _prototypes(encoder: "Encoder", pictures: "Sequence[Image.Image | str | Path]") -> Prototypes:
    starts = track_starts(len(pictures), _BATCH, "pictures")
    parts = [encoder.images([opened(picture) for picture in pictures[start : start + _BATCH]]) for start in starts]
    return Prototypes.concatenate([part.prototypes for part in parts])
