"""Frozen features: extraction, the sharded store, pixels, and the choice of the patch readout."""

from vialign.features.extract import extract_images, extract_texts
from vialign.features.facts import BackboneFacts
from vialign.features.pixels import boxes_in_crop, load_pixels
from vialign.features.readout import ReadoutChoice, choose_readout, measure_readouts
from vialign.features.store import ImageFeatures, TextFeatures, contract_provenance, read_images, read_texts

__all__ = [
    "BackboneFacts",
    "ImageFeatures",
    "ReadoutChoice",
    "TextFeatures",
    "boxes_in_crop",
    "choose_readout",
    "contract_provenance",
    "extract_images",
    "extract_texts",
    "load_pixels",
    "measure_readouts",
    "read_images",
    "read_texts",
]
