"""Configuration of the methods, their training and their budget."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vialign.catalogue import COMPARED
from vialign.config.section import Count, Fraction, Names, NonNegative, Positive, Section, Seeds

Share = Annotated[float, Field(ge=0, le=1)]


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

    @model_validator(mode="after")
    def ranges_rise(self) -> "CurriculumConfig":
        """The first number of a range is not above the second."""
        for name in ("weight_range", "guide_range"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"`{name}` goes from the lower number to the higher, not from {low} to {high}")
        return self


class MonitorConfig(Section):
    """Light checks during the training of methods that carry the signal, and what is said about them."""

    checks: Count = 24
    """Over the whole training; the weights at each are kept as the checkpoint trail."""
    images: Annotated[int, Field(ge=2)] = 80
    """Selection images that a light check looks at, evenly spread, always the same ones: recall on the whole split
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


class SearchConfig(Section):
    """The search for a method's learning rate: the same effort for every trained method, on selection alone."""

    factors: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.3, 1.0, 3.0)
    """Times the method's rate in `training.learning_rates`: the candidates, each trained for `early_steps` with the
    configuration's `seed`. One factor alone leaves nothing to search."""
    widen: Annotated[int, Field(ge=0)] = 2
    """Further candidates, at most, while the best is the smallest or the largest: each as far beyond it as its
    neighbour is on the other side."""


class TrainingConfig(Section):
    """One recipe for every method."""

    methods: Names = ("frozen", "lora", "vialign")
    """What is trained and compared (docs/methods.md); the combination that the ablation chooses joins them."""
    seeds: Seeds = (0, 1, 2, 3, 4)
    """Each method is trained once with each. Fewer than five say little about how far trainings differ."""
    batch: Count = 64
    """Image-caption pairs of a step."""
    early_steps: Count = 60
    """Steps before the early gate; every subset of the modules is trained this far."""
    steps: Count = 240
    """Of the whole training."""
    checks: Count = 4
    """Checks on the whole selection split over the whole training, by which weights are kept."""
    monitor: MonitorConfig = MonitorConfig()
    learning_rates: dict[str, Positive] = {}
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
    weights, rates and combinations too, which then looks at recall alone. LABCLIP, NegCLIP and FSC-CLIP, which hard
    negatives define, are trained with them, weight 1, at 0 too."""
    hardest: Fraction = 0.0
    """Share of the hardest pairs of the batch in that term; the rest are rule-made negatives of the captions."""
    processes: Count = 1
    """Processes that share a batch, started by torchrun; each encodes its part, and all see the whole."""
    nodes: Count = 1
    """Nodes that share a batch, each with so many processes. More than one takes SLURM (profiles/slurm)."""
    keep_seconds: Positive = 20.0
    """Time after which a training under way is written beside its outputs, to go on from there when it is killed."""
    compile: bool = False
    """Compile the loss with `torch.compile`, which costs time before the first step. Sums may round otherwise."""
    search: SearchConfig = SearchConfig()
    lora_rank: Count = 4
    """Rank of LoRA's changes."""
    compare: Names | None = None
    """Methods of `snakemake compare_all`, beside the combination that the ablation chose; null: all but the subsets."""
    compare_seeds: Seeds = (0, 1, 2, 3, 4)
    """Their training seeds."""

    @property
    def compared(self) -> tuple[str, ...]:
        """Methods of the full comparison."""
        return COMPARED if self.compare is None else self.compare


class FscClipConfig(Section):
    """The losses of FSC-CLIP, with the authors' values."""

    whole: NonNegative = 0.5
    """Weight of the loss on embeddings, in `training.negatives`."""
    local: NonNegative = 0.2
    """Weight of the loss on tokens and patches."""
    focus: NonNegative = 2.0
    """Power by which pairs that are told apart already count less; 0 leaves it out."""
    smoothing: Fraction = 0.02
    """Share of the truth that is spread over caption and negative alike."""


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
    fsc_clip: FscClipConfig = FscClipConfig()
    crop_grid: Annotated[int, Field(ge=1, le=7)] = 3
    """Crops a side of the image, each half as wide and high; every crop is one more pass of the image tower."""
    crop_pieces: Annotated[int, Field(ge=1, le=32)] = 8
    """Pieces of a caption that are matched with the crops, at most."""
    crop_share: Fraction = 0.5
    """Share of their matches in the score; the rest is the cosine of image and caption."""
    cache_pairs: Count = 1000
    """Training images that Tip-Adapter keeps, each with the mean of its captions."""
    cache_share: Fraction = 0.2
    """Share of what they say of an image in its embedding."""
    cache_sharpness: Positive = 20.0
    """How fast their weight falls with the distance from the image; 5.5 in the paper, whose classes need less."""
    grounding_share: NonNegative = 0.6
    """Of the grounded words in a caption's embedding, in the rival `grounding`; as `curriculum.grounding.share`."""
    box_weight: NonNegative = 0.5
    """Weight of LoRA's loss on labelled boxes, as `visual.alignment` is in the dictionary."""
    paired_regions: Annotated[int, Field(ge=2)] = 10
    """Regions of an image, the first, whose ordered pairs VinVL with pairs reads: 90 pairs of 10."""
    averaging_shares: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Shares of the tuned weights among which the weight averages choose on selection; the rest are frozen weights."""


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
    reference_batch: Count = 8
    """The same as `batch`, at the size of `reference`. What a batch costs whatever its size, as a call of the
    parser does, weighs more in a smaller one."""
    binds: Literal["reference", "everywhere"] = "reference"
    """Where limits decide the gate. The budget is about ViT-B/32. A demo backbone seventy times smaller spends its time
    in fixed costs of each operation, and the parser of the captions, whose size depends on no backbone, is a quarter of
    it: there everything is measured and shown, but informs only."""
