"""A split of given size on disk, and how much memory of its own a fresh process takes to work through it.

    python tests/held_memory.py FOLDER mapped|held

prints, as JSON, the most bytes that were the process's own in each stage: encoding, training, evaluation. Pages of
mapped files are not counted: they leave memory when something else needs the room. `held` takes the split into memory.
"""

import ctypes
import json
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

DIMENSION, LEXICAL, PATCHES, TOKENS, SIDE = 256, 128, 16, 8, 32
STEPS, BATCH = 30, 32
"""Steps of the training; images or texts of a batch and of a block, small, so that few of them are the steady state."""
STATUS = Path("/proc/self/status")


def build(folder: Path, images: int, shard: int = 200) -> None:
    """Stores, tables and disentanglers of so many images, each with a caption and a rule-made negative of it."""
    from vialign.disentangle import save_text, save_visual
    from vialign.disentangle.text import TextDisentangler
    from vialign.disentangle.visual import VisualDisentangler
    from vialign.features.store import StoreWriter
    from vialign.files.artifacts import write_table
    from vialign.tables.language import TEXTS, UNITS

    rng = np.random.default_rng(0)
    facts = {"dimension": str(DIMENSION), "grid": "4,4", "readout": "final", "padding": "0"}
    image_ids = [f"i{number}" for number in range(images)]
    text_ids = [f"{name}#0" for name in image_ids] + [f"{name}#0!shuffle" for name in image_ids]

    def unit(rows: int) -> np.ndarray:
        values = rng.normal(size=(rows, DIMENSION)).astype(np.float32)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    def write(name: str, ids: list[str], columns: Callable[[int], dict[str, np.ndarray]]) -> None:
        writer = StoreWriter(folder / name, {**facts, "kind": name})
        for start in range(0, len(ids), shard):
            part = ids[start : start + shard]
            made = {"pooled": unit(len(part)), **columns(len(part))}
            layout = {column: (values.dtype.type, values.shape[1:]) for column, values in made.items()}
            with writer.shard(part, layout) as file:
                file.append(len(part), **made)
        writer.close()

    write(
        "images",
        image_ids,
        lambda rows: {
            "patches": rng.normal(size=(rows, PATCHES, DIMENSION)).astype(np.float16),
            "pixels": rng.integers(0, 256, (rows, 3, SIDE, SIDE), dtype=np.uint8),
        },
    )
    ends = np.arange(1, TOKENS + 1, dtype=np.int32) * 2
    offsets = np.stack([ends - 2, ends - 1], axis=1)
    write(
        "texts",
        text_ids,
        lambda rows: {
            "length": np.full(rows, TOKENS, np.int32),
            "ids": rng.integers(1, 50, (rows, TOKENS)).astype(np.int32),
            "states": rng.normal(size=(rows, TOKENS, DIMENSION + LEXICAL)).astype(np.float16),
            "mask": np.ones((rows, TOKENS), bool),
            "offsets": np.broadcast_to(offsets, (rows, TOKENS, 2)).copy(),
        },
    )
    kinds = ["caption"] * images + ["shuffle"] * images
    rows = {"text_id": text_ids, "split": "test", "image_id": image_ids * 2, "kind": kinds, "text": "a b c d e f g h"}
    write_table(pd.DataFrame(rows), TEXTS, folder / "texts.parquet", {})
    spans = [("entity", start, start + 1, start, start + 1, -1, -1) for start in (0, 6)]
    spans = [(name, number, *span) for name in text_ids for number, span in enumerate(spans)]
    write_table(pd.DataFrame(spans, columns=list(UNITS.columns)), UNITS, folder / "units.parquet", {})
    save_visual(VisualDisentangler(DIMENSION, (4, 4), 12, 4, 8, 0.1, 4), folder / "visual.safetensors", {})
    text = TextDisentangler(DIMENSION, 6, 8, 4, 0.8, 1.1, 0.1, LEXICAL)
    save_text(text, folder / "text.safetensors", {})


