"""The learning rate that a search found, read where a table of it is among the inputs."""

from vialign.config.methods import TrainingConfig
from vialign.files.artifacts import read_table
from vialign.methods.build import learning_rate
from vialign.tables.training import SEARCH


def searched_rate(name: str, search: str | None, config: TrainingConfig) -> float:
    """The learning rate that the search, a file of `SEARCH`, chose for a method; without one as `learning_rate`."""
    if search is None:
        return learning_rate(name, config)
    table = read_table(search, SEARCH)
    return float(table.loc[table["chosen"], "learning_rate"].iloc[0])
