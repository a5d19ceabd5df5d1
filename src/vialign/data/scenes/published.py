"""The diagnostics of Scenes, written in their published forms and read back by the readers of the real benchmarks.

So the embedded world exercises every line that a real benchmark goes through, from its files on.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from vialign.data.base import Problems
from vialign.data.benchmarks import aro, sugarcrepe_pp, svo_probes, vqa, vsr, winoground
from vialign.data.benchmarks.aro_order import build_order_file, order_choices, read_order_file
from vialign.data.scenes.world import IMAGE_SIZE
from vialign.data.treebanks.penn import Tree, parse_tree
from vialign.files.artifacts import write_text
from vialign.tables.data import DEVELOPMENT

ORDER = "aro_order"
_SUFFIX = ".png"
_WHOLE = (0.0, 0.0, float(IMAGE_SIZE), float(IMAGE_SIZE))


def winoground_choices(rows: Sequence[Mapping[str, Any]], split: str, folder: Path) -> list[dict[str, Any]]:
    """CHOICES rows of Winoground's form, through `examples.jsonl`."""
    if not rows:
        return []
    winoground.write_published(rows, _files(rows), folder)
    return _read_back(winoground.read_items(folder, Problems("scenes winoground", strict=True)), split)


def aro_choices(rows: Sequence[Mapping[str, Any]], split: str, folder: Path) -> list[dict[str, Any]]:
    """CHOICES rows of VG-Relation's and VG-Attribution's form, through their JSON files."""
    if not rows:
        return []
    files = _files(rows)
    aro.write_published(rows, files, dict.fromkeys(files, _WHOLE), folder)
    return _read_back(aro.read_items(folder, Problems("scenes aro", strict=True)), split)


def both_right_choices(rows: Sequence[Mapping[str, Any]], split: str, folder: Path) -> list[dict[str, Any]]:
    """CHOICES rows of SugarCrepe++'s form, through `swap_obj.json`."""
    if not rows:
        return []
    published = [
        {"id": place, "filename": f"{row['images'][0]}{_SUFFIX}"}
        | dict(zip(("caption", "caption2", "negative_caption"), row["texts"], strict=True))
        for place, row in enumerate(rows)
    ]
    write_text(json.dumps(published), folder / "swap_obj.json")
    return _read_back(sugarcrepe_pp.read_items(folder, Problems("scenes both_right", strict=True)), split)


def image_choices(rows: Sequence[Mapping[str, Any]], split: str, folder: Path) -> list[dict[str, Any]]:
    """CHOICES rows of SVO-Probes' form, through `svo_probes.csv`; its images are numbered."""
    if not rows:
        return []
    numbers = {name: place for place, name in enumerate(dict.fromkeys(name for row in rows for name in row["images"]))}
    kinds = {"subj_neg": True, "verb_neg": False, "obj_neg": False}
    published = [
        {"sentence": row["texts"][0]}
        | {side: numbers[name] for side, name in zip(("pos_image_id", "neg_image_id"), row["images"], strict=True)}
        | kinds
        for row in rows
    ]
    columns = ["sentence", "pos_image_id", "neg_image_id", *kinds]
    write_text(pd.DataFrame(published, columns=columns).to_csv(index=False), folder / svo_probes.FILE)
    names = {str(place): name for name, place in numbers.items()}
    read = svo_probes.read_items(folder, Problems("scenes image_choice", strict=True))
    shown = pd.Series([[names[number] for number in pair] for pair in read["images"]], dtype=object)
    return _read_back(read.assign(images=shown), split)


def statement_choices(rows: Sequence[Mapping[str, Any]], split: str, folder: Path) -> list[dict[str, Any]]:
    """CHOICES rows of VSR's form, through `random/dev.jsonl` and `random/test.jsonl`."""
    if not rows:
        return []
    for part in ("dev", "test"):
        own = [row for row in rows if row["benchmark"].endswith(DEVELOPMENT) == (part == "dev")]
        lines = [
            json.dumps(
                {
                    "image": f"{row['images'][0]}{_SUFFIX}",
                    "caption": row["texts"][0],
                    "label": row["right"],
                    "relation": row["tag"],
                }
            )
            for row in own
        ]
        write_text("".join(line + "\n" for line in lines), folder / "random" / f"{part}.jsonl")
    return _read_back(vsr.read_items(folder, Problems("scenes statement", strict=True)), split)


def order_items(
    captions: Sequence[Mapping[str, Any]], split: str, folder: Path, seed: int, limit: int
) -> list[dict[str, Any]]:
    """CHOICES rows of COCO-Order's form from the first caption of each image, through a file of perturbations.

    The words and tags are those of the gold brackets (`tree` of CAPTIONS).
    """
    first = pd.DataFrame([row for row in captions if row["caption_id"].endswith("#0")][:limit])
    if first.empty:
        return []
    gold = {row["text"]: parse_tree(row["tree"]) for row in first.to_dict("records")}
    path = folder / f"{ORDER}.jsonl"
    build_order_file(first, path, seed, ORDER, lambda texts: [_tagged(gold[text]) for text in texts])
    choices = order_choices(read_order_file(path), split)
    return [{str(name): value for name, value in row.items()} for row in choices.to_dict("records")]


def vqa_questions(rows: Sequence[Mapping[str, Any]], split: str, folder: Path) -> list[dict[str, Any]]:
    """QUESTIONS rows through VQA v2's JSON files and the file of candidates.

    Raises ValueError when the subset rules do not take a question: the world would lose it without a word.
    """
    if not rows:
        return []
    problems = Problems("scenes vqa", strict=True)
    numbers = vqa.write_published(pd.DataFrame(rows), folder)
    items = vqa.read_items(folder, problems)
    if (items["rule"] == "").any():
        raise ValueError(f"no rule of VQA's subset takes {items.loc[items['rule'] == '', 'question'].iloc[0]!r}")
    sizes = {vqa.image_name(number): (IMAGE_SIZE, IMAGE_SIZE) for number in numbers.values()}
    given = vqa.read_candidates(folder, set(items["question_id"]), problems)
    image_of = {vqa.image_name(number): image_id for image_id, number in numbers.items()}
    read = vqa.question_table(items, sizes, given, vqa.frequent_answers(items), problems).to_dict("records")
    own = zip(read, items["image"], strict=True)
    rows_back = []
    for place, (row, file) in enumerate(own):
        named = {str(name): value for name, value in row.items()}
        named |= {"question_id": f"vqa/{split}/{place:05d}", "split": split, "image_id": image_of[file]}
        rows_back.append(named)
    return rows_back


def _tagged(tree: Tree) -> list[tuple[str, str]]:
    return list(zip(tree.words(), tree.tags(), strict=True))


def _files(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {image_id: f"{image_id}{_SUFFIX}" for row in rows for image_id in row["images"]}


def _read_back(items: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    """CHOICES rows of items whose images are named by their files, numbered in their order."""
    rows = []
    for item in items.to_dict("records"):
        number = int(str(item["item_id"]).rsplit("/", 1)[-1])
        rows.append(
            {
                "item_id": f"{item['benchmark']}/{split}/{number:05d}",
                "benchmark": item["benchmark"],
                "split": split,
                "tag": item["tag"],
                "images": [PurePosixPath(name).name.removesuffix(_SUFFIX) for name in item["images"]],
                "texts": item["texts"],
            }
            | ({} if pd.isna(item["right"]) else {"right": int(item["right"])})
        )
    return rows
