"""Configuration of the visual prototypes and the phrase units."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vialign.config.section import Count, Fraction, NonNegative, Positive, Section

PASSES = 25
"""Times that the fit of the dictionary sees each image where its steps are `auto`."""
TEXT_PASSES = 8
"""Times that the fit of the phrase units sees each caption where its steps are `auto`."""


def fixed(size: int | str) -> int:
    """A size that is a number. Raises ValueError where it is `auto`: only a fit knows what that comes to."""
    if isinstance(size, str):
        raise ValueError(f"{size} is no size yet; see vialign.disentangle.sizing")
    return size


class VisualConfig(Section):
    """The purity-guided dictionary and its adaptive pooling."""

    atoms: Count | Literal["auto"] = 40
    """Concepts in the dictionary; `auto`: one for each label that at least 20 of the images have, 40 to 512
    (docs/method.md#24-sizes)."""
    prototypes: Count | Literal["auto"] = 8
    """K, prototypes kept an image; `auto`: as many as nine tenths of the images have labels at most, 8 to 16."""
    steps: Count | Literal["auto"] = 400
    """Of the fit; `auto`: 25 passes over its images."""
    batch: Count = 128
    """Images of a step."""
    learning_rate: Positive = 1e-2
    """Of the fit."""
    background: Annotated[int, Field(ge=0)] = 8
    """Further atoms that take up what no prototype is made of."""
    adapter_rank: Count = 20
    """Of the residual map from pooled patches to prototypes."""
    images: Count = 2000
    """Images that the fit and its measurement see, each; they are also encoded flipped and shifted."""
    labelled: Count | None = None
    """Images of `train` whose labelled boxes the fit is told, drawn by the seed; it sees all others without theirs.
    null: all that have boxes."""
    temperature: Positive = 0.05
    """Of the softmax over the cosines of a patch with the atoms; chosen on training images left out of the fit."""
    reconstruction: NonNegative = 1.0
    """Weight of what the parts leave unexplained of the patches."""
    sparsity: NonNegative = 0.1
    """Weight against patches that are shared by many atoms."""
    usage: NonNegative = 0.5
    """Weight against dead atoms."""
    purity: NonNegative = 1.0
    """Weight of activation inside boxes, and of boxes filled by activation; both need labelled boxes."""
    alignment: NonNegative = 0.5
    """Weight of prototypes that match the text embedding of their label, and captions where those are given."""
    stability: NonNegative = 0.5
    """Weight against maps that do not follow an image which is flipped or shifted."""

    @model_validator(mode="after")
    def enough_atoms(self) -> "VisualConfig":
        """An image cannot keep more prototypes than there are atoms."""
        if "auto" not in (self.prototypes, self.atoms) and fixed(self.prototypes) > fixed(self.atoms):
            raise ValueError("visual.prototypes must not exceed visual.atoms")
        return self


class TextConfig(Section):
    """The dual-path phrase units."""

    units: Count = 8
    """M, units kept a caption."""
    width: Annotated[int, Field(ge=2, multiple_of=2)] = 24
    """Of the token transformer; two attention heads."""
    adapter_rank: Count = 12
    """Of the residual map from pooled token states to phrase units."""
    texts: Count = 20000
    """Captions held in memory while fitting."""
    label_smoothing: Fraction = 0.1
    """Of the parser's structure, as target and as the fallback path's distribution."""
    token_dropout: Fraction = 0.1
    """Share of token states blanked while fitting."""
    noise: NonNegative = 0.1
    """Standard deviation of the noise on token states while fitting, in their own standard deviations."""
    kind: NonNegative = 1.0
    """Weight of the main path's loss on the kinds of tokens."""
    begin: NonNegative = 1.0
    """Weight of its loss on where units begin."""
    subject: NonNegative = 1.0
    """Weight of its loss on the subjects of attributes and relations."""
    object: NonNegative = 1.0
    """Weight of its loss on the objects of relations."""
    alignment: NonNegative = 1.0
    """Weight of the local contrastive loss between phrases and prototypes."""
    relation: NonNegative = 1.0
    """Weight of the loss by which relation phrases learn what they ask of the geometry of their arguments."""
    steps: Count | Literal["auto"] = 600
    """Of the fit; `auto`: 8 passes over its captions."""
    batch: Count = 128
    """Captions of a step."""
    learning_rate: Positive = 1e-2
    """Of the fit."""
    typos: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (0.0, 0.05, 0.1, 0.2)
    """Shares of words with a typo at which all paths are measured; the captions that the fit reads typed draw one."""
    typed_texts: Count = 1500
    """Training captions that the fit also sees with typos."""
    typed_share: Fraction = 0.5
    """Share of them among the captions that a step draws from."""
    gate_texts: Count = 400
    """Training captions that only the gate is fitted on, with typos."""
    measured_texts: Count = 300
    """Validation captions with gold units that are read at every share of typos."""
    confidence: Fraction = 0.8
    """Main-path confidence at which both paths weigh the same, until the gate is fitted."""
    trust: Fraction = 0.8
    """Main-path confidence in a caption's least sure token from which on the parser is not asked."""
