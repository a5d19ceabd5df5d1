"""Whole data sets in the layouts that their authors publish, at a share of their real counts, for the rehearsal.

Photographs are tiny JPEGs, a few pictures over and over. Words are drawn; the captions of Flickr30k and the sentences
of the Penn Treebank are the real ones where `real` is a folder with `multi30k/` and `ptb_nltk/`.
"""

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (160, 120)
FLICKR30K = {"train": 29000, "val": 1014, "test": 1000}
"""Images by the split of Karpathy and Fei-Fei."""
COCO = {"train": 82783, "restval": 30504, "val": 5000, "test": 5000}
COCO_BOXES = 7
"""Instances an image: 896,782 in 123,287."""
GENOME = 108077
GENOME_OF_COCO = 51208
"""Visual Genome's images that are COCO's too."""
GENOME_ROWS = {"objects": 35, "attributes": 26, "relationships": 21, "region_descriptions": 50}
"""Rows an image, as Krishna et al. (2017) count them."""
TREEBANK = 39832
"""Sentences of sections 2 to 21."""
LEAST = {"train": 180, "restval": 0, "val": 60, "test": 60}
"""Images of a split, however small the share: less than that no stage can read."""
LEAST_GENOME = 400
"""The same of Visual Genome, of which half and more is kept out."""
ITEMS = {
    "winoground": 400,
    "aro_relation": 23937,
    "aro_attribution": 28748,
    "vqa": 5000,
    "spatial": 30650,
    "color": 11569,
}
SUGARCREPE = {"add_att": 692, "add_obj": 2062, "replace_att": 788, "replace_obj": 1652, "replace_rel": 1406}
SUGARCREPE |= {"swap_att": 666, "swap_obj": 245}
_NOUNS = ["man", "woman", "dog", "horse", "car", "tree", "table", "plate", "cat", "bus"]
_NOUNS += ["street", "wall", "window", "shirt", "ball", "boat", "sign", "chair", "bird", "field"]
_ADJECTIVES = ["red", "blue", "green", "white", "black", "brown", "large", "small", "old", "young", "wooden", "tall"]
_RELATIONS = ("on", "under", "next to", "behind", "wearing", "holding", "near", "riding", "above", "has")


def share_of(counts: dict[str, int], share: float) -> dict[str, int]:
    """Images of each split at a share, no fewer than a stage can read."""
    return {split: max(LEAST[split], round(share * count)) for split, count in counts.items()}


class Words:
    """Phrases drawn by seed; names of things follow Zipf's law, as those of Visual Genome do."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.names = _NOUNS + [f"{one} {other}" for one in _NOUNS for other in _NOUNS]

    def name(self) -> str:
        return self.names[min(len(self.names), int(self.rng.zipf(1.3))) - 1]

    def adjective(self) -> str:
        return str(self.rng.choice(_ADJECTIVES))

    def relation(self) -> str:
        return _RELATIONS[min(len(_RELATIONS), int(self.rng.zipf(1.3))) - 1]

    def thing(self) -> str:
        return f"a {self.adjective()} {self.name()}"

    def caption(self) -> str:
        return f"{self.thing()} {self.relation()} {self.thing()}"

    def pair(self) -> tuple[str, str]:
        """A caption and the same one with its things exchanged."""
        one, relation, other = self.thing(), self.relation(), self.thing()
        return f"{one} {relation} {other}", f"{other} {relation} {one}"

    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height inside a photograph."""
        width, height = (int(self.rng.integers(16, side)) for side in SIZE)
        left, top = (int(self.rng.integers(0, side - own + 1)) for side, own in zip(SIZE, (width, height), strict=True))
        return left, top, width, height


class Pictures:
    """A few encoded pictures that are written over and over."""

    def __init__(self, seed: int, count: int = 16) -> None:
        rng = np.random.default_rng(seed)
        small = [Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(SIZE) for _ in range(count)]
        self.encoded = {kind: [_encoded(picture, kind) for picture in small] for kind in ("JPEG", "PNG")}

    def write(self, folder: Path, names: Sequence[str], kind: str = "JPEG") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for place, name in enumerate(names):
            (folder / name).write_bytes(self.encoded[kind][place % len(self.encoded[kind])])


def _encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_flickr30k(root: Path, share: float, words: Words, pictures: Pictures, real: Path | None) -> None:
    """`flickr30k-images/` and `dataset_flickr30k.json`; captions of Multi30k where it is at hand."""
    entries = []
    for split, count in share_of(FLICKR30K, share).items():
        told = (
            _multi30k(real / "multi30k", split)
            if real is not None and (real / "multi30k").is_dir()
            else _drawn(words, split)
        )
        for name, sentences in islice(told, count):
            entries.append({"filename": name, "split": split, "sentences": [{"raw": text} for text in sentences]})
    pictures.write(root / "flickr30k-images", [entry["filename"] for entry in entries])
    _write(root / "dataset_flickr30k.json", {"images": entries})


