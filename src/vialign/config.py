"""The typed configuration: every default lives here once, every unknown key is an error.

`config.yaml` and the overlays in `configs/` state the science of an experiment; this module checks them, fills in
the defaults and gives each stage its own small section. `python -m vialign.config` prints the JSON schema.
"""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vialign.errors import UserError
from vialign.names import DATASETS, tested_splits
from vialign.text_files import read_yaml

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Percent = Annotated[float, Field(gt=0, le=100)]
NonNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


class Section(BaseModel):
    """A part of the configuration; frozen, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class BenchmarkConfig(Section):
    """A test benchmark with images of its own, read beside the data set; its items form a test split of their own."""

    folder: str
    """Where its files lie; `${NAME}` and `${NAME:-default}` are read from the environment."""
    images: str | None = None
    """Where the images that it names lie, when not in its folder."""
    items: Count | None = None
    """At most so many items, drawn by seed; all of them when not given."""
    regions: str | None = None
    """Region features of its images, as `data.regions`."""
    strict: bool = False
    """Stop at the first broken row instead of skipping it with a line in the log."""
    tolerance: Fraction = 0.05
    """Share of broken rows of a kind (images, captions, items, ...) that is skipped; more stop the run with reasons."""


class DataConfig(Section):
    """Which images, captions and labels the run uses, and how many of each split."""

    dataset: str = "scenes"
    """A name in `vialign.data.registry`."""
    folder: str | None = None
    """Where a real data set lies; `${NAME}` and `${NAME:-default}` are read from the environment."""
    sizes: dict[str, Count] = {}
    """Images a split; a split that is not named keeps the data set's own size."""
    benchmarks: dict[str, BenchmarkConfig] = {}
    """Test benchmarks by their name in `vialign.data.registry`."""
    order_files: tuple[str, ...] = ()
    """Frozen files of word-order perturbations of the data set's test captions, made by `vialign data order`."""
    strict: bool = False
    """Stop at the first broken row instead of skipping it with a line in the log."""
    tolerance: Fraction = 0.05
    """Share of broken rows of a kind (images, captions, items, ...) that is skipped; more stop the run with reasons."""
    tune_list: str | None = None
    """A file that names, line by line, the only training images to use: those the backbone has not seen."""
    regions: str | None = None
    """Region features for the methods that need them (`REGION_METHODS`): a TSV file of bottom-up attention or VinVL, or
    a folder of npz files (`vialign.data.regions`). Without it regions are the labelled boxes of the data set."""
    region_width: Count = 2048
    """Numbers of a region's feature in that file: 2048 in bottom-up attention, 2054 in VinVL."""
    region_limit: Count = 36
    """Regions kept of an image: the first ones of the file, or the largest of its labelled boxes."""

    @model_validator(mode="after")
    def regions_of_all(self) -> "DataConfig":
        """Features of one detector cannot stand beside labelled boxes."""
        if self.regions is None and any(benchmark.regions for benchmark in self.benchmarks.values()):
            raise ValueError("a benchmark has `regions`, so data.regions must be set too")
        return self


class BackboneConfig(Section):
    """The frozen dual encoder."""

    architecture: str = "vialign-scenes"
    """An open_clip model name, or `blip`."""
    definition: str | None = None
    """An open_clip model JSON to register under that name; none for the models open_clip and vialign ship. For `blip`
    the folder with its config.json and tokenizer.json."""
    tokenizer: str | None = None
    """A tokenizer.json, or a folder with one, for an architecture that would download it (SigLIP); none otherwise."""
    checkpoint: str | None = "package"
    """`package` (the demo weights shipped with vialign), a safetensors or pt file, an open_clip tag, or null for
    random weights (tests and budget measurements only)."""
    pretrain_steps: Count = 2800
    """Steps of `snakemake pretrain_backbone`; the default run never trains the backbone."""
    pretrain_learning_rate: Positive = 2e-3
    """Of that training, at its peak."""
    pretrain_images: Count = 40000
    """Images of the pretraining split, drawn on the fly."""


class TreebankConfig(Section):
    """A treebank as a domain of the study of phrase units."""

    treebank: Literal["ptb", "ud"]
    """Its format: Penn Treebank brackets or Universal Dependencies."""
    folder: str
    """Where it lies."""


