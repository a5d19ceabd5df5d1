"""When to trust an answer: predictors that the top answer of a retrieval query is wrong, each held against the others.

The field's simple confidences read the global scores of the gallery. The signal adds C, agreement and H_local of the
answer, and the local look adds a second ranking of the same gallery: where it does not put the answer first too, the
answer is in doubt.
"""

from vialign.signal.trust.answers import Answers, gallery_answers
from vialign.signal.trust.tables import Settings, trust_tables

__all__ = ["Answers", "Settings", "gallery_answers", "trust_tables"]
