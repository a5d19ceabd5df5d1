"""The method `vialign`: a contrastive head and three modules, each of which can be left out.

A module that is off leaves nothing behind: no parameter, no term, no random number.
"""

from collections.abc import Iterable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.catalogue import GUIDED, method_name
from vialign.config.methods import CurriculumConfig
from vialign.config.signal import SignalConfig
from vialign.contrastive import contrastive_loss
from vialign.disentangle.geometry import GEOMETRY
from vialign.disentangle.types import Phrases, Prototypes
from vialign.methods.curriculum.correct import FeatureCorrection, local_matches, local_scores
from vialign.methods.curriculum.guide import SignalGuide
from vialign.methods.curriculum.head import ContrastiveHead
from vialign.methods.curriculum.padding import by_size, used_prototypes, used_units, without_absent, without_padding
from vialign.methods.curriculum.regularise import ConsistencyRegulariser
from vialign.methods.curriculum.reweight import AmbiguityWeights
from vialign.methods.ground import WordGrounding
from vialign.methods.objective import Batch, Objective, Side, SplitData, select
from vialign.signal.calibration import SignalCalibration
from vialign.signal.drivers import Driver, SignalDriver
from vialign.signal.score import local_similarity, match_entropy, relation_queries

_PRODUCT, _BLOCK = 1 << 22, 1 << 20
"""Numbers that the product of prototypes with phrases may hold, and the largest of what is made of a part of it."""


