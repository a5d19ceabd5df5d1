"""What every replacement costs, as a job of the workflow."""

from pathlib import Path

import pandas as pd

from vialign.analysis.attribution.findings import attribution_table, carriers
from vialign.analysis.attribution.names import SHIPPED
from vialign.analysis.attribution.replacements import driver_replacements
from vialign.files.artifacts import read_table, write_table
from vialign.stage import Run
from vialign.tables.attribution import ATTRIBUTION, CARRIERS
from vialign.tables.evaluation import OUTCOMES


def attribute(run: Run) -> None:
    """What every replacement costs, and what carries the gain."""
    config = run.config
    outcomes = {path: read_table(path, OUTCOMES) for path in run.input.outcomes}
    known = {name: "driver" for name in [r.name for r in driver_replacements(config.signal)]}
    tables = []
    for method in dict.fromkeys(Path(path).parent.name for path in outcomes):
        own = pd.concat(
            [frame for path, frame in outcomes.items() if Path(path).parent.name == method], ignore_index=True
        )
        parts = {name: known.get(name, "local") for name in own["method"].unique() if name not in (SHIPPED, "frozen")}
        tables.append(
            attribution_table(
                own,
                method,
                parts,
                config.attribution.steps or config.training.early_steps,
                level=config.evaluation.level,
            )
        )
    table = ATTRIBUTION.check(pd.concat(tables, ignore_index=True))
    write_table(table, ATTRIBUTION, run.output.attribution, run.provenance)
    write_table(carriers(table, config.evaluation.level), CARRIERS, run.output.carriers, run.provenance)
