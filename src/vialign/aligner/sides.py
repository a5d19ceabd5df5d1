"""From pictures and captions in memory to what a method reads, in batches of bounded size."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import pad

from vialign.catalogue import METHODS
from vialign.disentangle import Phrases, Prototypes
from vialign.disentangle.caption_data import require_tokens
from vialign.errors import UserError
from vialign.files.images import as_rgb, open_image
from vialign.methods.ground import word_summary
from vialign.methods.objective import Objective, Side, SplitData
from vialign.progress import track_blocks
from vialign.tables.language import TEXTS
from vialign.toolkit.encoder import Encoder, TextTokens, image_features, prototypes_of, read_tokens, to_pixels

if TYPE_CHECKING:
    from PIL import Image

    from vialign.backbone import Backbone

Picture = "Image.Image | str | Path"
"""A picture in memory, or the name of its file."""
Item = TypeVar("Item")
_OWN = ("prototypes", "phrases")
"""What the curriculum reads beside embeddings, in the words of the catalogue."""


def reads_units(method: Objective) -> bool:
    """Whether a method reads prototypes and phrases, so that it needs a signal."""
    return not set(_OWN).isdisjoint(METHODS[method.name].reads)


def opened(picture: "Image.Image | str | Path") -> "Image.Image":
    """A picture as the towers get it: upright, eight bits, on white.

    Raises UserError where a file cannot be read.
    """
    if isinstance(picture, str | Path):
        return open_image(Path(picture), own=True).picture
    return as_rgb(picture, own=True).picture


def image_data(
    backbone: "Backbone",
    method: Objective,
    encoder: Encoder | None,
    pictures: Sequence["Image.Image | str | Path"],
    batch: int,
) -> SplitData:
    """The image half of a split: what the method reads of some pictures, on the backbone's device."""
    refuse_regions(method)
    parts = [
        _image_part(backbone, method, encoder, [opened(picture) for picture in some])
        for some in track_blocks(blocks(pictures, batch), f"{method.name}: images", len(pictures))
    ]
    return split_data(backbone, **joined(parts, backbone.device))


def text_data(
    backbone: "Backbone", method: Objective, encoder: Encoder | None, captions: Sequence[str], batch: int
) -> SplitData:
    """The text half of a split: what the method reads of some captions, on the backbone's device.

    Raises UserError when a caption has no token.
    """
    refuse_regions(method)
    names = [f"caption {place}" for place in range(len(captions))]
    if "token_ids" in method.needs:
        tokens = backbone.tokenize(captions)
        require_tokens(tokens.mask, names)
        # With their words, which a method may take apart.
        frame = pd.DataFrame({"text_id": names, "kind": "caption", "text": list(captions)})
        words: dict[str, object] = {}
        if "words" in method.needs:
            said = [_words(backbone, read_tokens(backbone, some, names)) for some in blocks(captions, batch)]
            words = {"words": torch.cat(said).to(backbone.device)}
        return split_data(backbone, texts=frame, token_ids=tokens.ids.to(backbone.device), **words)
    parts = [
        _text_part(backbone, method, encoder, list(some), names[start : start + batch])
        for start, some in zip(range(0, len(captions), batch), blocks(captions, batch), strict=True)
    ]
    return split_data(backbone, **joined(parts, backbone.device))


def split_data(backbone: "Backbone", **parts: object) -> SplitData:
    """A split of these parts; every other part has no items, and no text belongs to an image."""
    dimension, device = backbone.dimension, backbone.device
    none, whole = torch.zeros(0, 1, device=device), torch.zeros(0, 1, dtype=torch.long, device=device)
    units = torch.zeros(0, 1, dimension, device=device)
    images, texts = _count(parts, ("image_pooled", "pixels", "trunk")), _count(parts, ("text_pooled", "token_ids"))
    given: dict[str, object] = {
        "image_ids": [],
        "texts": TEXTS.empty(),
        "image_of_text": torch.full((texts,), -1),
        "captions": torch.zeros(0, dtype=torch.long),
        "negatives": torch.zeros(texts, 0, dtype=torch.long),
        "image_pooled": torch.zeros(images, dimension, device=device),
        "text_pooled": torch.zeros(texts, dimension, device=device),
        "prototypes": Prototypes(units, none, None, torch.zeros(0, 1, 5, device=device)),
        "phrases": Phrases(units, none, whole, whole, whole, None),
    }
    return SplitData(**{**given, **parts})  # type: ignore[arg-type]


