"""The modules sized to the budget: the largest correction rank with which the full model stays under the limit."""

from collections.abc import Callable

import torch

from vialign.budget import largest_rank
from vialign.budget.counting import count_stored
from vialign.catalogue import MODULES
from vialign.config.experiment import Config
from vialign.disentangle import TextDisentangler, VisualDisentangler
from vialign.disentangle.sizing import largest_visual
from vialign.features.facts import BackboneFacts
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.ground import word_width
from vialign.signal.calibration import SignalCalibration


def sized_rank(config: Config, facts: BackboneFacts, calibration: SignalCalibration) -> int:
    """The largest rank up to `curriculum.rank` whose full model, disentanglers included, obeys `budget.parameters`.

    A config under which even rank 1 is too large keeps `curriculum.rank`: the budget gate then says so, with the ledger
    as evidence.
    """
    extra = extra_at_rank(config, facts, calibration)
    limit = config.budget.parameters * facts.parameters
    if extra(1) >= limit:
        return config.curriculum.rank
    return largest_rank(extra, limit, range(1, config.curriculum.rank + 1))


def extra_at_rank(config: Config, facts: BackboneFacts, calibration: SignalCalibration) -> Callable[[int], int]:
    """From a correction rank to the numbers that the full model, disentanglers included, stores beyond the backbone.

    A dictionary of `auto` size counts as the largest that it can be, since the data are not asked here.
    """
    lexical = facts.state_width - facts.dimension
    # Not on the meta device: its `randn` imports torch's compiler, more than a second that scoring has no use for.
    with torch.random.fork_rng(devices=[]):
        shared = count_stored(
            [
                VisualDisentangler.from_config(largest_visual(config.visual), facts.dimension, facts.grid),
                TextDisentangler.from_config(config.text, facts.dimension, lexical),
            ]
        )

    def extra(rank: int) -> int:
        curriculum = config.curriculum.model_copy(update={"rank": rank})
        method = CurriculumMethod(
            MODULES,
            facts.dimension,
            facts.logit_scale,
            calibration,
            curriculum,
            config.signal,
            negative_weight=1.0,
            seed=0,
            word_width=word_width(facts),
        )
        return shared + count_stored([method])

    return extra
