"""vialign: verifiable implicit alignment signals for frozen vision-language backbones."""

from importlib.metadata import version

__version__ = version(__name__)
