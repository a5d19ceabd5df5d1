"""People beside the rules: a sample of failures to label by hand, the labels read back, and how well both agree.

The sample takes equally many failures of each class, because a rare class could not be judged otherwise. Cohen's kappa
is therefore that of the sheet, in which the classes are equally frequent, not that of all failures of the run.
"""

import csv
import hashlib
import io
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vialign.errors import UserError
from vialign.files.separated import read_separated
from vialign.random import generator
from vialign.tables.failures import FAILURE_CLASSES, FAILURE_REVIEW

RULES = "rules"
"""The rater that is no person."""
KEYS = ("method", "seed", "benchmark", "item_id")
"""What names a failure in FAILURES and in a sheet."""
LABEL = "label"
LABEL_MEANINGS = {
    "concept missing": "something that the right text names is hard or impossible to see in the right image",
    "combination beyond reach": "all that is named can be seen, and only how it goes together tells right from wrong: "
    "which colour belongs to what, who does what to whom, what is where",
    "annotation ambiguity": "the wrong answer is as good as the right one",
    "other": "none of these",
}
"""What a label says to a person who knows nothing of the rules."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet."""


def sample_failures(failures: pd.DataFrame, per_class: int, seed: int) -> pd.DataFrame:
    """FAILURES rows to be labelled: up to `per_class` of each class, in an order that says nothing of the class.

    Methods and seeds that took the same rival for the same query count once.
    """
    same = ["benchmark", "item_id", "true_text", "chosen_text", "chosen_image"]
    distinct = failures.drop_duplicates(same)
    draw = generator(seed, "failure review")
    places = [
        draw.permutation(np.flatnonzero(distinct["failure"] == failure))[:per_class] for failure in FAILURE_CLASSES
    ]
    return distinct.iloc[draw.permutation(np.concatenate(places))].reset_index(drop=True)


def sheet_text(sheet: pd.DataFrame, separator: str = ",") -> str:
    """A sheet as CSV, for spreadsheets too.

    A cell that a spreadsheet would take for a formula gets an apostrophe in front; `read_sheet` takes it away.
    """
    text = io.StringIO("\ufeff")
    text.seek(0, io.SEEK_END)
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(sheet.columns)
    for row in sheet.itertuples(index=False):
        writer.writerow([f"'{cell}" if str(cell).startswith(_FORMULA) else cell for cell in row])
    return text.getvalue()


def read_sheet(path: Path, failures: pd.DataFrame) -> pd.Series:
    """The labels of a sheet, by the row's place in `failures` (FAILURES); rows without a label are left out.

    Raises UserError naming the file, the row (the header is row 1), the field and the mend.
    """
    fields, rows = read_separated(path)
    for field in (*KEYS, LABEL):
        if field not in fields:
            raise UserError(
                f"{path}: row 1: has no field {field!r}; keep the header of the exported sheet, separated by commas"
            )
        if fields.count(field) > 1:
            raise UserError(f"{path}: row 1: has the field {field!r} twice; keep one of them")
    places = {tuple(map(str, names)): place for place, names in enumerate(failures[list(KEYS)].itertuples(index=False))}
    labels: dict[int, str] = {}
    seen: dict[tuple[str, ...], int] = {}
    for found in rows:
        if not any(map(str.strip, found.fields)):
            continue
        number, row = found.number + 1, dict(zip_longest(fields, found.fields[: len(fields)], fillvalue=""))
        name = tuple(_without_apostrophe(row[field]) for field in KEYS)
        if name in seen:
            raise UserError(f"{path}: row {number}: is the failure of row {seen[name]} again; delete one of them")
        seen[name] = number
        if name not in places:
            field, value = next(
                (pair for pair in zip(KEYS, name, strict=True) if pair[1] not in set(failures[pair[0]].astype(str))),
                ("item_id", name[-1]),
            )
            raise UserError(
                f"{path}: row {number}: {field} {value!r} is no failure of these results; "
                "read the sheet into the results that it was exported from"
            )
        label = " ".join(row[LABEL].lower().split())
        if label and label not in FAILURE_CLASSES:
            raise UserError(
                f"{path}: row {number}: {LABEL} {row[LABEL]!r} is not one of {', '.join(FAILURE_CLASSES)}; "
                "correct it or leave it empty"
            )
        if label:
            labels[places[name]] = label
    if not labels:
        raise UserError(f"{path}: no row has a {LABEL}; fill the column in first")
    return pd.Series(labels)


