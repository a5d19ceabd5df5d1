"""How many images with a caption a method is shown, and the recipe that follows where two must be shown as many."""

from vialign.catalogue import BY_NEGATIVES, CURRICULUM, FULL, LONG, METHODS, UNTRAINED, trained_as
from vialign.config.disentangle import PASSES, TEXT_PASSES
from vialign.config.experiment import Config
from vialign.config.methods import TrainingConfig


def recipe_of(method: str, config: Config) -> TrainingConfig:
    """The recipe of a method: the config's, and for one of `LONG` with so many more steps that it is shown no fewer
    pairs than `vialign` in its fits and its training together. One of `BY_NEGATIVES` has them with weight 1 where the
    config's recipe has none.
    """
    training = config.training
    if method in BY_NEGATIVES and training.negatives == 0:
        return training.model_copy(update={"negatives": 1.0})
    if method not in LONG:
        return training
    further = -(-pairs_before(FULL, config) // training.batch)
    return training.model_copy(update={"steps": training.steps + further})


def pairs_before(method: str, config: Config) -> int:
    """Pairs that the fits before a method's training are shown, with repetition: images of the visual dictionary, and
    captions with their image of the phrase units. Nothing is fitted before the training of a baseline.

    Where steps are `auto` it is the most that they can come to: as many passes over `visual.images` and `text.texts`.
    """
    if method not in CURRICULUM:
        return 0
    visual, text = config.visual, config.text
    images = PASSES * visual.images if visual.steps == "auto" else visual.steps * visual.batch
    captions = TEXT_PASSES * text.texts if text.steps == "auto" else text.steps * text.batch
    return images + captions


def pairs_in_training(method: str, config: Config) -> int:
    """Pairs that a method is trained on, with repetition; of a cache, those that it keeps."""
    name = trained_as(method)
    if name not in UNTRAINED:
        training = recipe_of(name, config)
        return training.steps * training.batch
    return config.baselines.cache_pairs if "baselines.cache_pairs" in METHODS[name].sizes else 0