class LanguageConfig(Section):
    """The spaCy tagger and parser, trained from a treebank by the pipeline."""

    treebank: Literal["scenes", "ptb", "ud"] = "scenes"
    """`scenes` (drawn captions with their own trees), `ptb` (Penn Treebank) or `ud` (Universal Dependencies)."""
    folder: str | None = None
    """Where a real treebank lies."""
    sentences: Count = 2000
    """Training sentences."""
    epochs: Count = 3
    """Passes over them."""
    negatives: Names = ("swap_roles", "swap_attributes", "replace_relation", "shuffle")
    """Kinds of rule-made hard negatives (`vialign.language.negatives`)."""
    domains: dict[str, TreebankConfig] = {}
    """Named treebanks on which, beside drawn captions, phrase units are studied across domains; none: no study."""
    domain_sentences: Count = 2500
    """Training sentences of each domain of that study."""
    domain_texts: Count = 400
    """Sentences of each domain that the gate is fitted on, and again so many held-out ones."""


class FeaturesConfig(Section):
    """Extraction of frozen embeddings."""

    readout: Literal["auto", "final", "value", "self_self", "early"] = "auto"
    """Which patch tokens are mapped to the joint space; `auto` takes the best by pointing accuracy, given boxes."""
    readout_images: Count = 400
    """Images with boxes on which `auto` measures."""
    batch: Count = 128
    """Images or texts that a tower sees at a time."""
    shard: Count = 2000
    """Rows of one shard."""


class VisualConfig(Section):
    """The purity-guided dictionary and its adaptive pooling."""

    atoms: Count = 40
    """Concepts in the dictionary."""
    prototypes: Count = 8
    """K, prototypes kept an image."""
    steps: Count = 400
    """Of the fit."""
    batch: Count = 128
    """Images of a step."""
    learning_rate: Positive = 1e-2
    """Of the fit."""
    background: Annotated[int, Field(ge=0)] = 8
    """Further atoms that take up what no prototype is made of."""
    adapter_rank: Count = 20
    """Of the residual map from pooled patches to prototypes."""
    images: Count = 2000
    """Images that the fit and its measurement see, each; they are also encoded flipped and shifted."""
    temperature: Positive = 0.05
    """Of the softmax over the cosines of a patch with the atoms; chosen on training images left out of the fit."""
    reconstruction: NonNegative = 1.0
    """Weight of what the parts leave unexplained of the patches."""
    sparsity: NonNegative = 0.1
    """Weight against patches that are shared by many atoms."""
    usage: NonNegative = 0.5
    """Weight against dead atoms."""
    purity: NonNegative = 1.0
    """Weight of activation inside boxes, and of boxes filled by activation; both need labelled boxes."""
    alignment: NonNegative = 0.5
    """Weight of prototypes that match the text embedding of their label, and captions where those are given."""
    stability: NonNegative = 0.5
    """Weight against maps that do not follow an image which is flipped or shifted."""

    @model_validator(mode="after")
    def enough_atoms(self) -> "VisualConfig":
        """An image cannot keep more prototypes than there are atoms."""
        if self.prototypes > self.atoms:
            raise ValueError("visual.prototypes must not exceed visual.atoms")
        return self


class TextConfig(Section):
    """The dual-path phrase units."""

    units: Count = 8
    """M, units kept a caption."""
    width: Annotated[int, Field(ge=2, multiple_of=2)] = 24
    """Of the token transformer; two attention heads."""
    adapter_rank: Count = 12
    """Of the residual map from pooled token states to phrase units."""
    texts: Count = 20000
    """Captions held in memory while fitting."""
    label_smoothing: Fraction = 0.1
    """Of the parser's structure, as target and as the fallback path's distribution."""
    token_dropout: Fraction = 0.1
    """Share of token states blanked while fitting."""
    noise: NonNegative = 0.1
    """Standard deviation of the noise on token states while fitting, in their own standard deviations."""
    kind: NonNegative = 1.0
    """Weight of the main path's loss on the kinds of tokens."""
    begin: NonNegative = 1.0
    """Weight of its loss on where units begin."""
    subject: NonNegative = 1.0
    """Weight of its loss on the subjects of attributes and relations."""
    object: NonNegative = 1.0
    """Weight of its loss on the objects of relations."""
    alignment: NonNegative = 1.0
    """Weight of the local contrastive loss between phrases and prototypes."""
    relation: NonNegative = 1.0
    """Weight of the loss by which relation phrases learn what they ask of the geometry of their arguments."""
    steps: Count = 600
    """Of the fit."""
    batch: Count = 128
    """Captions of a step."""
    learning_rate: Positive = 1e-2
    """Of the fit."""
    typos: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (0.0, 0.05, 0.1, 0.2)
    """Shares of words with a typo at which all paths are measured; the captions that the fit reads typed draw one."""
    typed_texts: Count = 1500
    """Training captions that the fit also sees with typos."""
    typed_share: Fraction = 0.5
    """Share of them among the captions that a step draws from."""
    gate_texts: Count = 400
    """Training captions that only the gate is fitted on, with typos."""
    measured_texts: Count = 300
    """Validation captions with gold units that are read at every share of typos."""
    confidence: Fraction = 0.8
    """Main-path confidence at which both paths weigh the same, until the gate is fitted."""
    trust: Fraction = 0.8
    """Main-path confidence in a caption's least sure token from which on the parser is not asked."""


