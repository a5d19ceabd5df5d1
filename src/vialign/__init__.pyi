from vialign.aligner import Aligner as Aligner
from vialign.aligner import load as load
from vialign.aligner import wrap as wrap

__version__: str
