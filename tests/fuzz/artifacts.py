"""The formats beside the published data sets: the user's own files, models, treebanks, and what the project writes."""

import base64
import csv
import gzip
import json
from collections.abc import Callable
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from captioned import tiny_backbone, tiny_model
from fuzz.formats import IMAGES, PUBLISHED, Format, csv_rows, labelled_rows, lines_of, photographs, write_winoground
from unit.data.benchmark_folders import PACKED, packed
from vialign.aligner.aligner import Aligner
from vialign.aligner.opening import load_folder
from vialign.analysis.failures.review import KEYS, LABEL, read_sheet, sheet_text
from vialign.backbone import load_backbone
from vialign.backbone.byte_pairs import read_merges
from vialign.backbone.checkpoint import load_weights
from vialign.backbone.tokenizer_file import FileTokenizer
from vialign.collection.searching import Collection
from vialign.collection.store import Head
from vialign.collection.updating import update_index
from vialign.config.data import BackboneConfig
from vialign.config.experiment import Config, read_config
from vialign.data.benchmarks.aro_order import build_order_file, order_choices, read_order_file
from vialign.data.benchmarks.packed import find_parquet, unpack
from vialign.data.benchmarks.winoground import unpack_parquet
from vialign.data.regions.reading import index_regions
from vialign.data.treebanks.penn import read_trees
from vialign.data.treebanks.universal_dependencies import read_conllu
from vialign.disentangle import TextDisentangler, VisualDisentangler, load_text, load_visual, save_text, save_visual
from vialign.evaluation.frontier import read_frontier
from vialign.evaluation.paired_files import Columns, read_paired
from vialign.evaluation.paired_items import compare_paired
from vialign.evaluation.published_values import read_values
from vialign.features import BackboneFacts, contract_provenance, read_images
from vialign.features.pixels import read_image
from vialign.features.store import StoreWriter
from vialign.files.artifacts import read_provenance, read_table, write_table
from vialign.language.pipeline import _add_components as add_components
from vialign.language.pipeline import load_pipeline, save_pipeline
from vialign.methods.build import build_method
from vialign.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vialign.signal.calibration import SignalCalibration
from vialign.tables.data import CAPTIONS
from vialign.tables.failures import FAILURE_CLASSES
from vialign.tables.signal import SIGNAL_CALIBRATION, TOOLKIT_IMAGES
from vialign.toolkit import load_signal, read_captions
from vialign.toolkit.signal import CALIBRATION, PARSER, TEXT, VISUAL
from vialign.toolkit.signal import IMAGES as USED


def same(rows: int) -> Callable[[bytes], int]:
    """A binary file that is taken holds as many rows as were written."""
    return lambda content: rows


# ------------------------------------------------------------------------------------------- the user's own


def captions_file(folder: Path) -> Path:
    photographs(folder / "images")
    rows = [[f"c{place}", name, f"a cat, and dog {place}"] for place, name in enumerate(IMAGES)]
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([["caption_id", "image", "caption"], *rows])
    (folder / "captions.csv").write_text(text.getvalue())
    return folder / "captions.csv"


def read_captions_file(folder: Path) -> int:
    """Rows that are skipped are counted on stderr; here they are found by their places."""
    from unittest.mock import patch

    said: list[str] = []
    with patch("vialign.toolkit.captions.warn", said.append):
        table = read_captions(folder / "images", folder / "captions.csv").table
    numbers = [word for line in said for word in line.split("; ")[-1].split()[:1] if "captions" in line.split("; ")[-1]]
    return len(table) + sum(int(number) for number in numbers)


def picture(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"a{suffix}")
        return folder / f"a{suffix}"

    return make


def read_picture(suffix: str, folder: Path) -> None:
    read_image(folder, f"a{suffix}", "a")


def configuration(folder: Path) -> Path:
    folder.mkdir(parents=True)
    text = (
        "name: x\nseed: 3\ndata:\n  dataset: coco\n  folder: ${HOME}/coco\n  sizes: {test: 5, selection: 4}\n"
        "training:\n  methods: [vialign, lora]\n  steps: 100\n  early_steps: 20\n"
    )
    (folder / "c.yaml").write_text(text)
    return folder / "c.yaml"


# ------------------------------------------------------------------------------------------- models

STATE = {"a.weight": (3, 2), "a.bias": (3,), "b.weight": (2, 3)}


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Linear(2, 3), torch.nn.Linear(3, 2, bias=False)


