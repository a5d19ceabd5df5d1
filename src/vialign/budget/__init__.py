"""The efficiency budget: a ledger that measures any pair of models, and the sizing of modules to fit inside it."""

from vialign.budget.counting import Counts, count_work
from vialign.budget.ledger import Parser, Reading, Subject, measure_subjects
from vialign.budget.pair import ModulePair, largest_pair_rank, measure_pair
from vialign.budget.printing import ledger_text
from vialign.budget.sizing import largest_rank
from vialign.budget.timing import Interval, overhead, time_rounds

__all__ = [
    "Counts",
    "Interval",
    "ModulePair",
    "Parser",
    "Reading",
    "Subject",
    "count_work",
    "largest_pair_rank",
    "largest_rank",
    "ledger_text",
    "measure_pair",
    "measure_subjects",
    "overhead",
    "time_rounds",
]
