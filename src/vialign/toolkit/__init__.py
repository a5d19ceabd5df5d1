"""The signal as a tool: on any open_clip model and any folder of captioned images, without the pipeline.

`vialign signal ...` on the command line and the same functions here; docs/signal-toolkit.md shows both at work.
"""

from vialign.toolkit.captions import Captions, read_captions
from vialign.toolkit.diagnosing import Diagnosis, diagnose_signal
from vialign.toolkit.example import draw_example
from vialign.toolkit.fitting import fit_signal
from vialign.toolkit.models import open_backbone
from vialign.toolkit.parsing import find_parser
from vialign.toolkit.scoring import Scored, score_signal
from vialign.toolkit.signal import Signal, load_signal, save_signal
from vialign.toolkit.stressing import Stress, stress_signal
from vialign.toolkit.trusting import Trust, trust_signal

__all__ = [
    "Captions",
    "Diagnosis",
    "Scored",
    "Signal",
    "Stress",
    "Trust",
    "diagnose_signal",
    "draw_example",
    "find_parser",
    "fit_signal",
    "load_signal",
    "open_backbone",
    "read_captions",
    "save_signal",
    "score_signal",
    "stress_signal",
    "trust_signal",
]
