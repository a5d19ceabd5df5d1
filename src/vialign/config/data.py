"""Configuration of what is read: data, backbone, language and features."""

from typing import Literal

from pydantic import model_validator

from vialign.config.section import Count, Fraction, Names, Positive, Section


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


class SourceConfig(Section):
    """A data set that labels are taken from, beside the one whose captions are trained on."""

    dataset: str
    """A name in `vialign.data.registry`: one with labelled boxes, and, for the probe, with relations."""
    folder: str
    """Where it lies; `${NAME}` and `${NAME:-default}` are read from the environment."""


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
    disentangle: SourceConfig | None = None
    """Whose labelled boxes the dictionary is fitted on, the readout chosen and both measured; null: those of the data
    set itself, where it has any. Photographs that the run reads elsewhere are kept out (docs/data.md)."""
    probe: SourceConfig | None = None
    """Whose labelled relations the probe of phase 1 reads; null: those of the data set itself. Without any the signal
    gate says "not shown"."""
    forms: tuple[str, ...] = ()
    """Further forms of test items that Scenes draws for its split `test`, forty of each: `both_right` (SugarCrepe++),
    `image_choice` (SVO-Probes), `statement` (VSR). None by default; the other forms are always drawn."""
    seen_relations: bool = False
    """Whether every other image of Scenes has a relation that boxes do not decide: things joined by a line, of one
    colour, one that points at another or hides a part of it. The tests ask for them in `seen_roles`, `seen_relation`
    and `seen_object`."""
    order_files: tuple[str, ...] = ()
    """Frozen files of word-order perturbations of the data set's test captions, made by `vialign data order`."""
    strict: bool = False
    """Stop at the first broken row instead of skipping it with a line in the log."""
    tolerance: Fraction = 0.05
    """Share of broken rows of a kind (images, captions, items, ...) that is skipped; more stop the run with reasons."""
    tune_list: str | None = None
    """A file that names, line by line, the only training images to use: those the backbone has not seen."""
    regions: str | None = None
    """Region features for the methods that read them (docs/methods.md): a TSV file of bottom-up attention or VinVL, or
    a folder of npz files. Without it regions are the labelled boxes of the data set."""
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
    """`package` or `package-truthful` (the demo weights shipped with vialign, pretrained on captions whose relations
    are drawn blindly, or hold), a safetensors or pt file, an open_clip tag, or null for random weights (tests and
    budget measurements only). Where it is `backbone/vialign-scenes.safetensors` in `results`, the run trains it first,
    as `pretrain_backbone` does."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where tensors are in the stages that a GPU speeds up (docs/cluster.md); `auto` takes CUDA where there is any,
    else the CPU. A change of it alone runs nothing again."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the towers' matrix products. What is compared, ranked or summed behind the towers is in single
    precision: scores in half precision would tie, and a tie counts as wrong."""
    pretrain_captions: Literal["blind", "true"] = "blind"
    """Whether the relations in the captions of `snakemake pretrain_backbone` are drawn blindly or hold."""
    pretrain_from: str | None = None
    """A checkpoint of the demo model to go on from; null starts from random weights."""
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

    readout: Literal["auto", "final", "value", "self_self", "early", "crops"] = "auto"
    """Which patch tokens are mapped to the joint space; `auto` takes the best by pointing accuracy, given boxes.
    `crops`, parts of the image encoded as images, costs nine more passes of the tower and is taken only if named."""
    readout_images: Count = 400
    """Images with boxes on which `auto` measures."""
    batch: Count = 128
    """Images or texts that a tower sees at a time."""
    shard: Count = 2000
    """Rows of one shard."""
    pixels: Literal["cache", "decode"] = "cache"
    """Where methods that run the image tower have pixels from: kept beside the features, as bytes (3 x side x side an
    image, 18 GB for all of COCO), or decoded from the files again for every batch."""
