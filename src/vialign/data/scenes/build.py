"""The Scenes data set as normalised tables and PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vialign.config.data import DataConfig
from vialign.data.base import DatasetTables, image_table
from vialign.data.scenes import benchmarks, published
from vialign.data.scenes.benchmarks import Shown
from vialign.data.scenes.captions import CROSS_DOMAIN, DOMAIN, scene_captions, tree_text
from vialign.data.scenes.draw import draw_scene
from vialign.data.scenes.sampling import sample_scenes
from vialign.data.scenes.world import IMAGE_SIZE, PREDICATES, Scene, Thing, relations
from vialign.errors import UserError
from vialign.files.artifacts import atomic_path
from vialign.names import SOURCE_SPLITS
from vialign.progress import track
from vialign.random import derive_seed, generator
from vialign.tables.data import CHOICES, PROBLEMS, QUESTIONS, RATINGS, RELATIONS

DEFAULT_SIZES: Mapping[str, int] = {
    "train": 2000,
    "calibration": 400,
    "diagnosis": 500,
    "diagnosis_domain": 200,
    "selection": 500,
    "gate": 300,
    "confirmation": 500,
    "test": 1000,
    "test_combination": 300,
    "test_domain": 300,
}
"""Images a split; `backbone` is drawn on the fly by the pretraining and never written."""
OTHER_DOMAIN = ("diagnosis_domain", "test_domain")
"""Splits that are drawn in lines and worded with synonyms."""
TWINS = 0.15
"""Share of scenes that come in pairs with the same things in another combination."""
FURTHER = 40
"""Items of each form of `data.forms`."""
DIAGNOSTICS = 600
"""Items of each minimal-pair benchmark on `test`; the other test splits have a third as many."""


def build(config: DataConfig, seed: int, output: Path) -> DatasetTables:
    """Draw every split into `output/images` and return its tables.

    Each split has its own generator, so the size of one never changes another. Raises UserError for a split that
    Scenes does not have.
    """
    unknown = sorted(set(config.sizes) - {*DEFAULT_SIZES, *SOURCE_SPLITS})
    if unknown:
        raise UserError(
            f"config: `data.sizes.{unknown[0]}`: Scenes has no such split; its splits are {', '.join(DEFAULT_SIZES)}"
        )
    folder = output / "images"
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Any]] = {
        name: [] for name in ("images", "captions", "objects", "relations", "choices", "questions")
    }
    for split, default in DEFAULT_SIZES.items():
        size = config.sizes.get(split, default)
        _build_split(split, size, seed, output, rows, config)
    return DatasetTables(
        images=image_table(rows["images"]),
        captions=pd.DataFrame(rows["captions"]),
        objects=pd.DataFrame(rows["objects"]),
        relations=pd.DataFrame(rows["relations"], columns=list(RELATIONS.columns)),
        choices=pd.DataFrame(rows["choices"], columns=list(CHOICES.columns)),
        questions=pd.DataFrame(rows["questions"], columns=list(QUESTIONS.columns)),
        ratings=RATINGS.empty(),
        problems=PROBLEMS.empty(),
        image_folder=output,
    )


def _build_split(
    split: str, size: int, seed: int, output: Path, rows: dict[str, list[Any]], config: DataConfig
) -> None:
    # What confirms the result comes from another seed than what led to it; from a second one since how many labels the
    # default's dictionary has was read off images of the first.
    own = derive_seed(seed, "confirmation", 2) if split == "confirmation" else seed
    rng = generator(own, "scenes", split)
    lines, folder = split in OTHER_DOMAIN, output / "images"
    style = CROSS_DOMAIN if lines else DOMAIN
    held_out = split == "test_combination"
    scenes = sample_scenes(rng, size, twins=TWINS, held_out=held_out, seen=config.seen_relations)
    shown: list[Shown] = []
    pairs: list[tuple[Shown, Shown, str]] = []
    for number, (scene, kind) in enumerate(track(scenes, f"drawing {split}", total=size)):
        image_id = f"{split}-{number:05d}"
        with atomic_path(folder / f"{image_id}.png") as temporary:
            draw_scene(scene, lines=lines).save(temporary, format="PNG", compress_level=1)
        rows["images"].append((image_id, split, f"images/{image_id}.png", IMAGE_SIZE, IMAGE_SIZE))
        for n, tree in enumerate(scene_captions(rng, scene, style)):
            rows["captions"].append(
                {"caption_id": f"{image_id}#{n}", "image_id": image_id, "text": tree_text(tree), "tree": tree}
            )
        rows["objects"] += [_object_row(image_id, n, thing) for n, thing in enumerate(scene.things)]
        rows["relations"] += _relation_rows(image_id, scene)
        shown.append(Shown(image_id, scene))
        # A pair that boxes do not tell apart has its own diagnostics.
        if kind in ("roles", "colours") and scene.main is not None and scene.main[1] in PREDICATES:
            pairs.append((shown[-2], shown[-1], kind))
    if split.startswith("test"):
        _add_diagnostics(split, shown, pairs, rng, rows, output / "published" / split, seed)
    if split == "test":
        rows["choices"] += _further_forms(split, shown, pairs, output / "published" / split, config.forms)


def _further_forms(
    split: str, shown: list[Shown], pairs: list[tuple[Shown, Shown, str]], folder: Path, forms: Sequence[str]
) -> list[dict[str, Any]]:
    """CHOICES rows of the forms that are asked for; nothing is drawn for them, so they change no other row."""
    made = {
        "both_right": lambda: published.both_right_choices(
            benchmarks.both_right(shown, split, FURTHER), split, folder / "sugarcrepe_pp"
        ),
        "image_choice": lambda: published.image_choices(
            benchmarks.image_choices(pairs, split, FURTHER), split, folder / "svo_probes"
        ),
        "statement": lambda: published.statement_choices(
            benchmarks.statements(shown, split, FURTHER), split, folder / "vsr"
        ),
    }
    return [row for name in forms for row in made[name]()]


def _object_row(image_id: str, number: int, thing: Thing) -> dict[str, object]:
    attributes = [thing.colour]
    if thing.size_word is not None:
        attributes.append(thing.size_word)
    if thing.texture != "plain":
        attributes.append(thing.texture)
    return {
        "object_id": f"{image_id}/{number}",
        "image_id": image_id,
        "name": thing.shape,
        "x": thing.x - thing.size / 2,
        "y": thing.y - thing.size / 2,
        "width": float(thing.size),
        "height": float(thing.size),
        "attributes": attributes,
    }


def _relation_rows(image_id: str, scene: Scene) -> list[dict[str, object]]:
    return [
        {
            "relation_id": f"{image_id}/{number}",
            "image_id": image_id,
            "subject_id": f"{image_id}/{i}",
            "predicate": predicate,
            "object_id": f"{image_id}/{j}",
        }
        for number, (i, predicate, j) in enumerate(relations(scene))
    ]


def _add_diagnostics(
    split: str,
    shown: list[Shown],
    pairs: list[tuple[Shown, Shown, str]],
    rng: np.random.Generator,
    rows: dict[str, list[Any]],
    folder: Path,
    seed: int,
) -> None:
    limit = DIAGNOSTICS if split == "test" else DIAGNOSTICS // 3
    aro = benchmarks.aro_relation(shown, split, limit) + benchmarks.aro_attribution(shown, split, limit)
    own = {item.image_id for item in shown}
    captions = [row for row in rows["captions"] if row["image_id"] in own]
    rows["choices"] += published.winoground_choices(benchmarks.winoground(pairs, split), split, folder)
    rows["choices"] += published.aro_choices(aro, split, folder)
    rows["choices"] += published.order_items(captions, split, folder, seed, limit // 2)
    rows["choices"] += benchmarks.replaced_relation(shown, split, limit, rng)
    for made in (benchmarks.seen_roles, benchmarks.seen_relation, benchmarks.seen_object):
        rows["choices"] += made(shown, split, limit)
    asked = benchmarks.questions(shown, split, limit // 2, rng)
    rows["questions"] += published.vqa_questions(asked, split, folder)
