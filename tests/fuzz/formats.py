"""Every format that is read, with a small valid file of it, its reader, and how its rows are counted.

A format says how many rows a broken file holds (`rows`, found without the reader under test; None where that cannot be
told) and how many of them the reader accounts for: what it kept and what it counted as a problem.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from unit.data import benchmark_folders, visual_genome_folder
from vialign.config.data import BenchmarkConfig, DataConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks import aro, flickr30k_entities, sugarcrepe, vl_checklist, vqa, winoground
from vialign.data.datasets import captioned, coco, flickr8k, flickr30k, vg200, visual_genome
from vialign.names import BENCHMARKS

Rows = Callable[[bytes], int | None]


@dataclass(frozen=True)
class Format:
    """One file that is read."""

    name: str
    kind: str
    """As `mutations.mutate` takes it."""
    make: Callable[[Path], Path | list[Path]]
    """Writes the valid folder and says which file of it is to be broken, or which in turn."""
    read: Callable[[Path], int | None]
    """Reads the folder; how many rows of the file are accounted for, None where rows are not counted."""
    rows: Rows = lambda content: None

    @property
    def label(self) -> str:
        """The name as pytest's `-k` takes it."""
        return self.name.replace(" ", "-")


IMAGES = [f"{number}.jpg" for number in range(1, 11)]
CAPTIONS = [(name, number, f"Caption {number} of {name} .") for name in IMAGES for number in range(2)]
SIZES = {"confirmation": 1, "calibration": 1, "diagnosis": 1}
LISTS = {"train": IMAGES[:6], "val": IMAGES[6:8], "test": IMAGES[8:]}


def photographs(folder: Path, names: Sequence[str] = tuple(IMAGES), size: tuple[int, int] = (8, 6)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size, "red").save(folder / name)


def data_config(dataset: str, folder: Path, **changes: Any) -> DataConfig:
    """Without a floor under the share of broken rows: each row is to be accounted for."""
    given = {"dataset": dataset, "folder": str(folder), "sizes": SIZES, **changes}
    if "tolerance" in DataConfig.model_fields:
        given["tolerance"] = 1.0
    return DataConfig(**given)


def benchmark_config(folder: Path, **changes: Any) -> BenchmarkConfig:
    given = {"folder": str(folder), **changes}
    if "tolerance" in BenchmarkConfig.model_fields:
        given["tolerance"] = 1.0
    return BenchmarkConfig(**given)


def broken(tables: DatasetTables) -> int:
    """Rows that are listed in `problems`."""
    return len(tables.problems)


