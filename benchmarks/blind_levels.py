"""What a classifier that sees no image scores on published benchmarks, from their annotation files alone.

    python benchmarks/blind_levels.py RESULTS DATA

`RESULTS` is the results folder of a run on photographs: the classifier learns from its training captions and the
negatives made of them by rule, as the run's own does. `DATA` holds a folder for each benchmark, named as `vialign
benchmarks` names them. Prints, for each, the accuracy with its interval over images beside what guessing reaches; the
notes of the readers hold these numbers, and `vialign benchmarks` shows them.
"""

import sys
from importlib import import_module
from pathlib import Path

import pandas as pd

from vialign.data.base import Problems
from vialign.errors import UserError
from vialign.evaluation.blind import blind_items, blind_table
from vialign.evaluation.choices import text_id
from vialign.files.artifacts import read_table
from vialign.names import BENCHMARKS
from vialign.signal.blind import BlindClassifier, fit_blind
from vialign.tables.data import QUESTIONS
from vialign.tables.language import TEXTS


def blind_levels(classifier: BlindClassifier, folder: Path, name: str) -> pd.DataFrame:
    """Rows as `BLIND` for every part of one benchmark; empty where its items are no choices among texts.

    Raises UserError where its files are not in `folder`.
    """
    items = import_module(BENCHMARKS[name]).read_items(folder, Problems(name, strict=False))
    if "texts" not in items:
        return pd.DataFrame()
    rows = [
        (text_id(item, place), "", "", "item", text)
        for item, texts in zip(items["item_id"], items["texts"], strict=True)
        for place, text in enumerate(texts)
    ]
    texts = pd.DataFrame(rows, columns=list(TEXTS.columns))
    return blind_table(blind_items(classifier, texts, items, QUESTIONS.empty()), 0.05, 2000, 0.05, 0)


def main(results: str, data: str) -> None:
    texts = read_table(Path(results) / "language/train/texts.parquet", TEXTS)
    classifier = fit_blind(texts, 0)
    if classifier is None:
        raise SystemExit(f"{results}: the training split has no negatives to learn from")
    for name in BENCHMARKS:
        if (Path(data) / name).is_dir():
            try:
                table = blind_levels(classifier, Path(data) / name, name)
            except UserError as error:
                print(f"{name}: left out: {error}")
                continue
            for row in table.to_dict("records"):
                ends = f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
                found = f"{row['benchmark']}: {100 * row['accuracy']:.1f} {ends} of {row['items']:,}"
                print(f"{found}, guessing {100 * row['chance']:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
