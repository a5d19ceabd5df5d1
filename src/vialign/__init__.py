"""vialign: verifiable implicit alignment signals for frozen vision-language backbones."""

__version__ = "0.1.0"