class CurriculumMethod(Objective):
    """Head, reweighting, regularisation and correction on frozen prototypes and phrases.

    Trainable parameters in D dimensions, with head rank h, adapter rank a and correction rank r: 4 D h for the head,
    4 D a for the regularisation, r (3 D + 22) + 2 D a + 4 for the correction, none for the reweighting. A grounding of
    the captions' words is fitted before the first step and adds no trainable one.
    """

    def __init__(
        self,
        modules: Iterable[str],
        dimension: int,
        logit_scale: float,
        calibration: SignalCalibration,
        curriculum: CurriculumConfig,
        signal: SignalConfig,
        negative_weight: float,
        seed: int,
        guided: bool = False,
        word_width: int = 0,
    ) -> None:
        super().__init__()
        active = set(modules)
        self.name = GUIDED if guided else method_name(active)
        self.logit_scale, self.negative_weight = logit_scale, negative_weight
        self.calibration, self.temperature = calibration, signal.temperature
        self.drive: Driver = SignalDriver(signal.driver, calibration)
        self.head = ContrastiveHead(dimension, curriculum.head_rank, seed)
        self.grounding = None
        if curriculum.grounding.share > 0:
            share, ridge = curriculum.grounding.share, curriculum.grounding.ridge
            self.grounding = WordGrounding(dimension, word_width, share, ridge)
            self.needs = frozenset({"words"})
        self.guide = None
        if guided:
            self.guide = SignalGuide(curriculum.guide_power, curriculum.smoothing, curriculum.guide_range)
        self.reweight = self.regularise = self.correct = None
        if "reweight" in active:
            self.reweight = AmbiguityWeights(
                curriculum.alpha, curriculum.beta, curriculum.smoothing, curriculum.weight_range
            )
        if "regularise" in active:
            self.regularise = ConsistencyRegulariser(
                dimension,
                curriculum.adapter_rank,
                seed,
                consistency_weight=curriculum.consistency,
                transport_weight=curriculum.transport,
                epsilon=curriculum.epsilon,
                iterations=curriculum.transport_iterations,
            )
        if "correct" in active:
            self.correct = FeatureCorrection(
                dimension, curriculum.rank, curriculum.adapter_rank, signal.temperature, seed
            )

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Head output; with correction also what it reads of the prototypes."""
        side = {"pooled": self.head.image(data.image_pooled[index])}
        if self.correct is not None:
            side["owner"] = index[:, None].to(side["pooled"].device)
            prototypes = self.adapted_prototypes(data.prototypes.index(index))
            side |= {"prototypes": prototypes.features, "mass": prototypes.mass, "moments": prototypes.moments}
            side["read"] = self.correct.image_side(prototypes.features)
        return side

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Head output; with correction also the phrases and what they generate."""
        side = {"pooled": self._text(data, index)}
        if self.correct is not None:
            side["owner"] = owners(data, index)[:, None].to(side["pooled"].device)
            phrases = self.adapted_phrases(data.phrases.index(index))
            asked = directions(phrases)
            side |= {"phrases": phrases.features, "weight": phrases.weight, "direction": asked}
            side |= self.correct.text_side(
                phrases.features, phrases.weight, phrases.kind, phrases.subject, phrases.object, asked
            )
        return side

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Scores of all pairs, in blocks of images."""
        if self.correct is None or self._untouched():
            return images["pooled"] @ texts["pooled"].T
        rows, columns = by_size(used_prototypes(images)), by_size(used_units(texts))
        groups = [without_padding(select(texts, chosen)) for chosen in columns]
        parts = [
            torch.cat([self._block(without_absent(select(images, chosen)), group) for group in groups], dim=1)
            for chosen in rows
        ]
        # Back into the order in which they were asked for.
        return torch.cat(parts)[torch.cat(rows).argsort()][:, torch.cat(columns).argsort()]

    def _block(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Corrected scores of all pairs.

        Many prototypes are multiplied with all phrases at once, since large products are fast; then a few images are
        taken at a time, so that what is made of their matches stays in the processor's cache.
        """
        assert self.correct is not None
        _, count, rank = images["read"].shape
        items, units = texts["weight"].shape
        group = self.correct.gathered({name: tensor[None] for name, tensor in texts.items()})
        columns = items * max(1, units)
        many, few = max(1, _PRODUCT // (columns * count)), max(1, _BLOCK // (columns * max(count, rank)))
        found = []
        for start in range(0, len(images["pooled"]), many):
            block = {name: tensor[start : start + many] for name, tensor in images.items()}
            matches = local_matches(block["prototypes"][None], group["phrases"])
            for first in range(0, len(block["pooled"]), few):
                side = {name: tensor[first : first + few][None] for name, tensor in block.items()}
                found.append(self._corrected(side, group, matches[:, first : first + few])[0])
        return torch.cat(found)

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Scores of aligned pairs."""
        if self.correct is None or self._untouched():
            return (images["pooled"] * texts["pooled"]).sum(dim=-1)
        one_text = self.correct.gathered({name: tensor[:, None] for name, tensor in without_padding(texts).items()})
        one_image = {name: tensor[:, None] for name, tensor in images.items()}
        matches = local_matches(one_image["prototypes"], one_text["phrases"])
        return self._corrected(one_image, one_text, matches)[:, 0, 0]

    def _untouched(self) -> bool:
        """Whether the correction is as it starts and changes no score, so that nobody needs to work it out."""
        assert self.correct is not None
        return not torch.is_grad_enabled() and self.correct.changes_nothing()

    def begin(self, data: SplitData) -> None:
        """Fit the grounding, where there is one."""
        if self.grounding is not None:
            assert data.words is not None
            self.grounding.fit(data.words, data.image_pooled, data.captions, data.image_of_text[data.captions])

    def loss(self, data: SplitData, batch: Batch) -> dict[str, Tensor]:
        """Weighted contrastive loss, hard negatives, and the regulariser."""
        images, texts, wrong = self.sides(data, batch)
        scores = self.scores(images, texts)
        weights = regularisation = None
        if self.reweight is not None or self.regularise is not None or self.guide is not None:
            prototypes, phrases = self._aligned(data, batch, images, texts)
            signal = self._signal(images["pooled"], texts["pooled"], prototypes, phrases)
            if self.guide is not None and self.training:
                self.guide.observe(signal)
            if self.reweight is not None:
                entropy = match_entropy(
                    prototypes.features.detach(),
                    phrases.features.detach(),
                    phrases.weight,
                    self.temperature,
                    prototypes.mass,
                )
                weights = self.reweight(signal, entropy)
            if self.regularise is not None:
                regularisation = self.regularise(
                    signal, prototypes.features, prototypes.mass, phrases.features, phrases.weight
                )
        contrastive = contrastive_loss(self.logit_scale * scores, weights)
        negative = self.negative_term(batch, images, scores, wrong)
        return self.total(contrastive, negative, regularisation)

    def consistency(self, data: SplitData, index: Int[Tensor, "text"]) -> Float[Tensor, "text"]:
        """The driving signal of texts with their own images, after head and adapters."""
        image = data.image_of_text[index]
        return self._signal(
            self.head.image(data.image_pooled[image]),
            self._text(data, index),
            self.adapted_prototypes(data.prototypes.index(image)),
            self.adapted_phrases(data.phrases.index(index)),
        )

    def statistics(self) -> dict[str, Tensor]:
        """The smoothed level of ambiguity, where samples are reweighted, that of C, where it guides the rate, and the
        grounding.
        """
        found = {} if self.reweight is None else {"reweight.level": self.reweight.level}
        parts = {"guide": self.guide, "grounding": self.grounding}
        for name, part in parts.items():
            found |= {} if part is None else dict(part.named_buffers(prefix=name))
        return found

    def rate_factor(self) -> float:
        """What C makes of the scheduled learning rate, where it guides it."""
        return 1.0 if self.guide is None else self.guide.factor()

    def adapted_prototypes(self, prototypes: Prototypes) -> Prototypes:
        """Prototypes after the regulariser's adapter, where there is one."""
        if self.regularise is None:
            return prototypes
        return replace(prototypes, features=self.regularise.prototypes(prototypes.features))

    def adapted_phrases(self, phrases: Phrases) -> Phrases:
        """Phrases after the regulariser's adapter, where there is one."""
        if self.regularise is None:
            return phrases
        return replace(phrases, features=self.regularise.phrases(phrases.features))

    def _aligned(self, data: SplitData, batch: Batch, images: Side, texts: Side) -> tuple[Prototypes, Phrases]:
        """Prototypes and phrases of aligned pairs after the adapters; the correction has them on its sides already."""
        if self.correct is None:
            prototypes, phrases = data.prototypes.index(batch.images), data.phrases.index(batch.texts)
            return self.adapted_prototypes(prototypes), self.adapted_phrases(phrases)
        prototypes = Prototypes(images["prototypes"], images["mass"], None, images["moments"])
        kind, assign = data.phrases.kind[batch.texts].to(texts["phrases"].device), None
        arguments = (texts["subject"], texts["object"])
        return prototypes, Phrases(texts["phrases"], texts["weight"], kind, *arguments, assign, texts["direction"])

    def _text(self, data: SplitData, index: Int[Tensor, "text"]) -> Float[Tensor, "text dim"]:
        """Caption embeddings, grounded where that is asked for, after the head."""
        pooled = data.text_pooled[index]
        if self.grounding is not None:
            assert data.words is not None
            pooled = self.grounding(pooled, data.words[index])
        return self.head.text(pooled)

    def _signal(
        self,
        image_pooled: Float[Tensor, "pair dim"],
        text_pooled: Float[Tensor, "pair dim"],
        prototypes: Prototypes,
        phrases: Phrases,
    ) -> Float[Tensor, "pair"]:
        s_global = (image_pooled * text_pooled).sum(dim=-1)
        s_local = local_similarity(
            prototypes.features,
            phrases.features,
            phrases.weight,
            prototypes.mass,
            prototypes.moments,
            relation_queries(phrases),
        )
        return self.drive(s_global, s_local, None)

    def _corrected(
        self, images: Side, texts: Side, matches: Float[Tensor, "group image prototype phrase text"]
    ) -> Float[Tensor, "group image text"]:
        """Corrected scores of every image with every text of its group.

        `texts` are as `FeatureCorrection.gathered` gives them, `matches` the cosines of prototypes and phrases.
        The gate reads the signal without passing a gradient: it may not make the alignments disagree to open itself.
        """
        assert self.correct is not None
        s_global = images["pooled"] @ texts["pooled"].transpose(1, 2)
        s_local = local_scores(matches, images["mass"], images["moments"], texts)
        same = images["owner"] == texts["owner"].transpose(1, 2)
        signal = self.drive(s_global.detach(), s_local.detach(), same)
        support = s_local - self.calibration.s_local.midpoint
        z = self.correct.fusion(matches, images["prototypes"], images["mass"], images["moments"], images["read"], texts)
        return self.correct.corrected(z, images["pooled"], texts, s_global, signal, support)


def owners(data: SplitData, index: Int[Tensor, "text"]) -> Int[Tensor, "text"]:
    """Position of the image that each of these texts is a true caption of; -1 for every other text."""
    captions = torch.zeros(len(data.image_of_text), dtype=torch.bool, device=index.device)
    captions[data.captions] = True
    return torch.where(captions[index], data.image_of_text[index], -1)


def directions(phrases: Phrases) -> Float[Tensor, "text phrase 8"]:
    """What relation phrases ask of the geometry of their arguments; zero where nothing was read."""
    if phrases.direction is not None:
        return phrases.direction
    return phrases.features.new_zeros(*phrases.weight.shape, GEOMETRY)