def classes_digest(failures: pd.DataFrame) -> str:
    """sha256 of which failures there are and what class each has, so that a review of other classes is known."""
    rows = pd.util.hash_pandas_object(failures[[*KEYS, "failure"]], index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()


def review_table(
    failures: pd.DataFrame, sheets: Mapping[str, pd.Series], *, draws: int, level: float, seed: int
) -> pd.DataFrame:
    """FAILURE_REVIEW: the rules against each rater, and the raters against each other.

    `sheets` holds what `read_sheet` gave, by the name of the rater. Raises UserError when two raters share no failure.
    """
    raters = {RULES: failures["failure"], **sheets}
    names = list(raters)
    parts = []
    for place, second in enumerate(names):
        for first in names[:place]:
            both = raters[first].index.intersection(raters[second].index)
            if both.empty:
                raise UserError(f"{first} and {second}: no failure was labelled by both; label the same sheet")
            counts = confusion(raters[first][both], raters[second][both])
            image = pd.factorize(failures.loc[both, "image_id"])[0]
            drawn = _resampled(counts_by_image(raters[first][both], raters[second][both], image), draws, seed)
            low, high = np.nanquantile(drawn, [level / 2, 1 - level / 2]) if np.isfinite(drawn).any() else (None, None)
            parts.append(
                pd.DataFrame(
                    {
                        "first": first,
                        "second": second,
                        "first_label": np.repeat(FAILURE_CLASSES, len(FAILURE_CLASSES)),
                        "second_label": np.tile(FAILURE_CLASSES, len(FAILURE_CLASSES)),
                        "count": counts.ravel(),
                        "items": len(both),
                        "observed": np.trace(counts) / counts.sum(),
                        "kappa": float(cohen_kappa(counts)),
                        "low": low,
                        "high": high,
                    }
                )
            )
    return FAILURE_REVIEW.check(pd.concat(parts, ignore_index=True))


def confusion(first: pd.Series, second: pd.Series) -> Int[np.ndarray, "first second"]:
    """How often the first rater said one class and the second another, in the order of FAILURE_CLASSES."""
    return counts_by_image(first, second, np.zeros(len(first), dtype=np.int64))[0]


def counts_by_image(
    first: pd.Series, second: pd.Series, image: Int[np.ndarray, "item"]
) -> Int[np.ndarray, "image first second"]:
    """The confusion of two raters, aligned, for every image (numbered from 0)."""
    size = len(FAILURE_CLASSES)
    one, other = (
        pd.Categorical(labels, categories=FAILURE_CLASSES).codes.astype(np.int64) for labels in (first, second)
    )
    cells = (image * size + one) * size + other
    return np.bincount(cells, minlength=(int(image.max()) + 1) * size * size).reshape(-1, size, size)


def cohen_kappa(counts: Int[np.ndarray, "*draw first second"]) -> Float[np.ndarray, "*draw"]:
    """Cohen's kappa (1960): agreement beyond chance, (observed - expected) / (1 - expected).

    nan where both raters said one and the same class throughout, which leaves nothing to agree on beyond chance.
    """
    total = counts.sum(axis=(-2, -1))
    observed = np.trace(counts, axis1=-2, axis2=-1) / total
    expected = (counts.sum(axis=-1) * counts.sum(axis=-2)).sum(axis=-1) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def _resampled(counts: Int[np.ndarray, "image first second"], draws: int, seed: int) -> Float[np.ndarray, "draw"]:
    """Kappa of resamples of the images, each with all its failures."""
    images = len(counts)
    weights = generator(seed, "kappa", images).multinomial(images, np.full(images, 1 / images), size=draws)
    return cohen_kappa(np.tensordot(weights, counts, axes=1))


def _without_apostrophe(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
