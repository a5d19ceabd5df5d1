"""A tiny folder in the published layout of each benchmark form, over drawn images."""

import csv
import json
import shutil
from pathlib import Path

import pandas as pd
from PIL import Image

from vialign.data.benchmarks import aro, vqa, winoground
from vialign.data.benchmarks.sugarcrepe import KINDS
from vialign.toolkit import draw_example

PUBLISHED = ("winoground", "aro", "sugarcrepe", "vl_checklist", "vqa", "sugarcrepe_pp", "svo_probes", "vsr")
"""Benchmarks: pairs; one image with captions, whole and cropped; questions; two right captions; one caption with
images; statements with a threshold."""
FORMS = (*PUBLISHED, "flickr8k", "captioned")
"""Those, and retrieval in the form of a published data set and of a folder of one's own."""
PAIRS = [
    ("a red circle above a blue square", "a blue square above a red circle"),
    ("a green star left of a ring", "a ring left of a green star"),
    ("a small yellow ring", "a large yellow ring"),
    ("a white triangle", "a black triangle"),
]


def write_layouts(root: Path) -> tuple[Path, dict[str, Path]]:
    """Folders by benchmark under `root/data`, and where the images of a benchmark lie, when elsewhere."""
    draw_example(root / "drawn", images=12)
    pictures = sorted((root / "drawn/images").glob("*.png"))
    data = root / "data"
    shutil.copytree(root / "drawn", data / "captioned")
    items = [
        {"item_id": f"winoground/{place}", "images": [str(place), str(place + 1)], "texts": list(pair), "tag": "Object"}
        for place, pair in enumerate(PAIRS)
    ]
    (data / "winoground/images").mkdir(parents=True)
    for place in range(len(PAIRS) + 1):
        shutil.copy(pictures[place], data / f"winoground/images/{place}.png")
    winoground.write_published(items, {str(place): f"{place}.png" for place in range(9)}, data / "winoground")
    (data / "aro/images").mkdir(parents=True)
    rows = []
    for place, pair in enumerate(PAIRS):
        shutil.copy(pictures[place], data / f"aro/images/{place}.png")
        for benchmark, tag in (("aro_relation", "above"), ("aro_attribution", "red_blue")):
            name = {"item_id": f"{benchmark}/{place}", "benchmark": benchmark, "tag": tag}
            rows.append({**name, "images": [str(place)], "texts": list(pair)})
    files = {str(place): f"{place}.png" for place in range(len(PAIRS))}
    # Half of each image, so that what is seen differs from the file.
    aro.write_published(rows, files, dict.fromkeys(files, (0.0, 0.0, 60.0, 100.0)), data / "aro")
    coco = root / "coco"
    coco.mkdir()
    (data / "sugarcrepe").mkdir()
    for place, picture in enumerate(pictures):
        Image.open(picture).convert("RGB").save(coco / f"{place:012d}.jpg", quality=95)
    published = {
        str(place): {"filename": f"{place:012d}.jpg", "caption": true, "negative_caption": wrong}
        for place, (true, wrong) in enumerate(PAIRS)
    }
    for kind in KINDS:
        (data / f"sugarcrepe/{kind}.json").write_text(json.dumps(published))
    (data / "vl_checklist").mkdir()
    (root / "vg/VG_100K").mkdir(parents=True)
    for place in range(len(PAIRS)):
        shutil.copy(coco / f"{place:012d}.jpg", root / f"vg/VG_100K/{place}.jpg")
    listed = [[f"VG_100K/{n}.jpg", {"POS": [true], "NEG": [wrong]}] for n, (true, wrong) in enumerate(PAIRS)]
    (data / "vl_checklist/spatial.json").write_text(json.dumps(listed))
    asked = {"image_id": ["0", "1"], "question": ["What color is the ring?", "What color is the star?"]}
    questions = pd.DataFrame({**asked, "answers": [["red"] * 10, ["blue"] * 7 + ["green"] * 3]})
    questions["candidates"] = [["red", "blue", "green"]] * 2
    questions["statements"] = [
        [f"the {what} is {colour}" for colour in ("red", "blue", "green")] for what in ("ring", "star")
    ]
    (data / "vqa").mkdir()
    numbers = vqa.write_published(questions, data / "vqa")
    (data / "vqa" / vqa.IMAGE_FOLDER).mkdir()
    for name, number in numbers.items():
        shutil.copy(coco / f"{int(name):012d}.jpg", data / "vqa" / vqa.IMAGE_FOLDER / vqa.image_name(number))
    flickr = data / "flickr8k"
    (flickr / "images").mkdir(parents=True)
    names = [f"{place}.jpg" for place in range(len(pictures))]
    for place, name in enumerate(names):
        shutil.copy(coco / f"{place:012d}.jpg", flickr / "images" / name)
    parts = {"train": names[:5], "dev": names[5:7], "test": names[7:]}
    for split, own in parts.items():
        (flickr / f"Flickr_8k.{split}Images.txt").write_text("".join(f"{name}\n" for name in own))
    # No two alike: their scores would tie, or differ by a rounding.
    captions = [
        f"{name}#{n}\t{PAIRS[(place + n) % 4][n]} in picture {place} .\n"
        for place, name in enumerate(names)
        for n in (0, 1)
    ]
    (flickr / "Flickr8k.token.txt").write_text("".join(captions))
    _write_two_right(data / "sugarcrepe_pp")
    _write_image_choices(data / "svo_probes", coco)
    _write_statements(data / "vsr", coco)
    return data, {"sugarcrepe": coco, "sugarcrepe_pp": coco, "vl_checklist": root / "vg"}