def _multi30k(folder: Path, split: str) -> Iterator[tuple[str, list[str]]]:
    stem = {"train": "train", "val": "val", "test": "test_2016"}[split]
    names = (folder / f"{stem}_images.txt").read_text().split()
    files = [gzip.decompress((folder / f"{stem}.{number}.en.gz").read_bytes()).decode() for number in range(1, 6)]
    for name, *lines in zip(names, *(file.splitlines() for file in files), strict=True):
        yield name, list(lines)


def _drawn(words: Words, split: str) -> Iterator[tuple[str, list[str]]]:
    first = 10**6 * (1 + list(FLICKR30K).index(split))
    for number in range(first, 2 * 10**6 + first):
        yield f"{number}.jpg", [words.caption() for _ in range(5)]


def write_coco(root: Path, share: float, words: Words, pictures: Pictures) -> list[int]:
    """Photographs of 2014, Karpathy's splits, captions and boxes; returns the numbers of the images."""
    entries, captions, boxes = [], {"train": [], "val": []}, {"train": [], "val": []}
    number = 0
    for split, count in share_of(COCO, share).items():
        part = "train" if split == "train" else "val"
        for _ in range(count):
            number += 1
            name, sentences = f"COCO_{part}2014_{number:012d}.jpg", [words.caption() for _ in range(5)]
            entries.append(
                {"filename": name, "cocoid": number, "split": split, "sentences": [{"raw": s} for s in sentences]}
            )
            captions[part] += [
                {"id": 10 * number + n, "image_id": number, "caption": s} for n, s in enumerate(sentences)
            ]
            boxes[part] += [
                {"id": 100 * number + n, "image_id": number, "category_id": 1 + n, "bbox": words.box(), "iscrowd": 0}
                for n in range(COCO_BOXES)
            ]
    categories = [{"id": 1 + place, "name": name} for place, name in enumerate(_NOUNS)]
    for part in captions:
        names = [entry["filename"] for entry in entries if f"_{part}2014_" in entry["filename"]]
        pictures.write(root / f"{part}2014", names)
        _write(root / f"annotations/captions_{part}2014.json", {"annotations": captions[part]})
        _write(root / f"annotations/instances_{part}2014.json", {"annotations": boxes[part], "categories": categories})
    _write(root / "dataset_coco.json", {"images": entries})
    return list(range(1, number + 1))


def write_genome(root: Path, share: float, words: Words, pictures: Pictures, coco: Sequence[int]) -> list[int]:
    """The five files and both folders of Visual Genome; half of its photographs are those of `coco`, by number."""
    count = max(LEAST_GENOME, round(share * GENOME))
    shared = words.rng.permutation(list(coco))[: round(count * GENOME_OF_COCO / GENOME)].tolist()
    files: dict[str, list[Any]] = {name: [] for name in ("image_data", *GENOME_ROWS)}
    for number in range(1, count + 1):
        coco_id = shared[number - 1] if number <= len(shared) else None
        image = {
            "image_id": number,
            "width": SIZE[0],
            "height": SIZE[1],
            "coco_id": coco_id,
            "flickr_id": 10**9 + number,
        }
        files["image_data"].append(image)
        objects = [_object(words, 1000 * number + place) for place in range(GENOME_ROWS["objects"])]
        files["objects"].append({"image_id": number, "objects": objects})
        said = [{**row, "attributes": [words.adjective()]} for row in objects[: GENOME_ROWS["attributes"]]]
        files["attributes"].append({"image_id": number, "attributes": said})
        relations = [
            {"relationship_id": 1000 * number + place, "predicate": words.relation(), "subject": one, "object": other}
            for place, (one, other) in enumerate(
                zip(objects, objects[1 : 1 + GENOME_ROWS["relationships"]], strict=False)
            )
        ]
        files["relationships"].append({"image_id": number, "relationships": relations})
        regions = [_region(words, 1000 * number + place) for place in range(GENOME_ROWS["region_descriptions"])]
        files["region_descriptions"].append({"id": number, "regions": regions})
    for name, content in files.items():
        _write(root / f"{name}.json", content)
    for place, folder in enumerate(("VG_100K", "VG_100K_2")):
        pictures.write(root / folder, [f"{number}.jpg" for number in range(1 + place, count + 1, 2)])
    return list(range(1, count + 1))


def _object(words: Words, number: int) -> dict[str, Any]:
    x, y, w, h = words.box()
    return {"object_id": number, "names": [words.name()], "x": x, "y": y, "w": w, "h": h}


def _region(words: Words, number: int) -> dict[str, Any]:
    x, y, width, height = words.box()
    return {"region_id": number, "phrase": words.caption(), "x": x, "y": y, "width": width, "height": height}


