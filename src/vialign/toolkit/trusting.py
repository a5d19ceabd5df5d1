"""When to trust an answer on a user's own images: which predictors tell that the top answer of a query is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from vialign.files.artifacts import Provenance, atomic_path, write_table
from vialign.signal.calibration import SignalCalibration
from vialign.signal.trust import Settings, gallery_answers, trust_tables
from vialign.signal.trust.answers import SHUFFLED
from vialign.signal.trust.tables import ALL, CLAIM, REFERENCE
from vialign.tables.schema import Table
from vialign.tables.signal import TRUST_DIRECTIONS
from vialign.toolkit.captions import Captions
from vialign.toolkit.fitting import texts_of
from vialign.toolkit.gallery import see, with_texts
from vialign.toolkit.images import draw_unused
from vialign.toolkit.scoring import BATCH
from vialign.toolkit.signal import Signal

LEVEL = 0.05
"""1 minus the coverage of the intervals."""


@dataclass(frozen=True)
class Trust:
    """What tells wrong answers from right ones on some images."""

    table: pd.DataFrame
    """Rows of `TRUST`."""
    curves: pd.DataFrame
    """Rows of `TRUST_CURVES`."""

    def __str__(self) -> str:
        return "\n".join(trust_lines(self.table))


def trust_signal(signal: Signal, captions: Captions, *, images: int = 1000, seed: int = 0, batch: int = BATCH) -> Trust:
    """Search `images` of the folder by all their captions and the captions by the images, and judge the answers.

    The images, drawn by seed, are unused ones: neither the units nor the calibration have seen them. Combinations of
    predictors are cross-validated by image. Both sides of the gallery are held in memory. Raises UserError when fewer
    than 20 images are unused and readable, or as `score_signal`.

    >>> from vialign.toolkit import load_signal, open_backbone, read_captions, trust_signal
    >>> signal = load_signal("units", open_backbone("vialign-scenes", "package"))
    >>> trust = trust_signal(signal, read_captions("shapes/images", "shapes/captions.csv"))
    >>> sorted(trust.table["direction"].unique())
    ['image_to_text', 'text_to_image']
    """
    unused = draw_unused(captions, signal.used, images, seed)
    seen = see(signal.encoder, captions, unused, batch, needs="judging answers needs")
    texts = texts_of(captions.table, seen.names)
    features = with_texts(seen, signal.encoder, texts, batch)
    calibration = SignalCalibration.from_table(signal.calibration)
    scale = float(signal.encoder.backbone.logit_scale)
    answers = gallery_answers(features, texts, calibration, signal.config, scale)
    settings = Settings(signal.config.bootstrap, LEVEL, signal.config.folds, seed)
    return Trust(*trust_tables({captions.file.name: answers}, None, settings))


def write_trust(frame: pd.DataFrame, table: Table, path: Path, provenance: Provenance) -> None:
    """Write one of the tables: as CSV where the name ends so, else as Parquet, which says what made it."""
    if path.suffix.lower() != ".csv":
        write_table(frame, table, path, provenance)
        return
    with atomic_path(path) as temporary:
        table.check(frame).to_csv(temporary, index=False, lineterminator="\n")


def trust_lines(table: pd.DataFrame) -> list[str]:
    """Every predictor of each direction for a terminal, and what the local ranking adds, in words."""
    lines = ["AUROC of predicting a wrong answer, and AURC (lower is better), with 95 % intervals over images"]
    for direction in TRUST_DIRECTIONS:
        rows = table[table["direction"] == direction]
        if rows.empty:
            continue
        first = rows.iloc[0]
        lines.append("")
        lines.append(
            f"{direction.replace('_', ' ')}: {first['queries']} queries of {first['images']} images, "
            f"{100 * first['wrong']:.1f} % answered wrong"
        )
        for row in cast(Iterator[Any], rows.itertuples()):
            name = row.predictor if row.local == "none" else f"{row.predictor}, {row.local}"
            cells = _told(row.auroc, row.low, row.high), _told(row.aurc, row.aurc_low, row.aurc_high)
            lines.append(f"  {name:44}" + "".join(f"{cell:>24}" for cell in cells))
        lines.extend(_said(rows))
    return lines


def _told(value: float, low: float, high: float) -> str:
    return "not known" if pd.isna(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _said(rows: pd.DataFrame) -> list[str]:
    """What the local look adds to the best simple confidences, and to these with whether the answer leads back."""
    best = rows[rows["predictor"] == REFERENCE].iloc[0]
    judged = rows[rows["predictor"].isin((CLAIM, ALL)) & (rows["local"] != SHUFFLED)].dropna(subset=["difference"])
    lines = [f"  best of the simple confidences: {best['uses'].replace(',', ', ')}"]
    lines += [f"  {_verdict(row)}" for row in judged.itertuples()]
    return lines if len(judged) else [*lines, "  all answers are right, or all are wrong: nothing can be told apart"]


def _verdict(row: Any) -> str:
    if row.difference_low > 0 and row.p_holm < LEVEL:
        word = "adds to"
    else:
        word = "is worse than" if row.difference_high < 0 else "is not shown to add to"
    what = "the local ranking" if row.predictor == CLAIM else "all that looks locally"
    change = f"{row.difference:+.3f} [{row.difference_low:+.3f}, {row.difference_high:+.3f}], p {row.p_holm:.3f} (Holm)"
    return f"{what}, {row.local}, {word} `{row.reference}`: AUROC {change}"