class SignalConfig(Section):
    """Consistency, its calibration, and the tests it must pass before use."""

    driver: Literal["consistency", "consistency_raw", "agreement"] = "consistency"
    """The signal that the gate judges and that drives the modules. `agreement` is the product of both calibrated
    similarities: unlike C it is low where both similarities are low."""
    temperature: Positive = 0.05
    """Of the local match distribution."""
    pairs: Count = 1500
    """Image-caption pairs a kind, in the calibration and in the diagnosis."""
    permutations: Count = 2000
    """Of the permutation tests."""
    bootstrap: Count = 2000
    """Resamples of the images behind every interval."""
    probe_relations: Count = 400
    """Labelled relations of the probe, at most one an image."""
    probe_predicates: Annotated[int, Field(ge=2)] = 8
    """Predicates of the probe's vocabulary, the most frequent ones."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Cross-validation folds of the probe, by image."""
    regularisation: Positive = 1.0
    """Inverse strength C of the probe's logistic regression."""
    stress_images: Count = 100
    """Diagnosis images that the stress test encodes again under every corruption and attack."""
    severities: Annotated[tuple[Annotated[int, Field(ge=1, le=5)], ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    """Of the corruptions."""
    epsilons: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 2.0, 4.0, 8.0)
    """Largest change of a pixel by an attack, in 1/255."""
    attack_steps: Count = 4
    """Of projected gradient descent."""
    attack_restarts: Count = 2
    """Random starts of projected gradient descent, of which each image keeps the strongest."""
    stress_typos: Annotated[tuple[Percent, ...], Field(min_length=1)] = (5.0, 10.0, 20.0)
    """Percent of words with a typo."""
    stress_word_order: Annotated[tuple[Percent, ...], Field(min_length=1)] = (20.0, 50.0, 100.0)
    """Percent of words that change places."""
    stress_substitutions: Count = 3
    """Words of a wrong caption that are replaced by adversarial ones, at most."""
    shuffle_prototypes: bool = False
    """Negative control: gives every image the prototypes of another, so that the gate must stop the run."""


class GroundingConfig(Section):
    """Word grounding: a ridge regression from a caption's words to its image, fitted before the first step."""

    share: NonNegative = 0.0
    """Of the grounded words in a caption's embedding, beside 1 of the tower's own; 0 leaves the grounding out. It
    stores (2 S - D) (D + 2) numbers, S the width of a token state, which count as extra parameters."""
    ridge: Positive = 0.03
    """Penalty of the regression on standardised words, in mean squared errors of a caption."""


class CurriculumConfig(Section):
    """The three removable modules, and the head that all of them share."""

    rank: Count = 32
    """Of the feature correction, at most: it is sized down until the full model obeys `budget.parameters`."""
    head_rank: Count = 8
    """Of the residual on each tower's output."""
    grounding: GroundingConfig = GroundingConfig()
    adapter_rank: Count = 6
    """Of the residuals on prototypes and phrases (regularisation) and on the attention queries (correction)."""
    alpha: NonNegative = 1.0
    """α, weight of 1 - C in the ambiguity of a pair (reweighting)."""
    beta: NonNegative = 1.0
    """β, weight of the match entropy in it."""
    smoothing: Fraction = 0.9
    """How much of the usual level of ambiguity stays from one step to the next."""
    weight_range: tuple[Positive, Positive] = (0.25, 4.0)
    """Lowest and highest weight of a pair, before weights are scaled to mean 1."""
    consistency: NonNegative = 0.1
    """Weight of MSE(C, 1)."""
    transport: NonNegative = 0.1
    """λ, weight of the optimal transport term inside the regulariser."""
    epsilon: Positive = 0.1
    """Entropic regularisation of the transport."""
    transport_iterations: Count = 10
    """Of Sinkhorn's algorithm."""
    guide_power: NonNegative = 4.0
    """Of `vialign-guided`: the rate follows mean C, relative to that of the first batch, to this power."""
    guide_range: tuple[Positive, Positive] = (0.5, 2.0)
    """Least and greatest factor of that."""


class MonitorConfig(Section):
    """Light checks during the training of methods that carry the signal, and what is said about them."""

    checks: Count = 24
    """Over the whole training; the weights at each are kept as the checkpoint trail."""
    images: Annotated[int, Field(ge=2)] = 80
    """Validation images that a light check looks at, evenly spread, always the same ones: recall on the whole split
    would cost more than the training."""
    window: Annotated[int, Field(ge=5)] = 10
    """Checks that one rank correlation sees, at most."""
    minimum: Annotated[int, Field(ge=5)] = 6
    """Checks below which no correlation is given."""
    shuffles: Count = 1000
    """Random orders from which the band is made."""

    @model_validator(mode="after")
    def reachable(self) -> "MonitorConfig":
        """A window must be able to hold the checks that a correlation needs."""
        if self.minimum > self.window:
            raise ValueError("training.monitor.minimum must not exceed training.monitor.window")
        return self


LEARNING_RATES = {
    "lora": 1e-3,
    "adapter": 1e-3,
    "clip-adapter": 1e-3,
    "bitfit": 1e-3,
    "prompt": 3e-3,
    "coop": 3e-2,
    "filip": 1e-2,
    "vinvl": 3e-4,
    "uniter": 1e-3,
    "vialign": 3e-3,
}
"""Default peak of each method's learning rate."""
TOWER_METHODS = ("lora", "adapter", "bitfit", "prompt", "coop")
"""Methods that run the backbone's towers in every step; all others read its frozen features."""
REGION_METHODS = ("vinvl", "uniter")
"""Methods that read the regions of the images; the pipeline makes them for these alone."""
CURRICULUM = "vialign"
"""The method with all modules of the curriculum; the names of its variants begin with it."""


def family(method: str) -> str:
    """What shares one learning rate, one search and one supervision: the curriculum's methods; any other is alone."""
    return CURRICULUM if method == CURRICULUM or method.startswith(f"{CURRICULUM}-") else method


COMPARED = ("frozen", *(name for name in LEARNING_RATES), "vialign-guided")
"""Default methods of the full comparison: all that there are but the subsets."""


class SearchConfig(Section):
    """The search for a method's learning rate: the same effort for every trained method, on validation alone."""

    factors: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.3, 1.0, 3.0)
    """Times the method's rate in `training.learning_rates`: the candidates, each trained for `early_steps` with the
    first of `training.seeds`. One factor alone leaves nothing to search."""


