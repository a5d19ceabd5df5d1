"""What was trained, taken home: one object that scores, ranks and explains any pictures with any captions.

`vialign.load` reads it from an exported folder, `vialign.wrap` puts a method on a model in memory, and
`vialign export` writes the folder from the results of a run; docs/take-home.md shows all three.
"""

from vialign.aligner.aligner import Aligner
from vialign.aligner.opening import load, wrap
from vialign.aligner.ranking import Ranking, Trust

__all__ = ["Aligner", "Ranking", "Trust", "load", "wrap"]
