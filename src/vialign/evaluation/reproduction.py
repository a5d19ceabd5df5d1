"""Whether the frozen backbone reproduces published numbers before its data counts, and, where not, why not."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pandas as pd

from vialign.config.evaluation import ExpectedValue
from vialign.data.folders import EMBEDDED
from vialign.errors import UserError
from vialign.evaluation.published_means import MEANS, METRIC
from vialign.evaluation.published_values import published_values
from vialign.names import BENCHMARKS
from vialign.tables.evaluation import REPRODUCTION

_RETRIEVAL = ("image_to_text", "text_to_image")
_QUICK_GELU = "-quickgelu"
PUBLISHED_NAMES = {"coco": "coco_5k", "aro_relation": "aro_vg_relation", "aro_attribution": "aro_vg_attribution"}
"""Name in this project to the name in the published values, where they differ."""
NO_CAUSE = "no known cause fits: check the weights, the tokenizer and the order of the captions"


@dataclass(frozen=True)
class Measured:
    """What is known of how the values were measured; what is not known stays empty and is no cause."""

    contract: Mapping[str, str] = field(default_factory=dict)
    """That of the backbone: activation and preprocessing are read."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Items by benchmark, with retrieval's galleries as `test images` and `test captions`."""
    square: bool = False
    """Whether every image of the split is a square of the same size, as after squashing."""
    terms: Mapping[str, str] = field(default_factory=dict)
    """Preprocessing and tokenizer of the published values, as a contract says them."""


def has_known_values(
    architecture: str, checkpoint: str | None, expected: Sequence[ExpectedValue], more: Sequence[str] = ()
) -> bool:
    """Whether there is anything that the frozen backbone can be held against before modules are trained on it.

    `more` are files of published values beside those of the package. Raises UserError as `published_values`.
    """
    published = published_values(tuple(more))
    own = published["architecture"].str.removesuffix(_QUICK_GELU) == architecture.removesuffix(_QUICK_GELU)
    return bool(expected) or bool((own & (published["checkpoint"] == checkpoint)).any())