class TrainingConfig(Section):
    """One recipe for every method."""

    methods: Names = ("frozen", "lora", "vialign")
    """What is trained and compared (docs/methods.md); the combination that the ablation chooses joins them."""
    seeds: Seeds = (0, 1)
    """Each method is trained once with each."""
    batch: Count = 64
    """Image-caption pairs of a step."""
    early_steps: Count = 60
    """Steps before the early gate; every subset of the modules is trained this far."""
    steps: Count = 240
    """Of the whole training."""
    checks: Count = 4
    """Checks on the whole validation split over the whole training, by which weights are kept."""
    monitor: MonitorConfig = MonitorConfig()
    learning_rates: dict[str, Positive] = LEARNING_RATES
    """Peak of each method, around which `search` looks; `vialign` stands for all its subsets. A method that is not
    named keeps its default."""
    weight_decay: NonNegative = 0.01
    """Of matrices; vectors and numbers have none."""
    warmup: Fraction = 0.1
    """Share of the steps in which the learning rate rises to its peak; then it falls as a cosine."""
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    negatives: NonNegative = 1.0
    """Weight of the hard-negative term, the same for every trained method; 0 leaves negatives out of the choice of
    weights, rates and combinations too, which then looks at recall alone."""
    hardest: Fraction = 0.0
    """Share of the hardest pairs of the batch in that term; the rest are rule-made negatives of the captions."""
    processes: Count = 1
    """Processes that share a batch, started by torchrun; each encodes its part, and all see the whole."""
    keep_seconds: Positive = 20.0
    """Time after which a training under way is written beside its outputs, to go on from there when it is killed."""
    search: SearchConfig = SearchConfig()
    lora_rank: Count = 4
    """Rank of LoRA's changes."""
    compare: Names = COMPARED
    """Methods of `snakemake compare_all`, beside the combination that the ablation chose."""
    compare_seeds: Seeds = (0, 1, 2)
    """Their training seeds."""

    @field_validator("learning_rates")
    @classmethod
    def with_defaults(cls, given: dict[str, float]) -> dict[str, float]:
        """The given rates over the default ones."""
        return {**LEARNING_RATES, **given}


