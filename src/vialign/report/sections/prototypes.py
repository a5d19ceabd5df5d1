"""How well the dictionary's maps fit objects and follow the image, beside what any other map would do."""

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from vialign.report.blocks import figure, gallery, paragraph, say
from vialign.report.figures import interval_plot
from vialign.report.numbers import cite, cite_interval

SUBJECTS = ("dictionary", "k-means", "attention", "random atoms", "ceiling")
"""Order of colours."""
MOST_CLASSES = 12


@dataclass(frozen=True)
class Family:
    """Measures that share their first word, and how their drawing is read."""

    word: str
    title: str
    axis: str
    reading: str


FAMILIES = (
    Family(
        "iou",
        "Image prototypes: overlap with objects",
        "IoU of the best map with the object's box",
        "Further right is better; no map on this grid passes the ceiling. The best of an image's maps counts, and each "
        "side has as many as its row of maps in the table says. Rows are the mean and the classes with most objects.",
    ),
    Family(
        "stability",
        "Image prototypes: stability",
        "IoU of a map with itself in the moved image",
        "At the right end a map follows the image exactly; flips and shifts were fitted on, the crop was not.",
    ),
    Family(
        "label",
        "Image prototypes: labels",
        "share of objects",
        "Accuracy: the object's prototype is nearest to its own label among all labels. Pointing: the prototype "
        "nearest to the label has its peak inside the box.",
    ),
)


def prototype_blocks(frame: pd.DataFrame, path: str) -> list[Markup]:
    """The comparison in words, and one drawing a family of measures that was taken."""
    measure = frame["measure"]
    mean = {str(row["subject"]): row for _, row in frame[measure == "iou mean"].iterrows()}
    blocks = [paragraph("Without boxes nothing is known of how well prototypes fit objects.")]
    if "dictionary" in mean:
        blocks = [_comparison(mean)]
        if "attention" not in mean:
            blocks.append(
                paragraph("The image tower has no pooled token that attends to patches: that reference is left out.")
            )
    drawings = []
    for family in FAMILIES:
        part = frame[measure.str.startswith(f"{family.word} ") & frame["low"].notna()]
        if not part.empty:
            drawings.append(_drawing(part, family, path))
    return [*blocks, gallery(drawings)] if drawings else blocks


def _comparison(mean: dict[str, pd.Series]) -> Markup:
    others = [name for name in SUBJECTS[1:] if name in mean]
    parts = [say("{} for {}", cite(mean[name], "value", "fraction"), _named(name)) for name in others]
    sentence = "The best of an image's prototypes overlaps an object's box by {} (IoU), against {}."
    found = cite_interval(mean["dictionary"], "value", "fraction")
    return paragraph(sentence, found, Markup(", ").join(parts))


def _named(subject: str) -> str:
    words = {
        "k-means": "clusters of patches",
        "attention": "the tower's own attention",
        "ceiling": "the best map that this grid allows",
    }
    return words.get(subject, subject)


def _drawing(part: pd.DataFrame, family: Family, path: str) -> Markup:
    """Measures as rows, the classes with most objects first after the mean, subjects as colours."""
    part = part.assign(
        label=part["measure"].str.removeprefix(family.word).str.removesuffix(" iou").str.strip(),
        order=part["subject"].map({name: place for place, name in enumerate(SUBJECTS)}),
    )
    named = part["label"] != "mean"
    classes = part[named].groupby("label", sort=False)["count"].max().sort_values(ascending=False, kind="stable")
    kept = ["mean", *classes.index[:MOST_CLASSES]]
    part = part[part["label"].isin(kept)].sort_values("order", kind="stable")
    place = {label: number for number, label in enumerate(kept)}
    part = part.sort_values("label", key=lambda labels: labels.map(place), kind="stable")
    several = part["subject"].nunique() > 1
    svg = interval_plot(
        part,
        name=f"prototypes-{family.word}",
        title=family.title,
        row="label",
        value="value",
        series="subject" if several else None,
        order=SUBJECTS if several else (),
        axis=family.axis,
    )
    return figure(svg, title=family.title, reading=family.reading, sources=[path])
