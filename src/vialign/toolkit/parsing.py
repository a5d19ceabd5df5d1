"""The phrase parser of the toolkit: the user's own, one trained on a treebank, or a small one on drawn captions."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vialign.config.data import LanguageConfig
from vialign.data.base import image_table
from vialign.data.scenes.captions import scene_captions, tree_text
from vialign.data.scenes.sampling import sample_scenes
from vialign.errors import UserError
from vialign.language.kept import kept_or_trained
from vialign.language.pipeline import load_pipeline
from vialign.language.stage import read_treebank
from vialign.random import generator
from vialign.tables.data import CAPTIONS, IMAGES
from vialign.toolkit.captions import warn

if TYPE_CHECKING:
    from spacy.language import Language

_SCENES = {"train": 100, "selection": 1}
"""Drawn scenes, of five captions each: on captions of others, the parser then makes no mistake."""


def find_parser(
    pipeline: str | Path | None = None,
    treebank: str | Path | None = None,
    config: LanguageConfig | None = None,
    seed: int = 0,
) -> "Language":
    """An English spaCy pipeline with tagger and parser.

    `pipeline` is the folder of one; `treebank` is a folder of Universal Dependencies (`*-train.conllu`) or of Penn
    Treebank brackets (`*.mrg`) that one is trained on, with the sentences and epochs of `config`. With neither, a small
    one is trained on captions of drawn scenes, and a line on stderr says what it is worth. What is trained is kept in
    the user's cache (`vialign.language.kept`). Raises UserError when both are given, or the folder holds no such thing.

    >>> parser = find_parser("units/pipeline")
    >>> [word.tag_ for word in parser("a red circle")]
    ['DT', 'JJ', 'NN']
    """
    config = config or LanguageConfig()
    if pipeline is not None and treebank is not None:
        raise UserError("phrase parser: give a pipeline or a treebank, not both")
    if pipeline is not None:
        return load_pipeline(pipeline)
    if treebank is None:
        warn(
            "no parser given: taking a small one trained on drawn captions (`a red circle above a blue square`), and "
            "such captions are all that it knows; give --pipeline FOLDER (an English spaCy pipeline with tagger and "
            "parser) or --treebank FOLDER (Universal Dependencies or Penn Treebank) for others"
        )
        captions, images = _drawn_captions(seed)
        settings = config.model_copy(update={"treebank": "scenes"})
        return kept_or_trained(read_treebank(settings, captions, images, seed).train, epochs=config.epochs, seed=seed)
    kind = _treebank_kind(Path(treebank))
    settings = config.model_copy(update={"treebank": kind, "folder": str(treebank)})
    bank = read_treebank(settings, CAPTIONS.empty(), IMAGES.empty(), seed)
    return kept_or_trained(bank.train, epochs=config.epochs, seed=seed)


def _treebank_kind(folder: Path) -> str:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such treebank folder")
    for kind, pattern in (("ud", "*-train.conllu"), ("ptb", "*.mrg")):
        if next(folder.rglob(pattern), None) is not None:
            return kind
    raise UserError(
        f"{folder}: no treebank: it holds neither *-train.conllu (Universal Dependencies) nor *.mrg (Penn Treebank)"
    )


def _drawn_captions(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Captions with gold brackets (CAPTIONS) and their images (IMAGES) of scenes that are never drawn."""
    rows, images = [], []
    for split, count in _SCENES.items():
        random = generator(seed, "toolkit treebank", split)
        for number, (scene, _) in enumerate(sample_scenes(random, count)):
            image_id = f"{split}-{number}"
            images.append((image_id, split, "", 1, 1))
            for n, tree in enumerate(scene_captions(random, scene)):
                rows.append((f"{image_id}#{n}", image_id, tree_text(tree), tree))
    return pd.DataFrame(rows, columns=list(CAPTIONS.columns)), image_table(images)