class BaselinesConfig(Section):
    """Sizes of the baselines, from their papers."""

    adapter_reduction: Count = 12
    """Width of a tower over that of its adapters' bottlenecks; 12 is the published 64 of 768."""
    clip_adapter_reduction: Count = 4
    """Dimensions of the joint space over those of CLIP-Adapter's bottlenecks."""
    clip_adapter_ratio: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of CLIP-Adapter's output in the embedding."""
    bitfit_trunk: bool = True
    """BitFit also trains the biases of a convolutional image trunk, from pixels and through all of it."""
    image_prompts: Count = 5
    """Prompts of each block of the image tower."""
    text_prompts: Count = 4
    """Prompts of each block of the text tower."""
    context_vectors: Count = 4
    """CoOp's vectors in front of a caption; they take as many places of the text tower's context."""
    filip_pooled: Fraction = 0.5
    """Share of the pooled cosine in FILIP's score. The paper has none, because it trains the towers for single tokens;
    those of a frozen tower alone stay far below its pooled cosine."""
    uniter_width: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Width of UNITER's cross-encoder, which has two attention heads; 768 with twelve in the paper."""
    uniter_layers: Count = 2
    """Its layers; 12 in the paper."""
    uniter_transport: NonNegative = 0.1
    """Weight of its word-region alignment, as in the authors' code."""


class BudgetConfig(Section):
    """The efficiency budget."""

    parameters: Positive = 0.02
    """Extra parameters over those of the backbone must stay below it."""
    inference: Positive = 0.10
    """Extra time of scoring a batch of pairs over the backbone's must stay below it."""
    training: Positive = 0.10
    """Extra time of a step over that of the same loop without the modules must stay below it."""
    strict: bool = False
    """Stop where a limit is undecided too; otherwise only a broken one stops."""
    rounds: Count = 50
    """Rounds of every timing, a fixed number: looking until the answer fits would make it fit. With fewer than 50 times
    are measured, but decide nothing."""
    batch: Count = 16
    """Pairs of a timed batch."""
    reference: str = "ViT-B-32"
    """The architecture at whose size the ledger is measured too, with random weights."""
    reference_batch: Count = 4
    """The same as `batch`, at the size of `reference`."""
    binds: Literal["reference", "everywhere"] = "reference"
    """Where limits decide the gate. The budget is about ViT-B/32. A demo backbone seventy times smaller spends its time
    in fixed costs of each operation, and the parser of the captions, whose size depends on no backbone, is a quarter of
    it: there everything is measured and shown, but informs only."""


class GateConfig(Section):
    """What happens when a gate finds its evidence missing."""

    action: Literal["stop", "warn"] = "stop"
    """`stop` ends the run with a design review, `warn` lets it go on."""


class SignalGateConfig(GateConfig):
    """Thresholds of the signal gate."""

    minimum_auc: Fraction = 0.5
    """The lower end of the AUC's interval on at least one kind of hard negative must be above it: 0.5 is chance."""
    minimum_gain: float = 0.0
    """The lower end of the probe's gain beyond S_global must be above it: the signal must add something."""
    beyond_text: float = 0.0
    """The lower end of AUC less the blind baseline's, on that kind, must be above it: what a classifier that sees no
    image can tell is no evidence of alignment."""
    blind_spot: Fraction = 0.05
    """Share of random pairs that may look as consistent as the median aligned pair while both similarities are low;
    it informs only. One in twenty is what a test at the usual level lets pass by chance."""
    level: Fraction = 0.05
    """Family-wise error of the tests (Holm)."""