def lines_of(content: bytes) -> int | None:
    """Lines that are not empty; None where the content is no text."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return sum(bool(line.strip()) for line in text.split("\n"))


def json_rows(key: str | None = None) -> Rows:
    """The length of the list (or object) at the top of a JSON file, or under a key of it."""

    def count(content: bytes) -> int | None:
        try:
            document = json.loads(content.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return None
        found = document if key is None else document.get(key) if isinstance(document, dict) else None
        return len(found) if isinstance(found, list | dict) else None

    return count


# ------------------------------------------------------------------------------------------- data sets


def karpathy_document(numbers: bool = False) -> dict[str, Any]:
    entries = []
    for split, names in LISTS.items():
        for name in names:
            said = [{"raw": text, "tokens": []} for owner, _, text in CAPTIONS if owner == name]
            entry = {"filename": name, "split": split, "sentences": said}
            entries.append(entry | ({"cocoid": int(name.removesuffix(".jpg"))} if numbers else {}))
    return {"images": entries, "dataset": "x"}


def flickr30k_folder(form: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        photographs(folder / "flickr30k-images")
        if form == "dataset_flickr30k.json":
            (folder / form).write_text(json.dumps(karpathy_document()))
        else:
            for name, images in LISTS.items():
                (folder / f"{name}.txt").write_text("".join(f"{image}\n" for image in images))
            mark, rest = ("#", "\t") if form.endswith(".token") else ("| ", "| ")
            lines = [f"{image}{mark}{number}{rest}{text}\n" for image, number, text in CAPTIONS]
            head = [] if form.endswith(".token") else ["image_name| comment_number| comment\n"]
            (folder / form).write_text("".join(head + lines))
        return folder / form

    return make


def read_flickr30k(folder: Path) -> int:
    tables = flickr30k.read(data_config("flickr30k", folder), 0)
    return len(tables.captions) + broken(tables) + 1  # the header


def read_flickr30k_images(folder: Path) -> int:
    tables = flickr30k.read(data_config("flickr30k", folder), 0)
    return len(tables.images) + broken(tables)


def flickr8k_folder(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        photographs(folder / "images")
        captions = "".join(f"{image}#{number}\t{text}\n" for image, number, text in CAPTIONS)
        (folder / "Flickr8k.token.txt").write_text(captions)
        for part, name in (("train", "train"), ("dev", "val"), ("test", "test")):
            (folder / f"Flickr_8k.{part}Images.txt").write_text("".join(f"{image}\n" for image in LISTS[name]))
        rated = [(image, f"{image}#0") for image in IMAGES]
        crowd = "".join(f"{image}\t{caption}\t0.5\t1\t1\n" for image, caption in rated)
        (folder / "CrowdFlowerAnnotations.txt").write_text(crowd)
        expert = "".join(f"{image}\t{caption}\t1\t2\t4\n" for image, caption in rated)
        (folder / "ExpertAnnotations.txt").write_text(expert)
        return folder / target

    return make


def read_flickr8k(kept: Callable[[DatasetTables], int]) -> Callable[[Path], int]:
    def read(folder: Path) -> int:
        tables = flickr8k.read(data_config("flickr8k", folder), 0)
        return kept(tables) + broken(tables)

    return read


def captioned_folder(folder: Path) -> Path:
    photographs(folder / "images")
    lines = [f'{image},"{text}"\n' for image, _, text in CAPTIONS]
    (folder / "captions.csv").write_text("image,caption\n" + "".join(lines))
    return folder / "captions.csv"


def read_captioned(folder: Path) -> int:
    tables = captioned.read(data_config("captioned", folder), 0)
    return len(tables.captions) + broken(tables)


def coco_folder(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        photographs(folder / "train2014")
        (folder / "dataset_coco.json").write_text(json.dumps(karpathy_document(numbers=True)))
        (folder / "annotations").mkdir()
        captions = [
            {"id": place, "image_id": int(image.removesuffix(".jpg")), "caption": text}
            for place, (image, _, text) in enumerate(CAPTIONS)
        ]
        (folder / "annotations/captions_train2014.json").write_text(json.dumps({"annotations": captions}))
        boxes = [
            {"id": number, "image_id": number, "category_id": 1, "bbox": [0, 0, 4, 3], "iscrowd": 0}
            for number in range(1, 11)
        ]
        instances = {"annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
        (folder / "annotations/instances_train2014.json").write_text(json.dumps(instances))
        return folder / target

    return make


def read_coco(kept: Callable[[DatasetTables], int]) -> Callable[[Path], int]:
    def read(folder: Path) -> int:
        tables = coco.read(data_config("coco", folder), 0)
        return kept(tables) + broken(tables)

    return read


def boxes_of_things(content: bytes) -> int | None:
    """Annotations of COCO without those around crowds, which are left out by design."""
    count = json_rows("annotations")(content)
    if count is None:
        return None
    rows = json.loads(content.decode("utf-8-sig"))["annotations"]
    return sum(not (isinstance(row, dict) and row.get("iscrowd") in (1, True, "1")) for row in rows)


def visual_genome_make(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        visual_genome_folder.make(folder)
        (folder / "object_alias.txt").write_text("lamp,lamp shade\nwall,walls\n")
        return folder / target

    return make


def read_visual_genome(kept: Callable[[DatasetTables], int]) -> Callable[[Path], int]:
    def read(folder: Path) -> int:
        given = data_config("visual_genome", folder, sizes=visual_genome_folder.SIZES)
        tables = visual_genome.read(given, 0)
        return kept(tables) + broken(tables)

    return read


def rows_of_images(key: str) -> Rows:
    """Rows of the entries that are of a known image, one for each other entry."""

    def count(content: bytes) -> int | None:
        if json_rows()(content) is None:
            return None
        entries = json.loads(content.decode("utf-8-sig"))
        if not isinstance(entries, list):
            return None
        total = 0
        for entry in entries:
            known = isinstance(entry, dict) and entry.get("image_id") in visual_genome_folder.NUMBERS
            rows = entry.get(key) if known else None
            total += len(rows) if isinstance(rows, list) else 1
        return total

    return count


def vg200_make(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        photographs(folder / "images", [f"{number}.jpg" for number in range(1, 9)], (60, 40))
        attributes = "".join(f"{number},1,2,{10 + number},12,red\n" for number in range(1, 9))
        (folder / "Attributes.txt").write_text(attributes)
        related = "".join(f"{number},1,2,{10 + number},12,5,6,7,8,on\n" for number in range(1, 9))
        (folder / "Relations.txt").write_text(related)
        return folder / target

    return make


def read_vg200(file: str) -> Callable[[Path], int]:
    def read(folder: Path) -> int:
        sizes = {"selection": 1, "gate": 1, "test": 1, **SIZES}
        vg200.read(data_config("vg200", folder, sizes=sizes), 0)
        problems = Problems("vg200", strict=False)
        lines = (vg200.read_attributes if file == "Attributes.txt" else vg200.read_relations)(folder, problems)
        return len(lines) + len(problems.frame())

    return read


# ------------------------------------------------------------------------------------------- benchmarks


def benchmark(module: Any, write: Callable[[Path], Path], kept: str = "items") -> tuple[Any, Any]:
    """Maker and reader of a benchmark: all of it is read, and its items are accounted for."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        return write(folder)

    def read(folder: Path) -> int:
        module.read(benchmark_config(folder), 0)
        problems = Problems("x", strict=False)
        return len(module.read_items(folder, problems)) + len(problems.frame())

    return make, read


