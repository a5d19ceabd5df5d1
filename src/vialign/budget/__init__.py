"""The efficiency law: a ledger that measures any pair of models, and the sizing of modules to fit inside it."""

from vialign.budget.ledger import Overhead, Subject, measure_overhead, measure_subject
from vialign.budget.pair import ModulePair, largest_pair_rank, measure_pair
from vialign.budget.printing import ledger_text
from vialign.budget.sizing import largest_rank

__all__ = [
    "ModulePair",
    "Overhead",
    "Subject",
    "largest_pair_rank",
    "largest_rank",
    "ledger_text",
    "measure_overhead",
    "measure_pair",
    "measure_subject",
]
