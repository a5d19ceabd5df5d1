"""Visual prototypes and phrase units: the local sides of an image and of a caption."""

from vialign.disentangle.encode import encode_images, encode_texts, load_text, load_visual, save_text, save_visual
from vialign.disentangle.prototype_quality import visual_quality
from vialign.disentangle.quality import text_quality
from vialign.disentangle.structure import align_units, place_units
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.text_fitting import fit_text
from vialign.disentangle.types import Phrases, Prototypes, TokenStructure
from vialign.disentangle.visual import VisualDisentangler
from vialign.disentangle.visual_fitting import fit_visual

__all__ = [
    "Phrases",
    "Prototypes",
    "TextDisentangler",
    "TokenStructure",
    "VisualDisentangler",
    "align_units",
    "encode_images",
    "encode_texts",
    "fit_text",
    "fit_visual",
    "load_text",
    "load_visual",
    "place_units",
    "save_text",
    "save_visual",
    "text_quality",
    "visual_quality",
]