class EarlyGateConfig(GateConfig):
    """What the early gate makes of a warning."""

    warning: Literal["inform", "stop"] = "inform"
    """Whether an early warning (C and the validation metric move apart) counts as missing evidence. It informs only by
    default: two curves that both drift through a training look related even where they are not."""


class GatesConfig(Section):
    """The three stop-loss gates."""

    signal: SignalGateConfig = SignalGateConfig()
    budget: GateConfig = GateConfig()
    early: EarlyGateConfig = EarlyGateConfig()


class ExpectedValue(Section):
    """A value that the frozen backbone must reproduce before its data counts."""

    benchmark: str
    """As in the results, such as `test/image_to_text`."""
    metric: str
    """As in the results, such as `r1`."""
    percent: Annotated[float, Field(ge=0, le=100)]
    """What it must be."""
    tolerance: Positive = 0.3
    """Percentage points."""
    source: str
    """Where the value stands."""


class CalibrationConfig(Section):
    """What a backbone that does not reproduce its known numbers means for the run."""

    action: Literal["refuse", "warn"] = "refuse"
    """`refuse` trains nothing on it, `warn` says so and goes on."""


class EvaluationConfig(Section):
    """Benchmarks and statistics."""

    splits: Names = ("test", "test_combination", "test_domain")
    """Test splits; each is read once, by the finished methods. The default are those of Scenes; `test` alone where the
    data set is another."""
    bootstrap: Count = 2000
    """Resamples of the images behind every interval."""
    level: Fraction = 0.05
    """1 minus the coverage of intervals, and the error of tests."""
    gallery_batch: Count = 256
    """Images of one block of a gallery's scores."""
    rerank: Count | None = None
    """Candidates of a retrieval query that are scored exactly, the best by the frozen cosine; none: all of them."""
    rerank_check: Count = 200
    """Queries a direction on which re-ranking is held against the exact ranking."""
    blind_margin: Fraction = 0.1
    """How far above chance, with the whole interval, a classifier that sees no image must answer a benchmark for it to
    count as solved without images. A few points are common, for hardly any set of wrong captions is free of traces;
    ten points are more than the methods of a table commonly differ by, so a rise may come from the words alone."""
    expected: tuple[ExpectedValue, ...] = ()
    """Values that the frozen backbone must reproduce, beside the published ones that ship with the package."""
    calibration: CalibrationConfig = CalibrationConfig()


class FailureConfig(Section):
    """Thresholds by which failed queries are put into classes."""

    missing_quantile: Fraction = 0.05
    """A concept counts as missing when it matches the right image worse than the worst concept of this share of the
    aligned validation captions does."""
    agreement_quantile: Fraction = 0.5
    """A chosen caption is as good when it agrees with the right image's captions at least as well as this share of
    validation captions agree with the other captions of their own image; 0.5 is the typical caption."""
    margin: NonNegative = 0.02
    """Cosine by which a rival's local similarity may lie under that of the truth and still match the same concepts."""
    human_answers: Fraction = 0.5
    """A chosen answer to a question of VQA is as good when its soft accuracy among people's answers is at least this:
    0.6 is what two of ten people give, 0.3 what one gives."""


class GradientConfig(Section):
    """The gradient analysis of the checkpoint trail."""

    points: Annotated[int, Field(ge=2)] = 7
    """Checkpoints of the trail at which the terms of the loss are compared."""
    batches: Annotated[int, Field(ge=2)] = 6
    """Training batches, the same at every checkpoint, each with gradients of its own."""
    batch: Annotated[int, Field(ge=2)] = 32
    """Pairs of such a batch."""
    moments: Annotated[int, Field(ge=1)] = 2
    """Checkpoints, of those `points`, at which every sample's own gradient is computed."""
    bins: Annotated[int, Field(ge=2)] = 5
    """Groups of C with equally many samples."""