def _photograph(place: int) -> str:
    """Name of a drawn image as COCO calls its photographs."""
    return f"{place:012d}.jpg"


def _write_two_right(folder: Path) -> None:
    """SugarCrepe++: a caption, the same in other words, and a wrong one."""
    folder.mkdir()
    said = {
        "swap_obj": [(true, f"there is {true}", wrong) for true, wrong in PAIRS],
        "replace_att": [(wrong, f"here you see {wrong}", true) for true, wrong in PAIRS],
    }
    for kind, texts in said.items():
        rows = [
            {"id": place, "filename": _photograph(place), "caption": one, "caption2": other, "negative_caption": wrong}
            for place, (one, other, wrong) in enumerate(texts)
        ]
        (folder / f"{kind}.json").write_text(json.dumps(rows))


def _write_image_choices(folder: Path, coco: Path) -> None:
    """SVO-Probes: a sentence, its image and one that differs in subject, verb or object."""
    (folder / "images").mkdir(parents=True)
    names = ("subj_neg", "verb_neg", "obj_neg")
    with (folder / "svo_probes.csv").open("w", newline="", encoding="utf-8") as file:
        columns = ["sentence", "pos_triplet", "neg_triplet", "pos_url", "neg_url", "pos_image_id", "neg_image_id"]
        writer = csv.writer(file)
        writer.writerow([*columns, *names])
        for place in range(8):
            pair = PAIRS[place % 4]
            writer.writerow(
                [pair[place // 4], "a,b,c", "d,b,c", "", "", place, place + 1, *(n == place % 3 for n in range(3))]
            )
    for place in range(9):
        shutil.copy(coco / _photograph(place), folder / f"images/{place}.jpg")


def _write_statements(folder: Path, coco: Path) -> None:
    """VSR: statements that are true or false, apart from those that the threshold is chosen on."""
    (folder / "splits/random").mkdir(parents=True)
    shutil.copytree(coco, folder / "images")
    for name, first in (("dev", 0), ("test", 6)):
        rows = [
            {"image": _photograph(place), "caption": text, "label": label, "relation": "above"}
            for place in range(first, first + 6)
            for label, text in enumerate(PAIRS[place % 4])
        ]
        (folder / f"splits/random/{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
