"""A tiny folder in the published layout of each benchmark form, over drawn images."""

import json
import shutil
from pathlib import Path

import pandas as pd
from PIL import Image

from vialign.data.benchmarks import aro, vqa, winoground
from vialign.data.benchmarks.sugarcrepe import KINDS
from vialign.toolkit import draw_example

FORMS = ("winoground", "aro", "sugarcrepe", "vl_checklist", "vqa", "flickr8k", "captioned")
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
    captions = [f"{name}#{n}\t{PAIRS[(place + n) % 4][n]} .\n" for place, name in enumerate(names) for n in (0, 1)]
    (flickr / "Flickr8k.token.txt").write_text("".join(captions))
    return data, {"sugarcrepe": coco, "vl_checklist": root / "vg"}