def write_winoground(folder: Path) -> Path:
    lines = []
    for number in range(5):
        names = [winoground.image_name(number, place) for place in (0, 1)]
        photographs(folder / "images", [f"{name}.png" for name in names])
        example = {"id": number, "image_0": names[0], "image_1": names[1], "caption_0": "a b", "caption_1": "b a"}
        lines.append(json.dumps({**example, "tag": "x", "num_main_preds": 1, "collapsed_tag": "Object"}) + "\n")
    (folder / "examples.jsonl").write_text("".join(lines))
    return folder / "examples.jsonl"


def write_aro(folder: Path) -> Path:
    photographs(folder / "images", size=(60, 40))
    box = {"bbox_x": 1, "bbox_y": 2, "bbox_w": 20, "bbox_h": 10}
    said = {"true_caption": "the cat is on the bed", "false_caption": "the bed is on the cat"}
    items = [{"image_path": name, **said, "relation_name": "on", **box} for name in IMAGES[:6]]
    (folder / "visual_genome_relation.json").write_text(json.dumps(items))
    return folder / "visual_genome_relation.json"


def write_attribution(folder: Path) -> Path:
    items = json.loads(write_aro(folder).read_text())
    (folder / "visual_genome_relation.json").unlink()
    rows = [{**item, "attributes": ["red", "blue"]} for item in items]
    (folder / "visual_genome_attribution.json").write_text(json.dumps(rows))
    return folder / "visual_genome_attribution.json"


def write_sugarcrepe(folder: Path) -> Path:
    photographs(folder / "val2017")
    items = {
        str(place): {"filename": name, "caption": "a red cat", "negative_caption": "a blue cat"}
        for place, name in enumerate(IMAGES[:6])
    }
    (folder / "swap_att.json").write_text(json.dumps(items))
    return folder / "swap_att.json"


def write_vl_checklist(folder: Path) -> Path:
    photographs(folder / "images")
    items = [[name, {"POS": ["red cat"], "NEG": ["blue cat"]}] for name in IMAGES[:6]]
    (folder / "color.json").write_text(json.dumps(items))
    return folder / "color.json"


