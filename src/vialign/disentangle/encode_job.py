"""Prototypes and phrases of one split of a run."""

from vialign.device import device_of
from vialign.disentangle.encode import image_blocks, load_text, load_visual, text_blocks
from vialign.disentangle.encoded import write_encoded
from vialign.disentangle.units_in_order import UnitsInOrder
from vialign.features import read_images, read_texts
from vialign.files.artifacts import read_table_in_parts
from vialign.stage import Run
from vialign.tables.language import UNITS


def encode_split(run: Run) -> None:
    """Prototypes and phrases of one split, read, encoded and written block by block."""
    device, images, texts = device_of(run.config), read_images(run.input.images), read_texts(run.input.texts)
    units = UnitsInOrder(read_table_in_parts(run.input.units, UNITS))
    write_encoded(
        image_blocks(load_visual(run.input.visual).to(device), images),
        text_blocks(load_text(run.input.text).to(device), texts, units),
        (len(images), len(texts)),
        run.output[0],
        run.provenance,
    )