def _count(parts: dict[str, object], names: tuple[str, ...]) -> int:
    return next((len(part) for name in names if isinstance(part := parts.get(name), Tensor)), 0)


def side_of(encode: Callable[[SplitData, Tensor], Side], data: SplitData, count: int, batch: int) -> Side:
    """One side of a gallery, encoded a batch at a time."""
    parts = [encode(data, index) for index in torch.arange(count).split(batch)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def refuse_regions(method: Objective) -> None:
    """Raises UserError for a method that reads explicit regions, which no picture brings along."""
    if "regions" in method.needs:
        raise UserError(
            f"{method.name}: reads the regions that a detector found in each image, and a picture alone has none; "
            "evaluate it with a run (data.regions) instead"
        )


def blocks(items: Sequence[Item], size: int) -> Iterable[Sequence[Item]]:
    """The items in runs of `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def joined(parts: Sequence[dict[str, object]], device: torch.device) -> dict[str, object]:
    """Parts of several batches as one; token by token parts are padded with zeros to the longest text of all."""
    result: dict[str, object] = {}
    for name in parts[0]:
        pieces = [part[name] for part in parts]
        first = pieces[0]
        if isinstance(first, Prototypes):
            result[name] = Prototypes.concatenate(pieces).to(device)  # type: ignore[arg-type]
        elif isinstance(first, Phrases):
            result[name] = Phrases.concatenate(pieces).to(device)  # type: ignore[arg-type]
        else:
            result[name] = torch.cat(_same_length(pieces, name)).to(device)  # type: ignore[arg-type]
    return result


def _same_length(pieces: Sequence[Tensor], name: str) -> list[Tensor]:
    if name not in ("states", "mask"):
        return list(pieces)
    longest = max(piece.shape[1] for piece in pieces)
    behind = (0, 0) if name == "states" else ()
    return [pad(piece, (*behind, 0, longest - piece.shape[1])) for piece in pieces]


def _image_part(
    backbone: "Backbone", method: Objective, encoder: Encoder | None, pictures: list["Image.Image"]
) -> dict[str, object]:
    pixels = to_pixels(backbone, pictures)
    if "pixels" in method.needs:
        return {"pixels": pixels}
    if "trunk" in method.needs:
        with torch.inference_mode():
            output = backbone.image_outputs(backbone.normalise(pixels.to(backbone.device)), ())
        assert output.trunk is not None
        return {"trunk": output.trunk.float()}
    pooled, patches = image_features(backbone, pixels, "final" if encoder is None else encoder.readout)
    part: dict[str, object] = {"image_pooled": pooled}
    if "patches" in method.needs:
        part["patches"] = patches.half()
    if encoder is not None and reads_units(method):
        part["prototypes"] = prototypes_of(encoder.visual, patches)
    return part


def _text_part(
    backbone: "Backbone", method: Objective, encoder: Encoder | None, captions: list[str], names: list[str]
) -> dict[str, object]:
    read = read_tokens(backbone, captions, names)
    require_tokens(read.mask, names)
    part: dict[str, object] = {"text_pooled": read.pooled}
    if "states" in method.needs:
        part |= {"states": read.states.half(), "mask": read.mask}
    if "words" in method.needs:
        part["words"] = _words(backbone, read)
    if encoder is not None and reads_units(method):
        part["phrases"] = encoder.phrases(captions, read)[0]
    return part


def _words(backbone: "Backbone", read: TextTokens) -> Tensor:
    return word_summary(read.states, read.mask, backbone.dimension)