def write_vqa(target: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        photographs(folder / vqa.IMAGE_FOLDER, [vqa.image_name(number) for number in (1, 2, 3)])
        questions, annotations = [], []
        for number in range(6):
            same = {"question_id": number, "image_id": number % 3 + 1}
            questions.append({**same, "question": "What color is the cat?"})
            people = [{"answer": answer} for answer in ["black"] * 7 + ["2,000", "2000", "a.m."]]
            kind = {"question_type": "what color is the", "multiple_choice_answer": "black"}
            annotations.append({**same, **kind, "answers": people})
        given = [{"question_id": 0, "candidates": ["black", "red"], "statements": ["a black cat", "a red cat"]}]
        (folder / vqa.QUESTION_FILE).write_text(json.dumps({"questions": questions}))
        (folder / vqa.ANNOTATION_FILE).write_text(json.dumps({"annotations": annotations}))
        (folder / vqa.CANDIDATE_FILE).write_text(json.dumps({"candidates": given}))
        return folder / target

    return write


def csv_rows(content: bytes) -> int | None:
    """Rows of a CSV file below its header, empty lines left out."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    return len([row for row in rows if row]) - 1


def labelled_rows(content: bytes) -> int | None:
    """Rows of a review sheet that have a label."""
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        return None
    return sum(bool((row.get("label") or "").strip()) for row in rows)


def number_of(frame: pd.DataFrame, **values: Any) -> int:
    keep = np.ones(len(frame), dtype=bool)
    for name, value in values.items():
        keep &= (frame[name] == value).to_numpy()
    return int(keep.sum())


def new_benchmark(name: str, file: str | None = None, each: int = 1) -> tuple[Any, Any]:
    """Maker and reader of a folder of `benchmark_folders`: rows of `file` (all files) that are accounted for.

    An item is made of `each` rows; rows that are left out by design are noted with their number.
    """
    module_name, write, _ = benchmark_folders.FOLDERS[name]
    module = import_module(BENCHMARKS[module_name])
    make, _ = benchmark(module, write)

    def read(folder: Path) -> int:
        module.read(benchmark_config(folder), 0)
        problems = Problems("x", strict=False)
        items = module.read_items(folder, problems)
        said = problems.frame()
        kept = items if file is None else items[items["file"] == file]
        left_out = said["problem"].str.extract(r"^(\d+) (?:of \d+ )?items ")[0].dropna().astype(int)
        return each * len(kept) + len(said) + int(left_out.sum())

    return make, read


def entities(target: str) -> tuple[Any, Any]:
    make, _ = benchmark(flickr30k_entities, benchmark_folders.entities(target))

    def read(folder: Path) -> int | None:
        tables = flickr30k_entities.read(benchmark_config(folder), 0)
        if target.startswith("Sentences"):
            own = tables.captions["image_id"] == "flickr30k_entities/1.jpg"
            return int(own.sum()) + broken(tables)
        return len(tables.images) + broken(tables) if target == "test.txt" else None

    return make, read


_WINOGROUND = benchmark(winoground, write_winoground)
_RELATION, _ATTRIBUTION = benchmark(aro, write_aro), benchmark(aro, write_attribution)
_SUGARCREPE, _VL_CHECKLIST = benchmark(sugarcrepe, write_sugarcrepe), benchmark(vl_checklist, write_vl_checklist)

PUBLISHED = [
    Format(
        "flickr30k json", "json", flickr30k_folder("dataset_flickr30k.json"), read_flickr30k_images, json_rows("images")
    ),
    Format("flickr30k token", "lines", flickr30k_folder("results_20130124.token"), read_flickr30k, lines_of),
    Format("flickr30k csv", "lines", flickr30k_folder("results.csv"), read_flickr30k, lines_of),
    Format("captioned", "lines", captioned_folder, read_captioned, csv_rows),
    Format(
        "flickr8k token",
        "lines",
        flickr8k_folder("Flickr8k.token.txt"),
        read_flickr8k(lambda t: len(t.captions)),
        lines_of,
    ),
    Format(
        "flickr8k list",
        "lines",
        flickr8k_folder("Flickr_8k.trainImages.txt"),
        read_flickr8k(lambda t: len(t.images) - 4),
        lines_of,
    ),
    Format(
        "flickr8k crowd",
        "lines",
        flickr8k_folder("CrowdFlowerAnnotations.txt"),
        read_flickr8k(lambda t: number_of(t.ratings, source="crowdflower")),
        lines_of,
    ),
    Format(
        "flickr8k expert",
        "lines",
        flickr8k_folder("ExpertAnnotations.txt"),
        read_flickr8k(lambda t: number_of(t.ratings, source="expert") // 3),
        lines_of,
    ),
    Format(
        "karpathy coco",
        "json",
        coco_folder("dataset_coco.json"),
        read_coco(lambda t: len(t.images)),
        json_rows("images"),
    ),
    Format(
        "coco captions",
        "json",
        coco_folder("annotations/captions_train2014.json"),
        read_coco(lambda t: len(t.captions)),
        json_rows("annotations"),
    ),
    Format(
        "coco instances",
        "json",
        coco_folder("annotations/instances_train2014.json"),
        read_coco(lambda t: len(t.objects)),
        boxes_of_things,
    ),
    Format(
        "visual genome images",
        "json",
        visual_genome_make("image_data.json"),
        read_visual_genome(lambda t: len(t.images)),
        json_rows(),
    ),
    Format(
        "visual genome objects",
        "json",
        visual_genome_make("objects.json"),
        read_visual_genome(lambda t: len(t.objects)),
        rows_of_images("objects"),
    ),
    Format(
        "visual genome relations",
        "json",
        visual_genome_make("relationships.json"),
        read_visual_genome(lambda t: len(t.relations)),
        rows_of_images("relationships"),
    ),
    Format("visual genome attributes", "json", visual_genome_make("attributes.json"), read_visual_genome(lambda t: 0)),
    Format(
        "visual genome regions", "json", visual_genome_make("region_descriptions.json"), read_visual_genome(lambda t: 0)
    ),
    Format("visual genome aliases", "lines", visual_genome_make("object_alias.txt"), read_visual_genome(lambda t: 0)),
    Format("vg200 attributes", "lines", vg200_make("Attributes.txt"), read_vg200("Attributes.txt"), lines_of),
    Format("vg200 relations", "lines", vg200_make("Relations.txt"), read_vg200("Relations.txt"), lines_of),
    Format("winoground", "jsonl", *_WINOGROUND, lines_of),
    Format("aro relation", "json", *_RELATION, json_rows()),
    Format("aro attribution", "json", *_ATTRIBUTION, json_rows()),
    Format("sugarcrepe", "json", *_SUGARCREPE, json_rows()),
    Format("vl-checklist", "json", *_VL_CHECKLIST, json_rows()),
    Format("sugarcrepe-pp", "json", *new_benchmark("sugarcrepe_pp"), json_rows()),
    Format("valse", "json", *new_benchmark("valse"), json_rows()),
    Format("vsr", "jsonl", *new_benchmark("vsr", "random/test.jsonl"), lines_of),
    Format("vsr dev", "jsonl", *new_benchmark("vsr dev", "random/dev.jsonl"), lines_of),
    Format("vsr whole", "jsonl", *new_benchmark("vsr whole"), lines_of),
    Format("cola", "json", *new_benchmark("cola"), json_rows()),
    Format("bivlc", "lines", *new_benchmark("bivlc"), csv_rows),
    Format("whatsup staged", "json", *new_benchmark("whatsup"), json_rows()),
    *(
        Format(f"whatsup {part}", "json", *new_benchmark(f"whatsup {part}"), json_rows())
        for part in ("b", "found", "coco two", "vg one", "vg two")
    ),
    Format("colorswap", "json", *new_benchmark("colorswap"), json_rows()),
    Format("mmvp-vlm", "lines", *new_benchmark("mmvp_vlm", each=2), csv_rows),
    Format("eqben", "json", *new_benchmark("eqben"), json_rows()),
    Format("eqben whole", "json", *new_benchmark("eqben whole"), json_rows()),
    Format("svo-probes", "lines", *new_benchmark("svo_probes"), csv_rows),
    *(
        Format(name, "lines", *new_benchmark(name), csv_rows)
        for name in ("negbench", "negbench voc", "negbench synthetic")
    ),
    Format("entities images", "lines", *entities("test.txt"), lines_of),
    Format("entities sentences", "lines", *entities("Sentences/1.txt"), lines_of),
    Format("entities boxes", "lines", *entities("Annotations/1.xml")),
    Format("vqa questions", "json", *benchmark(vqa, write_vqa(vqa.QUESTION_FILE)), json_rows("questions")),
    Format("vqa annotations", "json", *benchmark(vqa, write_vqa(vqa.ANNOTATION_FILE)), json_rows("annotations")),
    Format("vqa candidates", "json", *benchmark(vqa, write_vqa(vqa.CANDIDATE_FILE))),
]
