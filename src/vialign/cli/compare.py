"""`vialign compare`: results of anybody's models, item by item, from files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import Json
from vialign.errors import UserError, printable
from vialign.files.paths import ANY, Output, check_paths

if TYPE_CHECKING:
    import pandas as pd

Names = list[str] | None
WRITTEN = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Endings of what can be written, all of which can be read too."""
NONE = "–"
"""Stands where there is no number."""


def compare(
    files: Annotated[
        list[Path], typer.Argument(help="One file a model: .csv, .tsv, .jsonl, .ndjson or .parquet, a row an item.")
    ],
    item: Annotated[
        Names, typer.Option(help="Column that names an item; repeat it for names of several parts.")
    ] = None,
    correct: Annotated[
        Names, typer.Option(help="Column of 0 and 1, true and false, or yes and no; may be repeated.")
    ] = None,
    score: Annotated[Names, typer.Option(help="Column of numbers from 0 to 1; may be repeated.")] = None,
    by: Annotated[Names, typer.Option(help="Column whose values are compared one by one too; may be repeated.")] = None,
    image: Annotated[
        str | None, typer.Option(help="Column of the image: items of one image are not independent.")
    ] = None,
    level: Annotated[float, typer.Option(min=0.0001, max=0.5, help="1 minus the coverage of intervals.")] = 0.05,
    as_json: Json = False,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, CSV, JSON lines or Parquet by its ending: the items that changed sides."),
    ] = None,
) -> None:
    """Compare the results of several models item by item: difference, interval, McNemar's test, items that changed.

    Columns are found by their usual names (item_id; filename, caption, negative_caption, type; correct, text_score,
    group_score, score) unless they are named. Every later file is held against every earlier one. Where files have a
    row an item and measure, as vialign's own outcomes, each measure of each benchmark is compared for itself.

    Example: `vialign compare clip.csv tuned.csv --by type --out changed.csv`
    """
    with one_line_errors():
        _check_ending(out)
        check_paths([] if out is None else [Output("--out", out, ANY)], {f"FILE {file}": file for file in files})
        from vialign.evaluation.paired_files import Columns, read_paired
        from vialign.evaluation.paired_items import changed_items, compare_paired

        columns = Columns(tuple(item or ()), tuple(correct or ()), tuple(score or ()), tuple(by or ()), image)
        paired = read_paired(files, columns)
        means, differences = compare_paired(paired, level)
        changed = changed_items(paired)
        if out is not None:
            _write(changed, out)
        if as_json:
            print(_json(means, differences, paired.notes, len(paired.items), list(paired.items.columns)))
            return
        for note in paired.notes:
            print(f"Note: {printable(note)}.")
        print(
            f"{len(paired.items):,} items of {len(set(paired.image)):,} images, "
            f"named by {printable(', '.join(paired.items.columns))}.\n"
        )
        print(_means_text(_shown(means), level), end="\n\n")
        print(_differences_text(_shown(differences), level))
        if out is not None:
            print(f"{out}: {len(changed):,} items that changed sides written")


def _shown(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with names from files as a terminal may show them."""
    names = [name for name in ("group", "measure", "model", "reference") if name in table]
    return table.assign(**{name: table[name].astype(str).map(printable) for name in names})


def _check_ending(out: Path | None) -> None:
    """Refuse, before any work, a file that `_write` could not write as what its name says."""
    if out is not None and out.suffix.lower() not in WRITTEN:
        raise UserError(
            f"--out: {out}: what changed is written as {', '.join(WRITTEN)}; give it one of these endings, such as "
            f"{out.stem}.csv"
        )


def _write(changed: "pd.DataFrame", out: Path) -> None:
    """As `read_item_file` reads a file of that ending."""
    from vialign.analysis.failures.review import sheet_text
    from vialign.files.artifacts import atomic_path, write_text

    ending = out.suffix.lower()
    if ending == ".parquet":
        with atomic_path(out) as temporary:
            changed.to_parquet(temporary, index=False)
    elif ending in (".jsonl", ".ndjson"):
        write_text(changed.to_json(orient="records", lines=True, force_ascii=False), out)
    else:
        write_text(sheet_text(changed, "\t" if ending == ".tsv" else ","), out)


def _json(
    means: "pd.DataFrame", differences: "pd.DataFrame", notes: tuple[str, ...], items: int, columns: list[str]
) -> str:
    kept = means[["group", "measure", "model", "value", "low", "high", "items"]]
    parts = {
        name: json.loads(table.to_json(orient="records")) for name, table in (("models", kept), ("pairs", differences))
    }
    return json.dumps({"items": items, "item_columns": columns, "notes": list(notes), **parts}, indent=2)


def _means_text(means: "pd.DataFrame", level: float) -> str:
    rows = means.assign(
        percent=[f"{100 * value:.2f}" for value in means["value"]],
        interval=[
            f"[{100 * low:.2f}, {100 * high:.2f}]" for low, high in zip(means["low"], means["high"], strict=True)
        ],
    )
    shown = rows[["group", "measure", "model", "percent", "interval", "items"]]
    return f"Percent, with {100 * (1 - level):g} % intervals:\n{shown.to_string(index=False)}"


def _differences_text(table: "pd.DataFrame", level: float) -> str:
    rows = table.assign(
        points=[f"{100 * value:+.2f}" for value in table["difference"]],
        interval=[
            f"[{100 * low:+.2f}, {100 * high:+.2f}]" for low, high in zip(table["low"], table["high"], strict=True)
        ],
        detectable=[f"{100 * value:.2f}" if value == value else NONE for value in table["detectable"]],
        **{name: [_p(value) for value in table[name]] for name in ("p_value", "p_holm", "p_mcnemar", "p_mcnemar_holm")},
    )
    columns = ["group", "measure", "points", "interval", "gained", "lost"]
    columns += ["p_mcnemar", "p_mcnemar_holm", "p_value", "p_holm", "detectable"]
    tested = int(table["p_value"].notna().sum())
    lines = [
        f"Differences in points, with {100 * (1 - level):g} % intervals over images. McNemar's exact test takes items",
        f"as independent, p_value images; Holm's correction is over {tested} rows; detectable is the smallest",
        f"difference that is found with 80 % power; {NONE} where none can be, or nothing is tested.",
    ]
    for (model, reference), part in rows.groupby(["model", "reference"], sort=False):
        lines += ["", f"{model} minus {reference}:", part[columns].to_string(index=False)]
    return "\n".join(lines)


def _p(value: float) -> str:
    if value != value:
        return NONE
    return "< 1e-15" if value < 1e-15 else f"{value:.2g}"
