"""A small Visual Genome in the published layout, without any broken row."""

import json

from PIL import Image

from vialign.config.data import DataConfig

SIZE = (40, 20)
NUMBERS = (1, 2, 3, 5, 8, 2370463, 2370464, 2412112)
SIZES = {"selection": 1, "gate": 1, "test": 1, "confirmation": 1, "calibration": 1, "diagnosis": 1}
URL = "https://cs.stanford.edu/people/rak248/VG_100K/{}.jpg"


def documents(numbers=NUMBERS):
    """The five files for images alike: three objects, one of them merged from another, two relations and three
    regions, one of which covers the image."""
    files = {name: [] for name in ("image_data", "objects", "attributes", "relationships", "region_descriptions")}
    for number in numbers:
        box = {"x": 2, "y": 3, "w": 10, "h": 12}
        shade = {"object_id": 10 * number + 1, "names": ["Lamp Shade "], "merged_object_ids": [10 * number + 7], **box}
        clock = {"object_id": 10 * number + 2, "names": ["clock", "watch"], "synsets": ["clock.n.01"], **box}
        wall = {"object_id": 10 * number + 3, "names": ["wall"], "x": 0, "y": 0, "w": 40, "h": 20}
        files["image_data"].append(
            {"image_id": number, "url": URL.format(number), "width": 40, "height": 20, "coco_id": None, "flickr_id": 7}
        )
        files["objects"].append({"image_id": number, "image_url": URL.format(number), "objects": [shade, clock, wall]})
        said = [{**clock, "attributes": ["Green ", "tall", "green"]}, {**shade, "attributes": ["white"]}, wall]
        files["attributes"].append({"image_id": number, "attributes": said})
        # An argument has `names` in version 1.2 and `name` in 1.4; it may bear the old number of a merged object.
        on = {"relationship_id": 10 * number + 1, "predicate": "ON ", "synsets": ["along.r.01"]}
        near = {"relationship_id": 10 * number + 2, "predicate": "next to"}
        relations = [
            {**on, "subject": {**clock, "name": "clock"}, "object": wall},
            {**near, "subject": {**shade, "object_id": 10 * number + 7}, "object": {**clock, "name": "clock"}},
        ]
        files["relationships"].append({"image_id": number, "relationships": relations})
        region = {"image_id": number, "x": 0, "y": 0, "height": 20}
        regions = [
            {**region, "region_id": 10 * number + 1, "width": 40, "phrase": " The clock is green. "},
            {**region, "region_id": 10 * number + 2, "width": 19, "phrase": "a part"},
            {**region, "region_id": 10 * number + 3, "width": 20, "phrase": "exactly <b>half</b>"},
        ]
        files["region_descriptions"].append({"id": number, "regions": regions})
    return files


def write(root, files):
    for name, content in files.items():
        (root / f"{name}.json").write_text(json.dumps(content))
    return root


def make(root, numbers=NUMBERS):
    for place, number in enumerate(numbers):
        path = root / ("VG_100K" if place % 2 else "VG_100K_2") / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", SIZE).save(path)
    return write(root, documents(numbers))


def config(folder, **changes) -> DataConfig:
    # The folder is small, so that a share of broken rows means nothing.
    given = {"dataset": "visual_genome", "folder": str(folder), "sizes": SIZES, "strict": True, "tolerance": 1.0}
    return DataConfig(**{**given, **changes})


def reasons(tables):
    """Problems but for the note that no `dataset_coco.json` is there."""
    frame = tables.problems
    return frame[frame["file"] != "dataset_coco.json"]