class ReportConfig(Section):
    """What the report shows."""

    examples: Count = 24
    """Failures shown with their images, over all methods, classes and benchmarks."""
    challenge: Fraction = 0.035
    """Gain in R@1 over the frozen backbone that the method promises (method.md, section 10)."""


class Config(Section):
    """One experiment."""

    name: Name = "scenes"
    """Of the experiment, in a word."""
    title: str = "Scenes, the embedded world"
    """Of the report."""
    results: Name = "results"
    """Folder that everything is written to."""
    seed: int = 0
    """From which every random draw of the run follows."""
    data: DataConfig = DataConfig()
    backbone: BackboneConfig = BackboneConfig()
    language: LanguageConfig = LanguageConfig()
    features: FeaturesConfig = FeaturesConfig()
    visual: VisualConfig = VisualConfig()
    text: TextConfig = TextConfig()
    signal: SignalConfig = SignalConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    training: TrainingConfig = TrainingConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    budget: BudgetConfig = BudgetConfig()
    gates: GatesConfig = GatesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    analysis: FailureConfig = FailureConfig()
    gradients: GradientConfig = GradientConfig()
    report: ReportConfig = ReportConfig()

    @property
    def test_splits(self) -> tuple[str, ...]:
        """Every split that finished methods are evaluated on: those of the data set, then the benchmarks' own."""
        return (*self.evaluation.splits, *self.data.benchmarks)

    @model_validator(mode="after")
    def early_before_end(self) -> "Config":
        """The early check must lie inside the training."""
        if self.training.early_steps > self.training.steps:
            raise ValueError("training.early_steps must not exceed training.steps")
        return self


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def expand_variables(text: str) -> str:
    """Replace `${NAME}` and `${NAME:-default}` from the environment.

    Raises UserError when a variable without default is not set.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if name in os.environ:
            return os.environ[name]
        if default is None:
            raise UserError(f"config: environment variable {name} is not set; set it to the folder it stands for")
        return default

    return _VARIABLE.sub(value, text)


def _expand(node: Any) -> Any:
    if isinstance(node, str):
        return expand_variables(node)
    if isinstance(node, Mapping):
        return {key: _expand(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_expand(value) for value in node]
    return node


def load_config(mapping: Mapping[str, Any]) -> Config:
    """Check a configuration mapping and fill in the defaults.

    Raises UserError with one line a wrong key or name: its dotted path, what is wrong with it and what there is.
    """
    from vialign.config_checks import problems

    try:
        config = _own_splits(Config.model_validate(_expand(mapping)))
    except RecursionError:
        raise UserError("config: a section holds itself through a YAML alias (`*name`); write it out") from None
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                lines.append(f"config: unknown key `{key}`; {_meant(problem['loc'])}remove it or check its spelling")
            else:
                lines.append(f"config: `{key or 'config'}`: {problem['msg']} (got {problem['input']!r})"[:300])
        raise UserError("\n".join(lines)) from None
    wrong = problems(config)
    if wrong:
        raise UserError("\n".join(wrong))
    return config


def _meant(place: tuple[int | str, ...]) -> str:
    """The nearest key of the section in which an unknown one stands."""
    section: Any = Config
    for part in place[:-1]:
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field is not None else None
    close = difflib.get_close_matches(str(place[-1]), getattr(section, "model_fields", {}), n=1, cutoff=0.7)
    return f"did you mean `{close[0]}`? " if close else ""


def _own_splits(config: Config) -> Config:
    """With the test splits of its own data set, where none are given."""
    if "splits" in config.evaluation.model_fields_set or config.data.dataset not in DATASETS:
        return config
    splits = {"splits": tested_splits(config.data.dataset)}
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update=splits)})


def read_config(*paths: str | Path) -> Config:
    """Read YAML files, later ones over earlier ones, key by key; the result is checked."""
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _merge(merged, read_layer(path))
    return load_config(merged)


def read_layer(path: str | Path) -> dict[str, Any]:
    """One YAML file as it stands. Raises UserError where it is none, or a key stands twice in it."""
    found = read_yaml(path)
    layer = {} if found is None else found
    if not isinstance(layer, dict):
        raise UserError(f"config: {path}: the top level must be a mapping of sections")
    return layer


def _merge(base: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def digest(config: BaseModel) -> str:
    """sha256 of a configuration or one of its sections, independent of key order."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    print(json.dumps(Config.model_json_schema(), indent=2))
