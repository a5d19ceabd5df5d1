"""The efficiency law: a ledger that measures any pair of models, and the sizing of modules to fit inside it."""

from vialign.budget.ledger import Overhead, Subject, measure_overhead, measure_subject
from vialign.budget.sizing import largest_rank

__all__ = ["Overhead", "Subject", "largest_rank", "measure_overhead", "measure_subject"]