def checkpoint(name: str, legacy: bool = False) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from safetensors.torch import save_file

        folder.mkdir(parents=True)
        state = Small().state_dict()
        if name.endswith(".safetensors"):
            save_file(state, folder / name, {"vialign": json.dumps({"activation": "gelu"})})
        else:
            torch.save({"epoch": 1, "state_dict": state}, folder / name, _use_new_zipfile_serialization=not legacy)
        return folder / name

    return make


def read_weights(name: str, folder: Path) -> int:
    from vialign.backbone.checkpoint import declared_activation

    declared_activation(folder / name)
    model = Small()
    load_weights(model, folder / name, "small")
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
    return len(STATE)


def definition(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return tiny_model(folder, "fuzz-tiny")


def read_definition(folder: Path) -> None:
    config = BackboneConfig(architecture="fuzz-tiny", definition=str(folder / "fuzz-tiny.json"), checkpoint=None)
    load_backbone(config).tokenize(["a red circle"])


def merges(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "merges.txt.gz").write_bytes(gzip.compress(b"#version: 0.2\nr e\nre d</w>\nb l\n", mtime=0))
    return folder / "merges.txt.gz"


def tokenizer(folder: Path, target: str) -> Path:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    folder.mkdir(parents=True)
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=40, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    made.train_from_iterator(["a red circle", "two dogs run"], trainer)
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]"}))
    return folder / target


def read_tokenizer(folder: Path) -> None:
    FileTokenizer(folder, 16, 64, "lower").pieces("a red circle &amp; two dogs")


