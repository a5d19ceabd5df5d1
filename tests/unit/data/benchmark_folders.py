"""Small valid folders of benchmarks, as their authors lay them out: for the readers' tests and for the fuzzer."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vialign.data.benchmarks import bivlc as bivlc_reader
from vialign.data.benchmarks import colorswap as colorswap_reader

NAMES = [f"{number}.jpg" for number in range(1, 7)]


def photographs(folder: Path, names: Iterable[str] = tuple(NAMES), size: tuple[int, int] = (8, 6)) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "red").save(folder / name)


def _json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def sugarcrepe_pp(folder: Path) -> Path:
    photographs(folder / "val2017")
    said = {"caption": "a red cat", "caption2": "a cat that is red", "negative_caption": "a blue cat"}
    return _json(folder / "swap_att.json", [{"id": n, "filename": name, **said} for n, name in enumerate(NAMES)])


def valse(folder: Path) -> Path:
    photographs(folder / "images")
    said = {
        "caption": "There are exactly 4 cars.",
        "foil": "There are exactly 0 cars.",
        "linguistic_phenomena": "counting",
    }
    votes = {"mturk": {"foil": 0, "caption": 3, "other": 0}}
    rows: dict[str, Any] = {
        f"counting_visual7w_{n}": {"image_file": name, **said, **votes} for n, name in enumerate(NAMES)
    }
    rows["counting_visual7w_0"] = {"image_file": NAMES[0], **said, "mturk": {"foil": 2, "caption": 1, "other": 0}}
    return _json(folder / "counting-hard.json", rows)


def vsr(folder: Path) -> Path:
    photographs(folder / "images")
    said = {"image_link": "http://images.cocodataset.org/train2017/1.jpg", "caption": "The cat is on the bed."}
    rows = [{"image": name, **said, "label": n % 2, "relation": "on"} for n, name in enumerate(NAMES)]
    _lines(folder / "splits/random/dev.jsonl", rows[:2])
    return _lines(folder / "splits/random/test.jsonl", rows)


def vsr_dev(folder: Path) -> Path:
    vsr(folder)
    return folder / "splits/random/dev.jsonl"


def vsr_whole(folder: Path) -> Path:
    names = [f"{number}.jpg" for number in range(1, 41)]
    photographs(folder / "images", names)
    rows = [
        {"image": name, "caption": "The cat is on the bed.", "label": n % 2, "relation": "on"}
        for n, name in enumerate(names)
    ]
    return _lines(folder / "all_vsr_validated_data.jsonl", rows)


def cola(folder: Path) -> Path:
    photographs(folder / "vg_gqa_images")
    link = "https://cs-people.bu.edu/array/data/vg_gqa_images/"
    rows = [[link + one, "red cat", link + other, "blue cat"] for one, other in zip(NAMES, NAMES[1:], strict=False)]
    return _json(folder / "COLA_multiobjects_matching_benchmark.json", rows)


def bivlc(folder: Path) -> Path:
    photographs(folder / "images")
    said = {"caption": "a red cat", "negative_caption": "a blue cat", "type": "swap", "subtype": "att"}
    rows = [{"image": a, "negative_image": b, **said} for a, b in zip(NAMES, NAMES[1:], strict=False)]
    return _csv(folder / "bivlc.csv", rows)


STAGED = {
    "a": ("controlled_images_dataset.json", "controlled_images", ("left of", "right of", "on", "under")),
    "b": ("controlled_clevr_dataset.json", "controlled_clevr", ("left of", "right of", "in front of", "behind")),
}
"""Part of What'sUp to its file, its folder and the places of a pair of things."""


def whatsup(part: str, *more: str) -> Callable[[Path], Path]:
    """A part of staged photographs, four of a pair of things, and `more` of its folder."""
    file, place, words = STAGED[part]

    def write(folder: Path) -> Path:
        names = [f"{place}/mug_{word.replace(' ', '_')}_table.jpeg" for word in words]
        names += [f"{place}/{name}" for name in more]
        photographs(folder, names)
        turned = [[*words[n % 4 :], *words[: n % 4]] for n in range(len(names))]
        rows = [
            {"image_path": f"data/{name}", "caption_options": [f"A mug {word} a table" for word in own]}
            for name, own in zip(names, turned, strict=True)
        ]
        return _json(folder / file, rows)

    return write


