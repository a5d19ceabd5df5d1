"""What data are there and what is wrong with them."""

import sys

import pandas as pd

from vialign.data.checking import check_lines, check_sources, check_table
from vialign.errors import UserError
from vialign.files.artifacts import write_table
from vialign.stage import Run
from vialign.tables.data import DATA_CHECK


def check_data(run: Run) -> None:
    """What data are there and what is wrong with them."""
    frames, missing = [DATA_CHECK.empty()], []
    for report in check_sources(run.config):
        print("\n".join(check_lines(report)), file=sys.stderr)
        frames.append(check_table(report))
        missing += [report.name] if report.missing is not None else []
    if missing:
        raise UserError(f"data: {', '.join(missing)} missing or cannot be read; the log says how to get them")
    write_table(pd.concat(frames), DATA_CHECK, run.output[0], run.provenance)
