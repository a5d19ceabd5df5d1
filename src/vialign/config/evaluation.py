"""Configuration of the evaluation, the analysis and the report."""

from typing import Annotated, Literal

from pydantic import Field

from vialign.config.section import Count, Fraction, Level, Names, NonNegative, Positive, Section


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


class ReproductionConfig(Section):
    """What a backbone that does not reproduce its known numbers means for the run."""

    action: Literal["refuse", "warn"] = "refuse"
    """`refuse` trains nothing on it, `warn` says so and goes on."""


class EvaluationConfig(Section):
    """Benchmarks and statistics."""

    splits: Names = ("test", "test_combination", "test_domain")
    """Test splits; each is read once, by the finished methods. The default are those of Scenes; `test` alone where the
    data set is another."""
    bootstrap: Count = 2000
    """Resamples of the images behind the intervals of failures, gradients, agreement with people and answers without
    images. Compared methods need none: their intervals come from a model of images and seeds."""
    level: Level = 0.05
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
    published: tuple[str, ...] = ()
    """Files with more published values: a row a value (architecture, checkpoint, benchmark, metric, percent), or a row
    a checkpoint and a column a benchmark, as vl_compo's results.csv has them."""
    reproduction: ReproductionConfig = ReproductionConfig()


class AttributionConfig(Section):
    """The method trained again with one part replaced, to see what carries its gain."""

    steps: Count | None = None
    """Of each training; null: `training.early_steps`, at which the costs of replacements stand out as at the end
    (docs/measurements.md)."""
    images: Count = 500
    """Images, with one caption each, that the replacements are measured on, at most."""


class UsesConfig(Section):
    """C put to work in training (`snakemake uses`): noisy captions, curriculum in time, few labelled images."""

    steps: Count | None = None
    """Of each training; null: `training.steps`."""
    images: Count = 500
    """Images, with one caption each, that the trainings are measured on, at most."""
    noise: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.2, 0.4)
    """Shares of the training captions that are made wrong, at random and by their rule-made negatives."""
    checks: Count = 8
    """Looks on the way that the area under a learning curve is the mean of."""
    labels: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 50, 200, 1000)
    """Labelled images that the dictionary is told of, held against all that `visual.images` allows; every training
    seed has a dictionary of its own."""


class FailureConfig(Section):
    """Thresholds by which failed queries are put into classes."""

    missing_quantile: Fraction = 0.05
    """A concept counts as missing when it matches the right image worse than the worst concept of this share of the
    aligned selection captions does."""
    agreement_quantile: Fraction = 0.5
    """A chosen caption is as good when it agrees with the right image's captions at least as well as this share of
    selection captions agree with the other captions of their own image; 0.5 is the typical caption."""
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
    """Gain in R@1 over the frozen backbone that the method promises (docs/method.md#11-what-was-expected)."""
    frontier: str | None = None
    """File of published checkpoints, a row each with columns as vl_compo's results.csv has them: the report then draws
    retrieval against composition, with the run's methods where the benchmarks are the same."""
    frontier_base: str = "ViT-B-32, openai"
    """The row of that file, `architecture, checkpoint`, which its tuned checkpoints started from: here those of
    vl_compo, by their papers."""
    tracking: Literal["none", "trackio", "wandb", "mlflow"] = "none"
    """Where losses and results are also written when the report is made, through that library, which must be installed;
    it decides itself what goes over a network."""