def whatsup_found(file: str, image: str) -> Callable[[Path], Path]:
    """A part of found photographs: one thing or two, of COCO or Visual Genome."""
    end = " of a cat" if "two" in file else ""

    def write(folder: Path) -> Path:
        photographs(folder, [image.format(number) for number in range(1, 7)])
        said = [f"A photo of a dog {'to' if end else 'on'} the {side}{end}" for side in ("left", "right")]
        return _json(folder / file, [[n, *said] for n in range(1, 7)])

    return write


def colorswap(folder: Path) -> Path:
    photographs(folder, [f"images/img_{n}_{place}.png" for n in range(6) for place in (1, 2)])
    said = {
        "caption_1": "a red cat by a blue bed",
        "caption_2": "a blue cat by a red bed",
        "image_source": "midjourney",
    }
    rows = [{"id": n, **said, "image_1": f"images/img_{n}_1.png", "image_2": f"images/img_{n}_2.png"} for n in range(6)]
    return _json(folder / "test.json", rows)


def mmvp_vlm(folder: Path) -> Path:
    photographs(folder, [f"MLLM_VLM Images/Orientation/{number}.jpg" for number in range(1, 7)])
    rows = [
        {"Question ID": n, "Type": "Orientation", "Statement": f"a dog that looks {'left' if n % 2 else 'right'}"}
        for n in range(1, 7)
    ]
    return _csv(folder / "Questions.csv", rows)


def eqben(file: str, place: str) -> Callable[[Path], Path]:
    """The open tenth or the whole, with its folder of images."""

    def write(folder: Path) -> Path:
        names = [f"eqbenkubric_loc/{n}_{side}.png" for n in range(6) for side in (0, 1)]
        photographs(folder / place, names)
        rows: list[dict[str, Any]] = [
            {"image0": one, "image1": other, "caption0": "left of the cup", "caption1": ["right of the cup"]}
            for one, other in zip(names[::2], names[1::2], strict=True)
        ]
        frames = {"image0": "eqbenyoucook2/a.npy", "image1": "eqbenyoucook2/b.npy"}
        return _json(folder / file, [*rows, {**frames, "caption0": "cut", "caption1": "stir"}])

    return write


def svo_probes(folder: Path) -> Path:
    photographs(folder / "images")
    rows = [
        {
            "sentence": "A girl stands in grass.",
            "pos_triplet": "girl,stand,grass",
            "neg_triplet": "dog,stand,grass",
            "pos_url": "https://example.org/a.jpg",
            "neg_url": "https://example.org/b.jpg",
            "pos_image_id": n,
            "neg_image_id": n + 1,
            "subj_neg": n % 2 == 0,
            "verb_neg": n % 2 == 1,
            "obj_neg": False,
        }
        for n in range(1, 6)
    ]
    return _csv(folder / "svo_probes.csv", rows)


def negbench(part: str, place: str) -> Callable[[Path], Path]:
    """One of its files, which names its images by where they lie on the authors' machines."""

    def write(folder: Path) -> Path:
        photographs(folder / "images")
        rows = [
            {
                "image_path": f"{place}/{name}",
                "correct_answer": n % 4,
                **{f"caption_{number}": f"There is a cat but no dog, {number}." for number in range(4)},
                "correct_answer_template": "hybrid",
            }
            for n, name in enumerate(NAMES)
        ]
        return _csv(folder / f"{part}_mcq_llama3.1_rephrased.csv", rows)

    return write


PACKED = {
    bivlc_reader: {"caption": 'a "red" cat, here', "negative_caption": "a blue cat", "type": "swap", "subtype": "att"},
    colorswap_reader: {"caption_1": "a red cat", "caption_2": "a blue cat", "image_source": "dalle"},
}
"""What a row says of a benchmark that its hub packs, by its reader."""


def packed(reader: ModuleType, folder: Path, **changes: Any) -> list[Path]:
    """The benchmark as its hub packs it, in two parts of three rows; `changes` are those of the fourth."""
    content = BytesIO()
    Image.new("RGB", (5, 4)).save(content, format="PNG")
    pictures = {name: {"bytes": content.getvalue(), "path": "x.png"} for name in reader.PACKED.images}
    rows = [{**PACKED[reader], **pictures} for _ in range(6)]
    rows[3] |= changes
    (folder / "data").mkdir(parents=True)
    parts = [folder / f"data/test-{part:05d}-of-00002-abc.parquet" for part in range(2)]
    for place, part in enumerate(parts):
        pq.write_table(pa.Table.from_pylist(rows[3 * place : 3 * place + 3]), part, write_page_checksum=True)
    return parts


