"""Which patch readout is the most local: the pointing game, on objects with boxes.

For an object described in words ("a red circle") the patch most similar to the text should lie on the object. The
share of objects for which it does is the pointing accuracy; a patch drawn at random hits with the share of patch
centres that lie in the box, and that is chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from vialign.config.data import FeaturesConfig
from vialign.data.base import object_phrase
from vialign.device import within_memory
from vialign.errors import UserError
from vialign.features.pixels import boxes_in_crop, load_pixels
from vialign.names import CROPS
from vialign.progress import track_starts
from vialign.random import generator
from vialign.tables.language import QUALITY

if TYPE_CHECKING:
    from vialign.backbone import Backbone


@dataclass(frozen=True)
class ReadoutChoice:
    """The readout that the run uses, why, and the measurements behind it."""

    readout: str
    reason: str
    quality: pd.DataFrame
    """Rows of `QUALITY`; none where nothing could be measured."""


def require_readout(backbone: "Backbone", readout: str) -> None:
    """Raises UserError where the backbone cannot be read so."""
    offered = (*backbone.readouts, CROPS)
    if readout not in offered:
        raise UserError(
            f"features.readout: {backbone.contract['architecture']} offers {', '.join(offered)}, not {readout!r}"
        )


@within_memory("features.batch")
def choose_readout(
    config: FeaturesConfig,
    backbone: "Backbone",
    images: pd.DataFrame,
    objects: pd.DataFrame,
    folders: Mapping[str, Path],
    *,
    domain: str,
    seed: int,
) -> ReadoutChoice:
    """Follow `config.readout`, or take the readout with the best pointing accuracy where it says `auto`.

    `images` (rows of `IMAGES`) must be of a split that no result is reported on; at most `config.readout_images` of
    those with `objects` are used. Without boxes the choice is `final`, and the reason says so. `crops`, ten passes of
    the tower in place of one, is measured beside the others where the config asks for it, and never taken by itself.
    Raises UserError when the configured readout is not offered by the backbone.
    """
    if config.readout != "auto":
        require_readout(backbone, config.readout)
    boxed = objects[objects["image_id"].isin(images["image_id"])]
    if boxed.empty:
        readout = "final" if config.readout == "auto" else config.readout
        why = (
            "chosen in the config" if config.readout != "auto" else f"no object boxes in {domain} to measure others on"
        )
        return ReadoutChoice(readout, why, QUALITY.empty())
    apart = (CROPS,) if config.readout == CROPS else ()
    quality = measure_readouts(
        backbone,
        images,
        boxed,
        folders,
        (*backbone.readouts, *apart),
        limit=config.readout_images,
        batch=config.batch,
        domain=domain,
        seed=seed,
    )
    if config.readout != "auto":
        return ReadoutChoice(config.readout, "chosen in the config", quality)
    measured = quality[quality["subject"].isin([_subject(name) for name in backbone.readouts])]
    if measured.empty:
        return ReadoutChoice("final", f"no object of {domain} lies in what the image tower sees", quality)
    best = backbone.readouts[int(np.argmax(measured["value"].to_numpy()))]
    return ReadoutChoice(best, f"best pointing accuracy of {len(measured)} readouts on {domain}", quality)


def measure_readouts(
    backbone: "Backbone",
    images: pd.DataFrame,
    objects: pd.DataFrame,
    folders: Mapping[str, Path],
    readouts: Sequence[str],
    *,
    limit: int,
    batch: int,
    domain: str,
    seed: int,
    bootstrap: int = 2000,
) -> pd.DataFrame:
    """Pointing accuracy of these readouts, with 95 % bootstrap intervals over images.

    Returns rows of `QUALITY`: one a readout, in their order, and one for chance; none when no box is left inside the
    crop.
    """
    targets = pointing_targets(images, objects, backbone.grid, backbone.resize_mode)
    chosen = targets["image_id"].unique()
    if len(chosen) > limit:
        chosen = generator(seed, "readout", "images").choice(chosen, size=limit, replace=False)
    images = images[images["image_id"].isin(chosen)]
    targets = targets[targets["image_id"].isin(chosen)]
    if targets.empty:
        return QUALITY.empty()
    phrases = _encode_phrases(backbone, sorted(set(targets["phrase"])), batch)
    row_of_image = {image_id: row for row, image_id in enumerate(images["image_id"])}
    rows = targets["image_id"].map(row_of_image).to_numpy()
    inside = torch.from_numpy(np.stack(targets["inside"].tolist()))
    hits = {name: np.zeros(len(targets), bool) for name in readouts}
    for start in track_starts(len(images), batch, "pointing accuracy of the readouts"):
        pixels = load_pixels(images.iloc[start : start + batch], folders, backbone).to(backbone.device)
        with torch.inference_mode():
            patches = backbone.image_outputs(backbone.normalise(pixels), readouts).patches
        here = np.flatnonzero((rows >= start) & (rows < start + batch))
        texts = torch.stack([phrases[targets["phrase"].iloc[position]] for position in here])
        local = torch.from_numpy(rows[here] - start)
        for name, tokens in patches.items():
            hits[name][here] = pointing_hits(tokens.float().cpu(), texts, local, inside[here]).numpy()
    rng = generator(seed, "readout", "bootstrap")
    draws = rng.integers(0, len(images), (bootstrap, len(images)))
    records = [(_subject(name), *cluster_interval(values.astype(float), rows, draws)) for name, values in hits.items()]
    records.append((_subject("chance"), float(inside.double().mean()), np.nan, np.nan))
    frame = pd.DataFrame(records, columns=["subject", "value", "low", "high"])
    return QUALITY.check(frame.assign(domain=domain, measure="pointing accuracy", count=len(targets)))


def pointing_targets(
    images: pd.DataFrame, objects: pd.DataFrame, grid: tuple[int, int], resize_mode: str
) -> pd.DataFrame:
    """What to point at: one row an image and phrase, with the patches whose centre lies in one of its boxes.

    Columns `image_id`, `phrase` ("a red circle", or the column `phrase` of the objects, where people wrote what they
    point at, as in Flickr30k Entities), `inside` (bool, one a patch). Objects of one image that the same
    words describe are one target; a target that covers no patch centre cannot be hit and is left out.
    """
    frame = objects.merge(images[["image_id", "width", "height"]], on="image_id", suffixes=("", "_image"))
    boxes = boxes_in_crop(
        frame[["x", "y", "width", "height"]].to_numpy(float),
        frame["width_image"].to_numpy(float),
        frame["height_image"].to_numpy(float),
        resize_mode,
    )
    frame = frame.assign(
        phrase=frame["phrase"]
        if "phrase" in frame
        else [object_phrase(name, words) for name, words in zip(frame["name"], frame["attributes"], strict=True)],
        inside=list(centres_inside(boxes, grid)),
    )
    together = frame.groupby(["image_id", "phrase"], sort=False)["inside"].agg(
        lambda masks: np.any(list(masks), axis=0)
    )
    targets = together.reset_index() if len(frame) else frame[["image_id", "phrase", "inside"]]
    return targets[[mask.any() for mask in targets["inside"]]].reset_index(drop=True)


def centres_inside(boxes: Float[np.ndarray, "box 4"], grid: tuple[int, int]) -> Bool[np.ndarray, "box patch"]:
    """Which patch centres lie in each box (x0, y0, x1, y1 in [0, 1]); patches are row-major."""
    rows, columns = grid
    y = np.repeat((np.arange(rows) + 0.5) / rows, columns)
    x = np.tile((np.arange(columns) + 0.5) / columns, rows)
    x0, y0, x1, y1 = boxes.T[..., None]
    return (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)


def pointing_hits(
    patches: Float[Tensor, "image patch dim"],
    phrases: Float[Tensor, "target dim"],
    image_of_target: Int[Tensor, "target"],
    inside: Bool[Tensor, "target patch"],
) -> Bool[Tensor, "target"]:
    """Whether the patch with the highest cosine to each phrase is one of the target's patches."""
    own = functional.normalize(patches, dim=-1)[image_of_target]
    best = (own @ phrases[..., None]).squeeze(-1).argmax(dim=-1)
    return inside.gather(1, best[:, None]).squeeze(1)


