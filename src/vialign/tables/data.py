"""Tables of the data: images, captions, boxes, relations, test items, and what is wrong with them."""

from vialign.names import NEGATIVES
from vialign.tables.schema import Table, category, key, number, number_key, numbers, text, texts, whole

NEGATIVE_KINDS = NEGATIVES

IMAGES = Table(
    "images",
    image_id=key("name of the image, unique in the data set; never a path"),
    split=text("the one split the image belongs to"),
    path=text("file, relative to the folder of its source"),
    width=whole("pixels of what is seen: of the crop, where there is one", low=1),
    height=whole("pixels of what is seen", low=1),
    source=text("whose folder the path is relative to: `data` (the data set) or the name of a benchmark"),
    crop=numbers("x, y, width and height in pixels of the part of the file that is seen; empty: all of it"),
)


CAPTIONS = Table(
    "captions",
    caption_id=key("`<image_id>#<n>`"),
    image_id=text("the image it describes"),
    text=text("the caption as published"),
    tree=text("gold Penn Treebank brackets, where the data set has them", optional=True),
)


OBJECTS = Table(
    "objects",
    object_id=key("`<image_id>/<n>`"),
    image_id=text("the image it is in"),
    name=text("object class, a noun"),
    x=number("left edge, pixels", low=0),
    y=number("top edge, pixels", low=0),
    width=number("pixels", low=0),
    height=number("pixels", low=0),
    attributes=texts("attributes, such as colour and size"),
)


RELATIONS = Table(
    "relations",
    relation_id=key("`<image_id>/<n>`"),
    image_id=text("the image it holds in"),
    subject_id=text("object that the relation is said of"),
    predicate=text("relation, such as `above`"),
    object_id=text("object that it is said towards"),
)


CHOICES = Table(
    "choices",
    item_id=key("`<benchmark>/<n>`"),
    benchmark=text("winoground, aro_relation, aro_attribution, aro_order, ..."),
    split=text("split of its images"),
    tag=text("class over which macro averages are taken: the predicate, the attribute pair, the tag"),
    images=texts("image ids: one, or two for Winoground"),
    texts=texts("candidate captions; candidate j is true of images[j], every later one is wrong"),
    right=whole(
        "how many of the first texts are true of the first image, where it is not one a image", low=0, optional=True
    ),
)

DEVELOPMENT = "_dev"
"""End of the name of a benchmark whose statements choose the threshold of the one before it, and are not scored."""


QUESTIONS = Table(
    "questions",
    question_id=key("`vqa/<n>`"),
    split=text("split of its image"),
    image_id=text("the image asked about"),
    question=text("the question"),
    kind=category(("relation", "attribute"), "what must be understood to answer"),
    answers=texts("ten answers of people (embedded: of the world)"),
    candidates=texts("candidate answers that are ranked"),
    statements=texts("each candidate as a sentence, ranked by image-text score in the zero-shot form"),
)


RATINGS = Table(
    "ratings",
    image_id=key("rated image"),
    caption_id=key("rated caption, which may belong to another image"),
    source=key("who rated: `crowdflower`, `expert`"),
    judge=number_key("number of the judgement of this pair by this source, from 0"),
    rating=number("one judgement, or the mean of all where only that is published; higher is better"),
)


PROBLEMS = Table(
    "problems",
    file=text("file the problem is in"),
    row=text("line or key"),
    problem=text("what is wrong and what was done"),
)


SHARED = Table(
    "shared",
    source=key(
        "what the photographs were to be read for: the run's own `data`, or a key of the config: `disentangle`, `probe`"
    ),
    split=key("split of the run, or benchmark, that photographs of the source were looked for in"),
    photographs=whole("photographs of that split", low=0),
    named=whole("of these the ones whose number at COCO, Flickr or Visual Genome is known", low=0),
    kept_out=whole("photographs of the source that are in that split, and were therefore kept out", low=0),
)


DATA_CHECK = Table(
    "data_check",
    source=key("data set, benchmark or treebank, as the config names it"),
    counted=key("what was counted"),
    count=whole("how many were found", low=0, optional=True),
    published=whole("how many its authors say there are", low=0, optional=True),
    state=category(("as published", "differs", "counted", "missing"), "what that means"),
)