def write_treebank(root: Path, share: float, words: Words, real: Path | None) -> None:
    """`combined/`: NLTK's sample of the Penn Treebank where it is at hand, else drawn trees."""
    if real is not None and (real / "ptb_nltk/combined").is_dir():
        root.symlink_to((real / "ptb_nltk").resolve())
        return
    folder = root / "combined"
    folder.mkdir(parents=True)
    count = max(400, round(share * TREEBANK))
    for file in range(20):
        (folder / f"wsj_{file + 1:04d}.mrg").write_text("\n".join(_tree(words) for _ in range(file, count, 20)))


def _tree(words: Words) -> str:
    def phrase() -> str:
        nouns = " ".join(f"(NN {word})" for word in words.name().split())
        return f"(NP (DT a) (JJ {words.adjective()}) {nouns})"

    return f"( (S (NP-SBJ {phrase()} (PP (IN near) {phrase()})) (VP (VBZ sees) {phrase()}) (. .)) )"


def write_benchmarks(
    root: Path, share: float, words: Words, pictures: Pictures, genome: Sequence[int], coco: Sequence[int]
) -> None:
    """Winoground, ARO, SugarCrepe, VL-CheckList and VQA v2; all but the first on photographs of the data sets."""

    def items(name: str, counts: dict[str, int] = ITEMS) -> range:
        return range(max(40, round(share * counts[name])))

    def file(place: int, numbers: Sequence[int] = genome) -> str:
        return f"{numbers[-1 - place % (len(numbers) // 4)]}.jpg"

    winoground = [
        {
            "id": n,
            "image_0": f"{2 * n}",
            "image_1": f"{2 * n + 1}",
            "tag": "Object",
            "secondary_tag": "",
            "num_main_preds": 1,
            "collapsed_tag": "Object",
            **dict(zip(("caption_0", "caption_1"), words.pair(), strict=True)),
        }
        for n in items("winoground")
    ]
    pictures.write(root / "winoground/images", [f"{n}.png" for n in range(2 * len(winoground))], "PNG")
    (root / "winoground/examples.jsonl").write_text("\n".join(json.dumps(row) for row in winoground))
    for name, more in (("relation", {"relation_name": "on"}), ("attribution", {"attributes": ["red", "old"]})):
        rows = []
        for n in items(f"aro_{name}"):
            true, wrong = words.pair()
            box = {"bbox_x": 0, "bbox_y": 0, "bbox_w": SIZE[0], "bbox_h": SIZE[1]}
            shown = {"image_id": file(n).removesuffix(".jpg"), "image_path": file(n)}
            rows.append({**shown, "true_caption": true, "false_caption": wrong, **more, **box})
        _write(root / f"aro/visual_genome_{name}.json", rows)
        pictures.write(root / "aro/images", sorted({row["image_path"] for row in rows}))
    val2017 = [f"{number:012d}.jpg" for number in coco[-len(coco) // 4 :]]
    pictures.write(root / "coco/val2017", val2017)
    for kind in SUGARCREPE:
        rows = {}
        for n in items(kind, SUGARCREPE):
            true, wrong = words.pair()
            rows[str(n)] = {"filename": val2017[n % len(val2017)], "caption": true, "negative_caption": wrong}
        _write(root / f"sugarcrepe/{kind}.json", rows)
    for name in ("spatial", "color"):
        listed = []
        for n in items(name):
            true, wrong = words.pair()
            number = int(file(n).removesuffix(".jpg"))
            listed.append([f"{'VG_100K' if number % 2 else 'VG_100K_2'}/{number}.jpg", {"POS": [true], "NEG": [wrong]}])
        _write(root / f"vl_checklist/{name}.json", listed)
    _write_vqa(root / "vqa", items("vqa"), words, coco[-len(coco) // 8 :])


def _write_vqa(folder: Path, items: range, words: Words, coco: Sequence[int]) -> None:
    questions, annotations = [], []
    for n in items:
        answer = str(words.rng.choice(_ADJECTIVES[:6]))
        same = {"question_id": n + 1, "image_id": coco[-1 - n % len(coco)]}
        questions.append({**same, "question": f"What color is the {words.name()}?"})
        answers = [{"answer": answer, "answer_id": k + 1, "answer_confidence": "yes"} for k in range(10)]
        kinds = {"question_type": "what color is the", "answer_type": "other", "multiple_choice_answer": answer}
        annotations.append({**same, **kinds, "answers": answers})
    _write(folder / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
    _write(folder / "v2_mscoco_val2014_annotations.json", {"annotations": annotations})


def write_all(root: Path, share: float, seed: int, real: Path | None) -> None:
    """Everything that configs/paper.yaml and configs/paper_flickr30k.yaml read, under `root`."""
    words, pictures = Words(seed), Pictures(seed)
    write_flickr30k(root / "flickr30k", share, words, pictures, real)
    coco = write_coco(root / "coco", share, words, pictures)
    genome = write_genome(root / "visual_genome", share, words, pictures, coco)
    write_treebank(root / "penn_treebank", share, words, real)
    write_benchmarks(root, share, words, pictures, genome, coco)