def cluster_interval(
    values: Float[np.ndarray, "item"], cluster: Int[np.ndarray, "item"], draws: Int[np.ndarray, "bootstrap cluster"]
) -> tuple[float, float, float]:
    """Mean of `values` and its 95 % percentile interval when whole clusters are drawn, as listed in `draws`.

    Where all values are 0, or all 1, every drawing has that mean: the interval is then Wilson's, of as many clusters.
    """
    if (values == values[0]).all() and values[0] in (0, 1):
        from scipy.stats import binomtest

        clusters = draws.shape[1]
        end = binomtest(int(values[0]) * clusters, clusters).proportion_ci(0.95, method="wilson")
        return float(values[0]), float(end.low), float(end.high)
    sums = np.bincount(cluster, values, minlength=draws.shape[1])
    counts = np.bincount(cluster, minlength=draws.shape[1])
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def _encode_phrases(backbone: "Backbone", phrases: list[str], batch: int) -> dict[str, Tensor]:
    vectors: dict[str, Tensor] = {}
    for start in range(0, len(phrases), batch):
        part = phrases[start : start + batch]
        with torch.inference_mode():
            pooled = backbone.encode_text(backbone.tokenize(part).ids.to(backbone.device))
        vectors.update(zip(part, pooled.float().cpu(), strict=True))
    return vectors


def _subject(readout: str) -> str:
    return f"readout {readout}"
