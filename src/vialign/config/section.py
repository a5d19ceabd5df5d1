"""What every section of the configuration is made of: its base class and the kinds of number and name."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]


Count = Annotated[int, Field(ge=1)]


Level = Annotated[float, Field(gt=0, lt=1)]
"""Of a test or an interval: at 0 and 1 neither says anything."""


Positive = Annotated[float, Field(gt=0)]


Percent = Annotated[float, Field(gt=0, le=100)]


NonNegative = Annotated[float, Field(ge=0)]


Name = Annotated[str, Field(min_length=1)]


Names = Annotated[tuple[str, ...], Field(min_length=1)]


Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


class Section(BaseModel):
    """A part of the configuration; frozen, and closed to keys it does not know.

    The text under a key is its meaning. `vialign.config.reference` reads it from the source: pydantic would at every
    start, which takes up to a second where many modules are loaded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