def watched(work: Callable[[], object]) -> int:
    """The most bytes of its own that the process had while it did this."""
    # What a stage before has freed must not count: the C library keeps it for the next one to ask.
    getattr(ctypes.CDLL(None), "malloc_trim", bool)(0)
    peaks, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.001):
            line = next(line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
            peaks[0] = max(peaks[0], int(line.split()[1]) * 1024)

    watch = threading.Thread(target=look)
    watch.start()
    work()
    done.set()
    watch.join()
    return peaks[0]


def main(folder: Path, held: bool) -> dict[str, int]:
    """Peaks by stage."""
    import torch

    from vialign.disentangle.encode import image_blocks, load_text, load_visual, text_blocks
    from vialign.disentangle.encoded import write_encoded
    from vialign.disentangle.types import Phrases, Prototypes
    from vialign.disentangle.units_in_order import UnitsInOrder
    from vialign.evaluation.run import core_outcomes
    from vialign.features import read_images, read_texts
    from vialign.files.artifacts import read_table_in_parts
    from vialign.methods.inputs import read_split
    from vialign.methods.objective import Objective, SplitData, part_of
    from vialign.stage import free_tables_at_once
    from vialign.tables.language import UNITS
    from vialign.training.batches import BatchOrder

    class Reader(Objective):
        """Reads every part of the data that grows with a split; both sides of a gallery are as large as a method's."""

        name, logit_scale, negative_weight = "reader", 10.0, 1.0
        needs = frozenset({"pixels", "patches", "states", "token_ids"})

        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(DIMENSION))

        def images(self, data: SplitData, index: torch.Tensor) -> dict[str, torch.Tensor]:
            seen = data.pixels[index].float().mean(dim=(1, 2, 3)) + data.patches[index].float().mean(dim=(1, 2))
            pooled = (data.image_pooled[index] + 1e-6 * seen[:, None]) * self.scale
            return {"pooled": pooled, "prototypes": data.prototypes.index(index).features}

        def texts(self, data: SplitData, index: torch.Tensor) -> dict[str, torch.Tensor]:
            said = data.states[index].float().mean(dim=(1, 2)) + data.token_ids[index].float().mean(dim=1)
            pooled = data.text_pooled[index] + 1e-6 * said[:, None]
            return {"pooled": pooled, "phrases": data.phrases.index(index).features}

        def scores(self, images: dict[str, torch.Tensor], texts: dict[str, torch.Tensor]) -> torch.Tensor:
            return images["pooled"] @ texts["pooled"].T

        def pair_scores(self, images: dict[str, torch.Tensor], texts: dict[str, torch.Tensor]) -> torch.Tensor:
            return (images["pooled"] * texts["pooled"]).sum(dim=-1)

    free_tables_at_once()
    torch.set_num_threads(1)
    encoded = "held.safetensors" if held else "encoded.safetensors"

    def encode() -> None:
        images, texts = read_images(folder / "images"), read_texts(folder / "texts")
        units = UnitsInOrder(read_table_in_parts(folder / "units.parquet", UNITS))
        prototypes: Iterable[Prototypes] = image_blocks(load_visual(folder / "visual.safetensors"), images, BATCH)
        phrases: Iterable[Phrases] = text_blocks(load_text(folder / "text.safetensors"), texts, units, BATCH)
        if held:
            prototypes, phrases = [Prototypes.concatenate(list(prototypes))], [Phrases.concatenate(list(phrases))]
        write_encoded(prototypes, phrases, (len(images), len(texts)), folder / encoded, {})

    def opened() -> SplitData:
        files = "texts.parquet", "images", "texts", encoded
        data = read_split(*(folder / name for name in files), needs=Reader.needs)
        return part_of(data, torch.arange(len(data.image_ids))) if held else data

    def train() -> None:
        data, method = opened(), Reader()
        order = BatchOrder(data, BATCH, 0)
        for step in range(1, STEPS + 1):
            method.loss(data, order.draw(step))["loss"].backward()

    def evaluate() -> None:
        core_outcomes(Reader(), opened(), "reader", 0, "test", BATCH)

    stages: dict[str, Callable[[], object]] = {"encoding": encode, "training": train, "evaluation": evaluate}
    return {name: watched(work) for name, work in stages.items()}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2] == "held")))