def check_reproduction(
    results: pd.DataFrame,
    architecture: str,
    checkpoint: str | None,
    dataset: str,
    expected: Sequence[ExpectedValue] = (),
    *,
    method: str = "frozen",
    split: str = "test",
    contract: Mapping[str, str] | None = None,
    images: pd.DataFrame | None = None,
    published_counts: Mapping[str, int] | None = None,
    published: Sequence[str] = (),
    terms: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """REPRODUCTION: every published or expected value that RESULTS of the frozen backbone can be held against.

    Published values count for this checkpoint tag and architecture, with or without QuickGELU: those of retrieval
    where `dataset` is the data set they are about, those of choice benchmarks where `results` holds a benchmark of
    that name (never on the embedded world's own splits, which borrow the forms of those benchmarks but not their
    items). Empty when there are none.

    For the cause of a miss: `contract` is that of the backbone, `terms` what it is where the values were published
    (`vialign.backbone.published_terms`), `images` are IMAGES, and `published_counts` are those of the sources
    (`SourceNote.expected`). `published` are files of published values beside those of the package.
    Raises UserError when an expected value names a benchmark or measure that was not evaluated, and as
    `published_values`.
    """
    own = results[results["method"] == method]
    columns = (own[name].tolist() for name in ("benchmark", "measure", "convention"))
    values = dict(zip(zip(*columns, strict=True), own["value"].astype(float).tolist(), strict=True))
    measured = replace(measured_with(own, split, contract or {}, images), terms=terms or {})
    counts = published_counts or {}
    rows = []
    for row in cast(list[dict[str, Any]], published_values(tuple(published)).to_dict("records")):
        same = row["architecture"].removesuffix(_QUICK_GELU) == architecture.removesuffix(_QUICK_GELU)
        if not same or row["checkpoint"] != checkpoint:
            continue
        retrieval = row["metric"].startswith(_RETRIEVAL)
        if retrieval and row["benchmark"] != PUBLISHED_NAMES.get(dataset, dataset):
            continue
        mean = MEANS.get(row["benchmark"]) if row["metric"] == METRIC else None
        if mean is not None:
            found, places = mean.of(own), mean.parts
        else:
            found = _find(values, row["benchmark"], row["metric"], split, dataset)
            places = [split if retrieval else _own_name(row["benchmark"])]
        if found is not None:
            rows.append(_row(row, found, likely_cause(places, measured, counts, row["architecture"])))
    for value in expected:
        found = values.get((value.benchmark, value.metric, "micro"))
        if found is None:
            raise UserError(
                f"config: evaluation.expected: {value.benchmark}, {value.metric} was not evaluated for {method}; "
                "correct the name or remove the entry"
            )
        name = value.benchmark.rpartition("/")[2]
        place = value.benchmark.partition("/")[0] if name in _RETRIEVAL else name
        rows.append(_row(value.model_dump(), found, likely_cause([place], measured, counts)))
    return REPRODUCTION.check(pd.DataFrame(rows)) if rows else REPRODUCTION.empty()


def measured_with(
    results: pd.DataFrame, split: str, contract: Mapping[str, str], images: pd.DataFrame | None
) -> Measured:
    """How the values were measured, from RESULTS of one method, the backbone's contract and IMAGES."""
    counts = {str(name): int(rows["items"].max()) for name, rows in results.groupby("benchmark", observed=True)}
    known = {name.rpartition("/")[2]: count for name, count in counts.items()}
    for direction, what in (("image_to_text", "images"), ("text_to_image", "captions")):
        if f"{split}/{direction}" in counts:
            known[f"{split} {what}"] = counts[f"{split}/{direction}"]
    sides = pd.DataFrame() if images is None else images.loc[images["split"] == split, ["width", "height"]]
    square = len(sides) > 0 and len(pd.unique(sides.to_numpy().ravel())) == 1
    return Measured(contract, known, square)


def likely_cause(
    places: Sequence[str], measured: Measured, published: Mapping[str, int], architecture: str | None = None
) -> str:
    """The known causes that fit a missed value, as measured or as inferable; `NO_CAUSE` when none does.

    `places` are the split of a retrieval value or the names of choice benchmarks, `published` holds published counts
    as in `SourceNote.expected`, and `architecture` is the one that the value was published for. That a factor of the
    logits is wrong is no cause: no rank follows from it.
    """
    causes = [
        *_activation(measured.contract, architecture),
        *(cause for place in places for cause in _gallery(place, measured.counts, published)),
        *(cause for place in places for cause in _items(place, measured.counts, published)),
        *(cause for place in places for cause in _captions(place, measured.counts, published)),
        *_squashed(measured),
        *_terms(measured),
    ]
    return "; ".join(dict.fromkeys(causes)) or NO_CAUSE


def _activation(contract: Mapping[str, str], architecture: str | None) -> Iterable[str]:
    own = contract.get("activation")
    if own is None or architecture is None:
        return
    trained = "quick_gelu" if architecture.endswith(_QUICK_GELU) else "gelu"
    if own != trained:
        yield f"activation: the weights were trained with {trained}, the model has {own} (use {architecture})"


def _gallery(place: str, counts: Mapping[str, int], published: Mapping[str, int]) -> Iterable[str]:
    """Another number of images in a gallery than was published; says where it belongs when that is known."""
    own, right = counts.get(f"{place} images"), published.get(f"{place} images")
    if own is not None and right is not None and own != right:
        named = [name for name, count in published.items() if count == own and name.endswith(" images")]
        hint = f", as many as there are {named[0]}" if named else ""
        yield f"wrong split or gallery: {own:,} images instead of {right:,}{hint}"


def _items(place: str, counts: Mapping[str, int], published: Mapping[str, int]) -> Iterable[str]:
    """Another number of items of a choice benchmark than was published."""
    own, right = counts.get(place), published.get(f"{place} items")
    if own is not None and right is not None and own != right:
        yield f"another number of items: {own:,} instead of {right:,}"


def _captions(place: str, counts: Mapping[str, int], published: Mapping[str, int]) -> Iterable[str]:
    """Fewer or more captions an image than was published, such as one instead of five."""
    images, captions = f"{place} images", f"{place} captions"
    if not {images, captions} <= counts.keys() & published.keys() or not counts[images]:
        return
    own, right = counts[captions] / counts[images], published[captions] / published[images]
    if round(own, 1) != round(right, 1):
        yield f"captions: {own:.3g} an image instead of {right:.3g}"


def _squashed(measured: Measured) -> Iterable[str]:
    own, right = (said.get("preprocessing", "") for said in (measured.contract, measured.terms))
    if "squash" in own and "squash" not in right:
        yield "preprocessing: images are squashed to a square, not cropped"
    elif measured.square and "squash" not in right:
        yield "images: all are squares of one size, as if squashed before they were stored"


_TERMS = {
    "preprocessing": (
        (r"size (\d+)", "image size: {} pixels instead of {}"),
        (r"size \d+, (\w+)", "interpolation: images are resized {}, not {}"),
        (r"mean (\([^)]*\))", "normalisation: mean {} instead of {}"),
        (r"std (\([^)]*\))", "normalisation: deviation {} instead of {}"),
    ),
    "tokenizer": (
        (r"context (\d+)", "context: {} tokens instead of {}, so long captions are read otherwise"),
        (r"clean (\w+)", "tokenizer: texts are cleaned by `{}`, not by `{}`"),
    ),
    "definition": ((r"(\w+)", "definition: it is not open_clip's own of this name, whose tokenizer may differ too"),),
}
"""Part of a contract to what is looked for in it, and what is said where it is not as published."""


def _terms(measured: Measured) -> Iterable[str]:
    """What of the preprocessing and the tokenizer is not as it was published; how images are fitted is `_squashed`."""
    for part, patterns in _TERMS.items():
        own, right = measured.contract.get(part, ""), measured.terms.get(part, "")
        for pattern, said in patterns:
            found, wanted = re.search(pattern, own), re.search(pattern, right)
            if found and wanted and found[1] != wanted[1]:
                yield said.format(found[1], wanted[1])


def _own_name(published: str) -> str:
    return next((own for own, name in PUBLISHED_NAMES.items() if name == published), published)


def _find(
    values: Mapping[tuple[str, str, str], float], published: str, metric: str, split: str, dataset: str
) -> float | None:
    """The value in RESULTS that stands for a published one, in the convention in which that was published."""
    for direction in _RETRIEVAL:
        if metric.startswith(f"{direction}_"):
            return values.get((f"{split}/{direction}", metric.removeprefix(f"{direction}_"), "micro"))
    name, measure = _own_name(published), metric.removeprefix("macro_")
    conventions = ("published", "macro") if measure != metric else ("micro",)
    if name.endswith("_order"):
        # ARO takes the first of tied candidates, which is the true one; without ties there is no lenient row.
        conventions = ("lenient", "micro")
    splits = tuple(BENCHMARKS) if dataset in EMBEDDED else (*BENCHMARKS, split)
    places = ((f"{place}/{name}", measure, convention) for place in splits for convention in conventions)
    return next((values[place] for place in places if place in values), None)


def _row(known: Mapping[str, Any], found: float, cause: str) -> dict[str, object]:
    published, measured, tolerance = float(known["percent"]), 100 * found, float(known["tolerance"])
    # A difference of exactly the tolerance passes; 1e-9 is for its rounding in binary.
    passed = abs(measured - published) <= tolerance + 1e-9
    return {
        "benchmark": known["benchmark"],
        "metric": known["metric"],
        "published": published,
        "measured": measured,
        "tolerance": tolerance,
        "passed": passed,
        "cause": "" if passed else cause,
        "source": known["source"],
    }
