"""Prototypes and phrases of one split of a run, or of one shard of it."""

from vialign.device import device_of, within_memory
from vialign.disentangle.encode import BATCH, image_blocks, load_text, load_visual, text_blocks
from vialign.disentangle.encoded import join_encoded, write_encoded, write_encoded_rows
from vialign.disentangle.units_in_order import UnitsInOrder
from vialign.features import read_images, read_texts
from vialign.files.artifacts import read_table_in_parts
from vialign.files.shards import Shard
from vialign.stage import Run
from vialign.tables.language import UNITS


# Its blocks have one size, which no key sets.
@within_memory("backbone.device", "set it to cpu")
def encode_split(run: Run) -> None:
    """Prototypes and phrases of one split, or of the job's shard of it, read, encoded and written block by block."""
    device, images, texts = device_of(run.config), read_images(run.input.images), read_texts(run.input.texts)
    shard = Shard.of_job(run.wildcards)
    own_images, own_texts = (shard.rows(len(side), BATCH) for side in (images, texts))
    units = UnitsInOrder(read_table_in_parts(run.input.units, UNITS))
    units.skip(texts.ids[: own_texts.start])
    write = write_encoded if shard.of == 1 else write_encoded_rows
    write(
        image_blocks(load_visual(run.input.visual).to(device), images, rows=own_images),
        text_blocks(load_text(run.input.text).to(device), texts, units, rows=own_texts),
        (len(own_images), len(own_texts)),
        run.output[0],
        run.provenance,
    )


def gather_encoded(run: Run) -> None:
    """Prototypes and phrases of one split, from those of its shards."""
    join_encoded(run.input, run.output[0], run.provenance)