SENTENCE = "[/EN#1/people A man] in [/EN#2/clothing a red hat] looks at [/EN#0/notvisual something] ."
BOX = "<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>5</xmax><ymax>4</ymax></bndbox>"
ANNOTATION = f"""<annotation><filename>1.jpg</filename><size><width>8</width><height>6</height><depth>3</depth></size>
<object><name>1</name>{BOX}</object>
<object><name>2</name>{BOX.replace("<xmin>2", "<xmin>4")}</object>
<object><name>1</name><name>2</name>{BOX.replace("<ymin>1", "<ymin>3")}</object>
<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object></annotation>
"""


def entities(target: str) -> Callable[[Path], Path]:
    """Flickr30k Entities; which of its files is broken."""

    def write(folder: Path) -> Path:
        photographs(folder / "flickr30k-images")
        for part in ("Sentences", "Annotations"):
            (folder / part).mkdir()
        for name in NAMES:
            number = name.removesuffix(".jpg")
            (folder / "Sentences" / f"{number}.txt").write_text(f"{SENTENCE}\n" * 5, encoding="utf-8")
            (folder / "Annotations" / f"{number}.xml").write_text(ANNOTATION, encoding="utf-8")
        (folder / "test.txt").write_text("".join(name.removesuffix(".jpg") + "\n" for name in NAMES))
        return folder / target

    return write


_COCO = "val2017/{:012d}.jpg"
FOLDERS: dict[str, tuple[str, Callable[[Path], Path], dict[str, int]]] = {
    "sugarcrepe_pp": ("sugarcrepe_pp", sugarcrepe_pp, {"sugarcrepe_pp_swap_att": 6}),
    "valse": ("valse", valse, {"valse_counting_hard": 5}),
    "vsr": ("vsr", vsr, {"vsr_random": 6, "vsr_random_dev": 2}),
    "vsr dev": ("vsr", vsr_dev, {"vsr_random": 6, "vsr_random_dev": 2}),
    "vsr whole": ("vsr", vsr_whole, {"vsr_all": 39, "vsr_all_dev": 1}),
    "cola": ("cola", cola, {"cola": 5}),
    "bivlc": ("bivlc", bivlc, {"bivlc": 5}),
    "whatsup": ("whatsup", whatsup("a", "pillow_left_of_chair.jpeg"), {"whatsup_a": 5}),
    "whatsup b": ("whatsup", whatsup("b"), {"whatsup_b": 4}),
    "whatsup found": ("whatsup", whatsup_found("coco_qa_one_obj.json", _COCO), {"whatsup_coco_one": 6}),
    "whatsup coco two": ("whatsup", whatsup_found("coco_qa_two_obj.json", _COCO), {"whatsup_coco_two": 6}),
    "whatsup vg one": ("whatsup", whatsup_found("vg_qa_one_obj.json", "vg_images/{}.jpg"), {"whatsup_vg_one": 6}),
    "whatsup vg two": ("whatsup", whatsup_found("vg_qa_two_obj.json", "vg_images/{}.jpg"), {"whatsup_vg_two": 6}),
    "colorswap": ("colorswap", colorswap, {"colorswap": 6}),
    "mmvp_vlm": ("mmvp_vlm", mmvp_vlm, {"mmvp_vlm": 3}),
    "eqben": ("eqben", eqben("eqben_subset_10percent_final.json", "image_subset"), {"eqben": 6}),
    "eqben whole": ("eqben", eqben("private_info_global.json", "image"), {"eqben": 6}),
    "svo_probes": ("svo_probes", svo_probes, {"svo_probes": 5}),
    "negbench": ("negbench", negbench("COCO_val", "data/coco/images/val2017"), {"negbench_coco": 6}),
    "negbench voc": ("negbench", negbench("VOC2007", "data/VOCdevkit/VOC2007/JPEGImages"), {"negbench_voc2007": 6}),
    "negbench synthetic": ("negbench", negbench("synthetic", "data/synthetic"), {"negbench_synthetic": 6}),
}
"""What a folder is called to its reader, what writes it, and how many items of each benchmark it holds."""