BLIP = {
    "model_type": "blip",
    "image_text_hidden_size": 8,
    "projection_dim": 8,
    "text_config": {"vocab_size": 64, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    | {"num_attention_heads": 2, "max_position_embeddings": 40, "encoder_hidden_size": 8},
    "vision_config": {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    | {"image_size": 16, "patch_size": 8},
}


def blip(folder: Path) -> Path:
    tokenizer(folder, "tokenizer.json")
    (folder / "config.json").write_text(json.dumps(BLIP))
    return folder / "config.json"


def read_blip(folder: Path) -> None:
    load_backbone(BackboneConfig(architecture="blip", definition=str(folder), checkpoint=None)).tokenize(["a cat"])


# ------------------------------------------------------------------------------------------- language

TREE = "( (S (NP-SBJ (DT The) (NN cat)) (VP (VBZ sits) (PP (IN on) (NP (DT a) (NN bed)))) (. .)) )\n"
CONLLU = """# text = The cat sits.
1\tThe\tthe\tDET\tDT\t_\t2\tdet\t_\t_
2\tcat\tcat\tNOUN\tNN\t_\t3\tnsubj\t_\t_
3\tsits\tsit\tVERB\tVBZ\t_\t0\troot\t_\tSpaceAfter=No
4\t.\t.\tPUNCT\t.\t_\t3\tpunct\t_\t_

1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tdo\tdo\tAUX\tVB\t_\t0\troot\t_\t_
2\tn't\tnot\tPART\tRB\t_\t1\tadvmod\t_\t_

"""


def text_file(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / name).write_text(text)
        return folder / name

    return make


def read_mrg(folder: Path) -> None:
    from vialign.data.treebanks.head_rules import dependencies

    for tree in read_trees(folder / "a.mrg"):
        dependencies(tree)


def conllu_sentences(content: bytes) -> int | None:
    """Blocks between empty lines that have a line of a word, whose number is a whole one."""
    if lines_of(content) is None:
        return None
    blocks: list[list[str]] = [[]]
    for line in content.decode("utf-8-sig").replace("\r\n", "\n").split("\n"):
        if line.strip():
            blocks[-1].append(line)
        else:
            blocks.append([])
    return sum(any(line.split("\t")[0].isdecimal() for line in block) for block in blocks)


@cache
def parser() -> Any:
    """An untrained pipeline: what it says is of no matter."""
    import spacy
    from spacy.training import Example

    nlp = spacy.blank("en")
    add_components(nlp, 8, 1, 20)
    said = {
        "words": ["a", "red", "cat"],
        "tags": ["DT", "JJ", "NN"],
        "heads": [2, 2, 2],
        "deps": ["det", "amod", "ROOT"],
    }
    nlp.initialize(lambda: [Example.from_dict(nlp.make_doc("a red cat"), said)] * 20)
    return nlp


PIPELINE = ("meta.json", "config.cfg", "vocab/strings.json", "tokenizer", "tagger/model", "parser/moves")
"""Files of a pipeline, whose others are of the same kinds."""


def pipeline(folder: Path) -> list[Path]:
    save_pipeline(parser(), folder / "p", {"rule": "x"})
    return [folder / "p" / name for name in PIPELINE]


def read_pipeline(folder: Path) -> None:
    load_pipeline(folder / "p")("a red cat")


def order_file(folder: Path) -> Path:
    folder.mkdir(parents=True)
    rows = [(f"{name}#0", name, f"a red cat near bed {place}", None) for place, name in enumerate(IMAGES)]
    told = pd.DataFrame(rows, columns=list(CAPTIONS.columns))
    build_order_file(told, folder / "o.jsonl", 0, "o", lambda texts: [[(w, "NN") for w in t.split()] for t in texts])
    return folder / "o.jsonl"


# ------------------------------------------------------------------------------------------- regions


def regions_tsv(target: str) -> Callable[[Path], Path]:
    def encode(values: Any) -> str:
        return base64.b64encode(np.asarray(values, np.float32).tobytes()).decode()

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        boxes = [[0, 0, 4, 3], [1, 1, 5, 5]]
        vectors = np.ones((2, 4))
        whole = [f"{n}\t8\t6\t2\t{encode(boxes)}\t{encode(vectors)}\n" for n in range(1, 7)]
        (folder / "butd.tsv").write_text("".join(whole))
        things = [{"class": "cat", "rect": box} for box in boxes]
        said = json.dumps({"image_w": 8, "image_h": 6, "objects": things})
        (folder / "features.tsv").write_text("".join(f"{n}\t2\t{encode(vectors)}\n" for n in range(1, 7)))
        (folder / "predictions.tsv").write_text("".join(f"{n}\t{said}\n" for n in range(1, 7)))
        return folder / target

    return make


def read_regions(name: str, folder: Path) -> int:
    index = index_regions(folder / name)
    return sum(len(index.read(image).boxes) > 0 for image in sorted(index.names))


def regions_npz(folder: Path) -> Path:
    folder.mkdir(parents=True)
    arrays = {"bbox": np.array([[0, 0, 4, 3]] * 2), "x": np.ones((2, 4)), "image_w": 8, "image_h": 6}
    np.savez_compressed(folder / "1.npz", objects=np.array(["cat", "dog"]), **arrays)
    return folder / "1.npz"


def read_npz_folder(folder: Path) -> int:
    return len(index_regions(folder).read("1").boxes)


# ------------------------------------------------------------------------------------------- our own files


def calibration_table() -> pd.DataFrame:
    numbers = {"slope": 1.0, "intercept": 0.0, "free_slope": 1.0, "pairs": 5, "auc": 0.5, "brier": 0.2}
    rows = [{"similarity": name, **numbers, "calibration_error": 0.1} for name in ("s_global", "s_local")]
    return SIGNAL_CALIBRATION.check(pd.DataFrame(rows))


def own_table(folder: Path) -> Path:
    rows = [(f"c{place}", name, f"a cat {place}", None) for place, name in enumerate(IMAGES)]
    write_table(pd.DataFrame(rows, columns=list(CAPTIONS.columns)), CAPTIONS, folder / "t.parquet", {"rule": "x"})
    return folder / "t.parquet"


def read_own_table(folder: Path) -> int:
    read_provenance(folder / "t.parquet")
    return len(read_table(folder / "t.parquet", CAPTIONS))


def training_checkpoint(folder: Path) -> Path:
    state = {"w": torch.ones(3)}
    save_checkpoint(
        Checkpoint(3, state, state, 0.5, 2, {"w.m": torch.ones(3)}), folder / "c.safetensors", {"rule": "x"}
    )
    return folder / "c.safetensors"


def read_training_checkpoint(folder: Path) -> int:
    read_provenance(folder / "c.safetensors")
    found = load_checkpoint(folder / "c.safetensors")
    return len(found.weights) + len(found.best) + len(found.optimiser)


def feature_store(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        writer = StoreWriter(folder / "s", {"kind": "images", "grid": "1,2", "dimension": "3", "readout": "final"})
        layout = {"pooled": (np.float32, (3,)), "patches": (np.float16, (2, 3))}
        with writer.shard(IMAGES, layout) as file:
            file.append(len(IMAGES), pooled=np.ones((10, 3), np.float32), patches=np.ones((10, 2, 3), np.float16))
        writer.close()
        return folder / "s" / target

    return make


def read_store(folder: Path) -> int:
    store = read_images(folder / "s")
    assert len(store.pooled) == len(store.ids)
    return len(store.patches(0, len(store)))


def failures() -> pd.DataFrame:
    rows = [("vialign", 0, "test/x", f"i{place}", "combination beyond reach") for place in range(8)]
    return pd.DataFrame(rows, columns=[*KEYS, "failure"])


def review_sheet(folder: Path) -> Path:
    folder.mkdir(parents=True)
    sheet = failures()[list(KEYS)].assign(**{LABEL: [FAILURE_CLASSES[place % 2] for place in range(8)]})
    (folder / "sheet.csv").write_text(sheet_text(sheet), encoding="utf-8")
    return folder / "sheet.csv"


def item_results(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        rows = pd.DataFrame({"item_id": IMAGES, "image_id": IMAGES, "correct": [place % 2 for place in range(10)]})
        for name in "ab":
            path = folder / f"{name}{ending}"
            if ending == ".parquet":
                pq.write_table(pa.Table.from_pandas(rows), path, write_page_checksum=True)
            elif ending == ".jsonl":
                rows.to_json(path, orient="records", lines=True)
            else:
                rows.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
        return folder / f"b{ending}"

    return make


def read_item_results(ending: str, folder: Path) -> int:
    return len(compare_paired(read_paired([folder / f"{name}{ending}" for name in "ba"], Columns()))[0]) and len(IMAGES)


FRONTIER = "architecture,checkpoint,family,winoground,coco_i2t,coco_t2i,flickr_i2t,flickr_t2i,comp_avg,i2t_avg,t2i_avg"


def published_checkpoints(folder: Path) -> Path:
    folder.mkdir(parents=True)
    rows = [f"ViT-{place},openai,Open{',1.5' * 8}" for place in range(10)]
    (folder / "p.csv").write_text("\n".join([FRONTIER, *rows]) + "\n")
    return folder / "p.csv"


def read_checkpoints(folder: Path) -> None:
    """A row may come twice, so rows are not counted."""
    read_frontier(folder / "p.csv")
    read_values(folder / "p.csv")


def winoground_parquet(folder: Path) -> Path:
    folder.mkdir(parents=True)
    rows = []
    for line in write_winoground(folder / "aside").read_text().splitlines():
        example = json.loads(line)
        for name in ("image_0", "image_1"):
            content = (folder / "aside/images" / f"{example[name]}.png").read_bytes()
            example[name] = {"bytes": content, "path": f"{example[name]}.png"}
        rows.append({"secondary_tag": "", **example})
    pq.write_table(pa.Table.from_pylist(rows), folder / "test-00000-of-00001-ab.parquet", write_page_checksum=True)
    return folder / "test-00000-of-00001-ab.parquet"


def read_packed(reader: Any, folder: Path) -> int:
    return unpack(reader.PACKED, find_parquet(folder, reader.SPLIT), folder / "out")


@cache
def backbone() -> Any:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        return tiny_backbone(Path(folder))


def units_folder(folder: Path) -> list[Path]:
    about = {**contract_provenance(backbone().contract), "fit": "1", "readout": "final", "signal": "{}"}
    save_visual(VisualDisentangler(16, (4, 4), 6, 2, 3, 0.1, 2), folder / VISUAL, about)
    save_text(TextDisentangler(16, 4, 8, 2, 0.5, 0.5, 0.1), folder / TEXT, about)
    write_table(calibration_table(), SIGNAL_CALIBRATION, folder / CALIBRATION, about)
    used = pd.DataFrame([("a.png", "00", "fit")], columns=list(TOOLKIT_IMAGES.columns))
    write_table(used, TOOLKIT_IMAGES, folder / USED, about)
    save_pipeline(parser(), folder / PARSER, about)
    return [folder / name for name in (VISUAL, TEXT, CALIBRATION, USED, f"{PARSER}/meta.json")]


def read_units(folder: Path) -> int:
    load_visual(folder / VISUAL)
    load_text(folder / TEXT)
    return len(load_signal(folder, backbone()).calibration)


def plain_aligner(folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    definition = str(tiny_model(folder, "fuzz-taken"))
    named = BackboneConfig(architecture="fuzz-taken", definition=definition, checkpoint=None)
    config, found = Config(backbone=named), load_backbone(named)
    calibration = SignalCalibration.from_table(calibration_table())
    return Aligner(found, build_method("clip-adapter", config, BackboneFacts.of(found), calibration, 0), config)


def exported_folder(folder: Path) -> list[Path]:
    (folder / "x").mkdir(parents=True)
    plain_aligner(folder / "d").write(folder / "x", with_backbone=False)
    return [folder / "x" / name for name in ("config.json", "method.safetensors", "fuzz-taken.json")]


def read_exported(folder: Path) -> int:
    return len(load_folder(folder / "x").method.state())


@cache
def indexing() -> Any:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        return plain_aligner(Path(folder))


def index_folder(folder: Path) -> list[Path]:
    photographs(folder / "pictures", IMAGES[:3])
    for place, name in enumerate(IMAGES[:3]):
        Image.new("RGB", (8, 6), (place, 9, 9)).save(folder / "pictures" / name)
    head = Head(pictures=str(folder / "pictures"), model="x", contract={}, dimension=1)
    update_index(folder / "index", head, indexing(), batch=4)
    return [folder / "index" / name for name in ("index.json", "pictures.parquet")] + [
        *(folder / "index/shards").glob("*")
    ]


def read_index(folder: Path) -> int:
    return len(Collection(folder / "index", aligner=indexing()))


ARTIFACTS = [
    Format("captions of a folder", "lines", captions_file, read_captions_file, csv_rows),
    *(Format(f"picture{s}", "bytes", picture(s), partial(read_picture, s)) for s in (".png", ".jpg", ".webp", ".gif")),
    Format("configuration", "lines", configuration, lambda folder: read_config(folder / "c.yaml") and None),
    *(
        Format(f"checkpoint {name}", "bytes", checkpoint(name, legacy), partial(read_weights, name), same(len(STATE)))
        for name, legacy in (("w.safetensors", False), ("w.pt", False), ("legacy.pt", True))
    ),
    Format("model definition", "json", definition, read_definition),
    Format("merges", "bytes", merges, lambda folder: len(read_merges(folder / "merges.txt.gz"))),
    Format("tokenizer", "json", partial(tokenizer, target="tokenizer.json"), read_tokenizer),
    Format("tokenizer settings", "json", partial(tokenizer, target="tokenizer_config.json"), read_tokenizer),
    Format("blip settings", "json", blip, read_blip),
    Format("penn treebank", "lines", text_file("a.mrg", TREE * 4), read_mrg),
    Format(
        "conll-u",
        "lines",
        text_file("a.conllu", CONLLU * 3),
        lambda folder: len(read_conllu(folder / "a.conllu")),
        conllu_sentences,
    ),
    Format("pipeline", "bytes", pipeline, read_pipeline),
    Format(
        "order file",
        "jsonl",
        order_file,
        lambda folder: len(order_choices(read_order_file(folder / "o.jsonl"), "test")) + 1,
        lines_of,
    ),
    *(
        Format(f"regions {name}", "lines", regions_tsv(name), partial(read_regions, start), rows)
        for name, start, rows in (
            ("butd.tsv", "butd.tsv", lines_of),
            ("features.tsv", "features.tsv", lines_of),
            ("predictions.tsv", "features.tsv", same(6)),
        )
    ),
    Format("regions npz", "bytes", regions_npz, read_npz_folder, same(2)),
    Format("own table", "bytes", own_table, read_own_table, same(len(IMAGES))),
    Format("training checkpoint", "bytes", training_checkpoint, read_training_checkpoint, same(3)),
    *(
        Format(f"features {name}", "bytes", feature_store(name), read_store, same(len(IMAGES)))
        for name in ("manifest.parquet", "pooled.safetensors", "shard-00000.safetensors")
    ),
    Format(
        "review sheet",
        "lines",
        review_sheet,
        lambda folder: len(read_sheet(folder / "sheet.csv", failures())),
        labelled_rows,
    ),
    *(
        Format(f"item results {ending[1:]}", kind, item_results(ending), partial(read_item_results, ending), rows)
        for ending, kind, rows in (
            (".csv", "lines", csv_rows),
            (".tsv", "lines", lambda content: None),
            (".jsonl", "jsonl", lines_of),
            (".parquet", "bytes", same(len(IMAGES))),
        )
    ),
    Format("published checkpoints", "lines", published_checkpoints, read_checkpoints),
    Format(
        "winoground packed",
        "bytes",
        winoground_parquet,
        lambda folder: unpack_parquet(find_parquet(folder, "winoground"), folder / "out"),
        same(5),
    ),
    *(
        Format(f"{reader.SPLIT} packed", "bytes", partial(packed, reader), partial(read_packed, reader), same(6))
        for reader in PACKED
    ),
    Format("units", "bytes", units_folder, read_units, same(2)),
    Format("exported folder", "bytes", exported_folder, read_exported, same(4)),
    Format("index of pictures", "bytes", index_folder, read_index, same(3)),
]
assert len({form.name for form in (*PUBLISHED, *ARTIFACTS)}) == len(PUBLISHED) + len(ARTIFACTS)
