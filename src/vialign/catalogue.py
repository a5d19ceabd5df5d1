"""Every method, declared once: what it is called, what it is, what it reads, what it is told and how fast it learns.

Rules, training, the report and the tables of docs/methods.md read this. Nothing here imports torch, because planning a
run must not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations


@dataclass(frozen=True)
class Method:
    """One method as people and rules know it."""

    name: str
    """In the configuration, the files and the tables."""
    module: str
    """Where its `build(config, backbone, seed)` is."""
    title: str
    """What it is called among people."""
    meaning: str
    """What it is, as a sentence after its title."""
    trains: str
    """What is trained, as a cell of docs/methods.md."""
    paper: str = ""
    """Where it comes from."""
    rate: float | None = None
    """Default peak of its learning rate (`training.learning_rates`); none where nothing is trained."""
    sizes: tuple[str, ...] = ()
    """Keys of the configuration that size it."""
    reads: tuple[str, ...] = ("embeddings",)
    """What it reads of a split: `pixels` and `token ids` mean that it runs the backbone's towers in every step, and
    `boxes` those of the training split alone."""
    told: str = ""
    """What it is told beyond images and captions, as the end of a sentence."""
    given: tuple[str, ...] = ()
    """The same as names of `GIVEN`."""


GIVEN = {
    "boxes": "labelled boxes of training images",
    "regions": "labelled boxes of every image, those of the test included",
    "parser": "a parser of captions",
}
"""What a method may be given beyond images and captions. Rule-made negatives are the recipe's: every trained method has
them, or none but those of `BY_NEGATIVES`."""


_TOWERS = ("pixels", "token ids")

BASELINES = {
    method.name: method
    for method in (
        Method(
            "frozen",
            "vialign.methods.baselines.frozen",
            "Frozen",
            "the backbone as loaded; nothing is trained.",
            "nothing; the floor that every method is held against",
        ),
        Method(
            "lora",
            "vialign.methods.baselines.lora",
            "LoRA",
            "low-rank changes of the attention projections of both towers (Hu et al.).",
            "low-rank changes of the attention projections of both towers, through peft",
            "Hu et al. 2021, arXiv:2106.09685",
            1e-3,
            ("training.lora_rank",),
            _TOWERS,
        ),
        Method(
            "adapter",
            "vialign.methods.baselines.adapter",
            "Adapter",
            "bottleneck layers inside the blocks of both towers (Houlsby et al.).",
            "two bottlenecks in every block of both towers, and the blocks' norms",
            "Houlsby et al. 2019, arXiv:1902.00751",
            1e-3,
            ("baselines.adapter_reduction",),
            _TOWERS,
        ),
        Method(
            "clip-adapter",
            "vialign.methods.baselines.clip_adapter",
            "CLIP-Adapter",
            "a residual bottleneck on each tower's embedding (Gao et al.).",
            "a residual bottleneck behind each tower",
            "Gao et al. 2021, arXiv:2110.04544",
            1e-3,
            ("baselines.clip_adapter_reduction", "baselines.clip_adapter_ratio"),
        ),
        Method(
            "bitfit",
            "vialign.methods.baselines.bitfit",
            "BitFit",
            "the biases of both towers and nothing else (Ben-Zaken et al.).",
            "the biases of both towers",
            "Ben-Zaken et al. 2022, arXiv:2106.10199",
            1e-3,
            ("baselines.bitfit_trunk",),
            _TOWERS,
        ),
        Method(
            "prompt",
            "vialign.methods.baselines.prompt",
            "Prompt tuning",
            "learned tokens in every block of both towers (VPT-deep, Jia et al.).",
            "prompt tokens in every block of both towers (VPT-deep)",
            "Jia et al. 2022, arXiv:2203.12119",
            3e-3,
            ("baselines.image_prompts", "baselines.text_prompts"),
            _TOWERS,
        ),
        Method(
            "coop",
            "vialign.methods.baselines.coop",
            "CoOp",
            "learned vectors in front of each caption, for retrieval (Zhou et al.).",
            "context vectors in front of the caption, the retrieval form of CoOp",
            "Zhou et al. 2022, arXiv:2109.01134",
            3e-2,
            ("baselines.context_vectors",),
            ("token ids",),
        ),
        Method(
            "filip",
            "vialign.methods.baselines.filip",
            "FILIP",
            "best matches between single patches and words, beside the embeddings (Yao et al.).",
            "linear maps of stored tokens, scored by token-wise best matches",
            "Yao et al. 2021, arXiv:2111.07783",
            1e-2,
            ("baselines.filip_pooled",),
            ("patches", "token states"),
        ),
        Method(
            "vinvl",
            "vialign.methods.baselines.vinvl",
            "VinVL",
            "words against boxes with object tags, beside the embeddings (Zhang et al.; Oscar, Li et al.).",
            "linear maps of region features, boxes, tags and words to the joint space; words take their best region, "
            "regions their best word",
            "Zhang et al. 2021, arXiv:2101.00529; Li et al. 2020, arXiv:2004.06165",
            3e-4,
            (),
            ("regions", "token states"),
            "boxes with labels of every image, those that it is tested on included",
            ("regions",),
        ),
        Method(
            "vinvl-pairs",
            "vialign.methods.baselines.vinvl_pairs",
            "VinVL with pairs",
            "VinVL that also matches words with pairs of boxes, by how one lies to the other (Hu et al.).",
            "as `vinvl`, and linear maps of pairs of regions with their relative geometry; words also take their best "
            "pair",
            "Zhang et al. 2021, arXiv:2101.00529; Hu et al. 2018, arXiv:1711.11575",
            3e-4,
            ("baselines.paired_regions",),
            ("regions", "token states"),
            "boxes with labels of every image, those that it is tested on included",
            ("regions",),
        ),
        Method(
            "uniter",
            "vialign.methods.baselines.uniter",
            "UNITER",
            "a small transformer over boxes and words, beside the embeddings (Chen et al.).",
            "a small single-stream transformer over regions and words, with word-region transport",
            "Chen et al. 2020, arXiv:1909.11740",
            1e-3,
            ("baselines.uniter_width", "baselines.uniter_layers", "baselines.uniter_transport"),
            ("regions", "token states"),
            "boxes of every image, those that it is tested on included, and one pass for every pair of a gallery",
            ("regions",),
        ),
        Method(
            "labclip",
            "vialign.methods.baselines.labclip",
            "LABCLIP",
            "one linear map of the text embedding (Koishigarina et al.).",
            "one square matrix behind the text tower",
            "Koishigarina et al. 2026, arXiv:2502.03566",
            1e-3,
        ),
        Method(
            "negclip",
            "vialign.methods.baselines.negclip",
            "NegCLIP",
            "all weights of both towers, with hard negatives among the rivals (Yuksekgonul et al.).",
            "all weights of both towers",
            "Yuksekgonul et al. 2023, arXiv:2210.01936",
            3e-5,
            (),
            _TOWERS,
        ),
        Method(
            "fsc-clip",
            "vialign.methods.baselines.fsc_clip",
            "FSC-CLIP",
            "LoRA with local hard negatives and a focal loss with smoothed labels (Oh et al.).",
            "as LoRA; negatives are told apart by tokens and patches too, with a focal, smoothed loss",
            "Oh et al. 2024, arXiv:2410.05210",
            1e-3,
            ("training.lora_rank", "baselines.fsc_clip"),
            _TOWERS,
        ),
        Method(
            "crops",
            "vialign.methods.baselines.crops",
            "Crop matching",
            "encoded crops matched to the phrases of the caption, without training (Miranda et al.).",
            "nothing; pieces of the caption take their best crop",
            "Miranda et al. 2025, arXiv:2506.09691",
            None,
            ("baselines.crop_grid", "baselines.crop_pieces", "baselines.crop_share"),
            _TOWERS,
        ),
        Method(
            "tip-adapter",
            "vialign.methods.baselines.tip_adapter",
            "Tip-Adapter",
            "what is said of similar training images joins the image's embedding, without training (Zhang et al.).",
            "nothing; training pairs are kept, in the retrieval form of Tip-Adapter",
            "Zhang et al. 2022, arXiv:2207.09519",
            None,
            ("baselines.cache_pairs", "baselines.cache_share", "baselines.cache_sharpness"),
        ),
        Method(
            "grounding",
            "vialign.methods.baselines.grounding",
            "Word grounding",
            "what the words of a caption look like in the training images joins its embedding, without training.",
            "nothing; a ridge regression is fitted, as `curriculum.grounding` fits it",
            "Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634",
            None,
            ("baselines.grounding_share", "curriculum.grounding.ridge"),
            ("embeddings", "words"),
        ),
        Method(
            "lora-grounding",
            "vialign.methods.baselines.lora_grounding",
            "LoRA with word grounding",
            "LoRA whose captions also have their grounded words, as the curriculum's methods may have them.",
            "as `lora`; a ridge regression is fitted before, as for `grounding`",
            "Hu et al. 2021, arXiv:2106.09685; Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634",
            1e-3,
            ("training.lora_rank", "baselines.grounding_share", "curriculum.grounding.ridge"),
            (*_TOWERS, "embeddings", "words"),
        ),
        Method(
            "lora-boxes",
            "vialign.methods.baselines.lora_boxes",
            "LoRA with boxes",
            "LoRA that also learns to match labelled boxes of training images with their labels (Zhong et al.).",
            "as `lora`, with a contrastive loss of pooled patches and labels beside the common ones",
            "Hu et al. 2021, arXiv:2106.09685; Zhong et al. 2022, arXiv:2112.09106",
            1e-3,
            ("training.lora_rank", "baselines.box_weight", "visual.images", "visual.labelled"),
            (*_TOWERS, "boxes"),
            "boxes with labels of some training images, the same as the dictionary of vialign",
            ("boxes",),
        ),
    )
}
"""Methods that vialign is compared with, by name."""

FULL = "vialign"
"""The method with all modules of the curriculum; the names of its variants begin with it."""
MODULE_TITLES = {"reweight": "reweighting", "regularise": "regularisation", "correct": "correction"}
"""What the modules of the curriculum are called among people."""
MODULES = tuple(MODULE_TITLES)
"""Modules of the curriculum, each of which can be left out."""
GUIDED = f"{FULL}-guided"
"""All modules, with the learning rate that C guides."""


def method_name(modules: Iterable[str]) -> str:
    """`vialign` with these modules: `vialign`, `vialign-none`, `vialign-reweight`, `vialign-reweight-correct`, ..."""
    chosen = set(modules)
    active = [module for module in MODULES if module in chosen]
    if len(active) == len(MODULES):
        return FULL
    return "-".join([FULL, *(active or ["none"])])


SUBSETS = {method_name(modules): modules for size in range(len(MODULES) + 1) for modules in combinations(MODULES, size)}
"""The subsets of the modules: name to active modules, from none to all."""
REWEIGHTED = method_name(("reweight",))
"""The head alone with the reweighting of pairs."""
CURRICULUM = {**SUBSETS, GUIDED: MODULES}
"""All methods of the curriculum: the subsets, and all modules with a guided learning rate."""


def _curriculum(name: str) -> Method:
    words = [MODULE_TITLES[module] for module in CURRICULUM[name]] or ["none of its modules"]
    listed = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    title, meaning, trains = name, f"the curriculum with {listed}.", listed
    if name == FULL:
        meaning = "the curriculum with all its modules."
    elif name == method_name(()):
        trains = "the plain head: a low-rank residual behind each tower"
    elif name == GUIDED:
        title, trains = f"{FULL}, guided rate", "all three, and C guides the learning rate"
        meaning = "all its modules, with a learning rate that follows mean C (exploratory)."
    told = "boxes with labels of some training images, for its dictionary, where the data set has them"
    reads = ("embeddings", "prototypes", "phrases")
    rate = 3e-3 if name == FULL else None
    module = "vialign.methods.curriculum.method"
    return Method(
        name,
        module,
        title,
        meaning,
        trains,
        rate=rate,
        sizes=("curriculum",),
        reads=reads,
        told=told,
        given=("boxes", "parser"),
    )


def _long(name: str) -> Method:
    known = BASELINES[name]
    return replace(
        known,
        name=f"{name}-long",
        title=f"{known.title}, long",
        meaning=f"{known.title} with as many pairs as {FULL} is shown in its fits and its training together.",
        trains=f"as `{name}`, for more steps",
        rate=None,
    )


LONG = {f"{name}-long": name for name in ("lora", "clip-adapter")}
"""Baselines that are shown as many pairs as the curriculum's methods are, whose dictionary and phrase units see the
training split before; each with the method that it is otherwise, rate and search included."""

METHODS = {
    **BASELINES,
    **{name: _long(base) for name, base in LONG.items()},
    **{name: _curriculum(name) for name in CURRICULUM},
}
"""Every method that a configuration may name."""
LEARNING_RATES = {name: method.rate for name, method in METHODS.items() if method.rate is not None}
"""Default peak of the learning rate of each family of methods."""
UNTRAINED = tuple(name for name, method in BASELINES.items() if method.rate is None)
"""Methods without anything to train: no learning rate, no search, and one seed, since nothing is drawn."""
TOWER_METHODS = tuple(name for name, method in METHODS.items() if "token ids" in method.reads)
"""Methods that run the backbone's towers in every step; all others read its frozen features."""
REGION_METHODS = tuple(name for name, method in METHODS.items() if "regions" in method.reads)
"""Methods that read the regions of the images; the pipeline makes them for these alone."""
BY_NEGATIVES = ("labclip", "negclip", "fsc-clip")
"""Methods that hard negatives define: they have them where `training.negatives` leaves them out for the others."""
BOX_METHODS = tuple(name for name, method in METHODS.items() if "boxes" in method.reads)
"""Methods that are told the labelled boxes of training images themselves, not through the dictionary."""
_CHANGED = "lora adapter bitfit labclip negclip fsc-clip lora-grounding lora-boxes lora-long"
AVERAGED = {f"{name}-wise": name for name in _CHANGED.split()}
"""Averages of tuned and frozen weights (WiSE-FT), each with the method whose trained weights it is made of: of every
baseline that changes weights of the backbone, in their place or by what can be merged into them."""
COMPARED = (*BASELINES, *LONG, *AVERAGED, FULL, GUIDED)
"""Default methods of the full comparison: all that there are but the subsets."""


def trained_as(method: str) -> str:
    """The method whose training gives the weights: itself, but for an average."""
    return AVERAGED.get(method, method)


def family(method: str) -> str:
    """What shares one learning rate, one search and one supervision: the curriculum's methods, an average with the
    method that it averages, and a long training with the usual one; any other is alone.
    """
    name = trained_as(method)
    return FULL if name == FULL or name.startswith(f"{FULL}-") else LONG.get(name, name)


def meaning(method: str) -> tuple[str, str]:
    """Title of a method and what it is; a name that the catalogue does not hold stands for itself."""
    known = METHODS.get(trained_as(method))
    if known and method in AVERAGED:
        return (
            f"{known.title}, averaged",
            f"the tuned weights of {known.name} averaged with the frozen ones (WiSE-FT).",
        )
    return (known.title, known.meaning) if known else (method, "a method of this run.")
