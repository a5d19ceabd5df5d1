"""One object for a backbone, the method on it and the signal beside it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vialign.aligner.about import About, config_sections, write_about
from vialign.aligner.folder import CARD, METHOD, write_backbone
from vialign.aligner.folding import fold
from vialign.aligner.ranking import Ranking, TrustRule, trust_of
from vialign.aligner.sides import image_data, opened, reads_units, side_of, split_data, text_data
from vialign.backbone.adopting import state_digest, tensors_digest
from vialign.budget.counting import count_parameters
from vialign.config.experiment import Config
from vialign.disentangle import Prototypes
from vialign.errors import UserError
from vialign.files.artifacts import write_tensors, write_text
from vialign.files.folders import new_folder
from vialign.methods.objective import Batch, Objective, Side, SplitData, select
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import SplitFeatures
from vialign.signal.trust.gallery import all_local
from vialign.toolkit.encoder import Encoder
from vialign.toolkit.signal import Signal, write_signal

if TYPE_CHECKING:
    from PIL import Image

    from vialign.analysis.explain import Explanation
    from vialign.backbone import Backbone

BATCH = 32
"""Pictures, or captions, that go through a tower together."""
_IMAGE_PARTS = ("pixels", "trunk", "image_pooled", "patches", "prototypes")
_TEXT_PARTS = ("token_ids", "text_pooled", "states", "mask", "words", "phrases")
_PAIRS = 4
"""Captions that meet the pictures of a block at a time, for each of them."""


class Aligner(nn.Module):
    """Scores pictures with captions by one method on one backbone; with a signal it also explains and judges.

    Made by `vialign.load` (from a folder, or a model's name) and `vialign.wrap` (on a model in memory). Pictures are
    PIL images or names of files; they are turned upright, scaled to 8 bits and laid on white. Everything runs where
    the backbone is (`.to("cuda")` moves it); the disentanglers and the parser stay on the CPU, and so do results.
    """

    def __init__(
        self,
        backbone: "Backbone",
        method: Objective,
        config: Config,
        signal: Signal | None = None,
        about: About | None = None,
    ) -> None:
        super().__init__()
        if reads_units(method) and getattr(method, "correct", None) is not None and signal is None:
            raise UserError(
                f"{method.name}: reads prototypes and phrases, so it needs a signal; give one: signal=FOLDER"
            )
        self.model = backbone.model
        self.method = method
        self.backbone, self.config, self.signal, self.about = backbone, config, signal, about
        self._measured_state = None if about is None else state_digest(method.state())
        self.method.to(backbone.device)

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return self.backbone.device

    @property
    def trust(self) -> TrustRule | None:
        """The rule that judges first answers, where the folder has one; it was fitted on the weights of the folder."""
        return None if self.about is None else self.about.trust

    def score(
        self, images: Sequence["Image.Image | str | Path"], captions: Sequence[str], batch: int = BATCH
    ) -> Float[Tensor, "image text"]:
        """Scores of all pairs, exact, in [-1, 1]; on the CPU.

        `batch` pictures go through the tower together; no score depends on it but for rounding. Raises UserError when
        a picture cannot be read or a caption has no token.

        >>> import vialign
        >>> aligner = vialign.load("vialign-scenes")
        >>> aligner.score(["shapes/images/00000.png"], ["a red circle", "a dog on a beach"]).shape
        torch.Size([1, 2])
        """
        if not len(images) or not len(captions):
            return torch.zeros(len(images), len(captions))
        with self._evaluating():
            return self.scores(self.image_side(images, batch), self.text_side(captions, batch), batch)

    def explain(self, image: "Image.Image | str | Path", caption: str) -> "Explanation":
        """Which phrase of a caption found which prototype, where, and every number of the signal.

        `vialign.report.explain.write_explanation` makes a page of it. Raises UserError without a signal, or for a
        caption without words.
        """
        from vialign.analysis.explain import explain_signal

        signal = self._signal("explain")
        picture = opened(image)

        def methods(texts: pd.DataFrame, features: SplitFeatures) -> dict[str, Float[np.ndarray, "text seed"]]:
            return {self.method.name: self.score([picture], texts["text"].tolist()).T.numpy()}

        calibration = SignalCalibration.from_table(signal.calibration)
        return explain_signal(signal.encoder, calibration, signal.config, picture, caption, methods)

    def rank(
        self, images: Sequence["Image.Image | str | Path"], text: str, top: int = 10, batch: int = BATCH
    ) -> Ranking:
        """The pictures that match some words best, and how far to trust the first of them.

        The chance that the first is right comes from a rule that was fitted on queries with known answers when the
        folder was exported; it speaks of galleries like those. Raises UserError as `score`.

        >>> import vialign
        >>> pictures = [f"shapes/images/0000{n}.png" for n in range(5)]
        >>> len(vialign.load("vialign-scenes").rank(pictures, "a red circle", top=2).indices)
        2
        """
        if not len(images):
            return Ranking([], [], None)
        with self._evaluating():
            data, said = self.image_data(images, batch), self.text_side([text], batch)
            side = side_of(self.method.images, data, len(images), batch)
            scores = self.scores(side, said, batch)[:, 0]
            local = None
            if self.signal is not None:
                prototypes = data.prototypes if reads_units(self.method) else self.prototypes(images, batch)
                local = self.local(prototypes.to("cpu"), text)
        return self.ranking(scores, local, top)

    def ranking(self, scores: Float[Tensor, "image"], local: Float[Tensor, "image"] | None, top: int) -> Ranking:
        """The best of some scores, with the trust in the first; ties keep their order."""
        order = scores.argsort(descending=True, stable=True)[:top]
        judged = trust_of(
            scores.double().numpy(),
            self.backbone.logit_scale,
            None if local is None else local.double().numpy(),
            self.trust,
        )
        return Ranking(order.tolist(), scores[order].tolist(), judged)

    def local(self, prototypes: Prototypes, text: str) -> Float[Tensor, "image"]:
        """S_local of some words with pictures whose prototypes are known."""
        phrases = self._signal("rank").encoder.texts([text]).phrases
        return all_local(prototypes, phrases)[0]

    def prototypes(self, images: Sequence["Image.Image | str | Path"], batch: int = BATCH) -> Prototypes:
        """Prototypes of some pictures, without their maps."""
        encoder = self._signal("prototypes").encoder
        starts = range(0, len(images), batch)
        parts = [encoder.images([opened(image) for image in images[start : start + batch]]) for start in starts]
        return Prototypes.concatenate([part.prototypes for part in parts])

    def image_data(self, images: Sequence["Image.Image | str | Path"], batch: int = BATCH) -> SplitData:
        """What the method reads of some pictures."""
        return image_data(self.backbone, self.method, self._encoder, images, batch)

    def image_side(self, images: Sequence["Image.Image | str | Path"], batch: int = BATCH) -> Side:
        """The image side of a gallery."""
        return side_of(self.method.images, self.image_data(images, batch), len(images), batch)

    def text_side(self, captions: Sequence[str], batch: int = BATCH) -> Side:
        """The text side of a gallery."""
        data = text_data(self.backbone, self.method, self._encoder, captions, batch)
        return side_of(self.method.texts, data, len(captions), batch)

    def scores(self, images: Side, texts: Side, batch: int = BATCH) -> Float[Tensor, "image text"]:
        """Scores of all pairs of two encoded sides, in blocks; on the CPU."""
        count, asked = (len(next(iter(side.values()))) for side in (images, texts))
        return torch.cat(
            [
                torch.cat(
                    [
                        self.method.scores(select(images, rows), select(texts, part)).float().cpu()
                        for part in torch.arange(asked).split(_PAIRS * batch)
                    ],
                    dim=1,
                )
                for rows in torch.arange(count).split(batch)
            ]
        )

    def forward(
        self, images: Sequence["Image.Image | str | Path"], captions: Sequence[str]
    ) -> Float[Tensor, "image text"]:
        """Scores of all pairs with gradients of the method's parameters; everything goes through at once."""
        data = self._together(images, captions)
        index, said = torch.arange(len(images)), torch.arange(len(captions))
        return self.method.scores(self.method.images(data, index), self.method.texts(data, said))

    def loss(self, images: Sequence["Image.Image | str | Path"], captions: Sequence[str]) -> dict[str, Tensor]:
        """The method's own loss of a batch, picture i with caption i; `loss` is what a step goes down.

        There are no rule-made negatives in it. Raises UserError when the numbers differ.
        """
        if len(images) != len(captions):
            raise UserError(f"loss: {len(images)} pictures with {len(captions)} captions; give one caption a picture")
        index = torch.arange(len(images))
        return self.method.loss(self._together(images, captions), Batch(index, index, torch.full_like(index, -1)))

    def print_trainable_parameters(self) -> None:
        """Print how many numbers training changes, how many there are, and their share, as peft does."""
        trainable = sum(parameter.numel() for parameter in self.method.trainable().values())
        units = [] if self.signal is None else [self.signal.encoder.visual, self.signal.encoder.text]
        everything = count_parameters([self.model, self.method, *units])
        share = 100 * trainable / everything
        print(f"trainable params: {trainable:,} || all params: {everything:,} || trainable%: {share:.4f}")

    def save_pretrained(self, folder: str | Path, with_backbone: bool = False) -> None:
        """Write the aligner as a new folder, from which `vialign.load` makes the same scores again.

        The backbone is referred to by the digest of its tensors, or goes along. Where the method was trained on since
        it was loaded, the numbers and the trust of the weights before are left out, and the model card says so. Raises
        UserError when the folder exists or cannot be written.
        """
        with new_folder(folder, "the aligner") as temporary:
            self.write(temporary, with_backbone)

    def write(self, folder: Path, with_backbone: bool) -> About:
        """Write all files into a folder that is there; what `config.json` then says."""
        from vialign.aligner.card import model_card

        if self.signal is not None:
            write_signal(self.signal, folder)
        settings, seed = self.config.backbone, self.config.seed
        reference = write_backbone(self.backbone, settings, seed, folder, with_backbone)
        if self.backbone.contract["checkpoint"].startswith("tensors:"):
            reference.checkpoint = None
        said = {} if self.about is None else self._still_true(self.about).model_dump(exclude={"backbone", "vialign"})
        about = About.model_validate(
            {
                "method": self.method.name,
                **said,
                "backbone": reference,
                "contract": self.backbone.contract,
                "tensors": tensors_digest(self.backbone.model),
                "config": config_sections(self.config),
            }
        )
        write_tensors(self.method.state(), folder / METHOD, {"method": self.method.name})
        write_about(about, folder)
        write_text(model_card(about, self.signal is not None), folder / CARD)
        return about

    @classmethod
    def from_pretrained(cls, folder: str | Path, backbone: "nn.Module | str | Path | None" = None) -> "Aligner":
        """`vialign.load` of an exported folder, with the model in memory, the file or the tag of its weights."""
        from vialign.aligner.opening import load_folder

        return load_folder(Path(folder), backbone)

    def merge(self) -> nn.Module:
        """A plain open_clip model whose cosines are this aligner's scores. Raises UserError where that is not exact."""
        return fold(self.method, self.backbone)

    def _still_true(self, about: About) -> About:
        """What was said of the method, without what was measured of other weights than it has now."""
        return about if state_digest(self.method.state()) == self._measured_state else about.without_numbers()

    @property
    def _encoder(self) -> Encoder | None:
        return None if self.signal is None else self.signal.encoder

    def _signal(self, what: str) -> Signal:
        if self.signal is None:
            raise UserError(
                f"{what}: this aligner has no signal; load an exported folder, or give the folder of "
                "`vialign signal fit`: signal=FOLDER"
            )
        return self.signal

    def _together(self, images: Sequence["Image.Image | str | Path"], captions: Sequence[str]) -> SplitData:
        """Pictures and captions in one split, caption i of picture i."""
        seen = image_data(self.backbone, self.method, self._encoder, images, max(1, len(images)))
        said = text_data(self.backbone, self.method, self._encoder, captions, max(1, len(captions)))
        parts = {name: value for name in _IMAGE_PARTS if (value := getattr(seen, name)) is not None}
        parts |= {name: value for name in _TEXT_PARTS if (value := getattr(said, name)) is not None}
        index = torch.arange(len(captions))
        return split_data(self.backbone, **{**parts, "image_of_text": index, "captions": index})

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """No gradients and no dropout; afterwards the method is in the mode it was in before."""
        training = self.method.training
        self.method.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.method.train(training)
