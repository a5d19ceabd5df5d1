"""What went in: data, backbone, and how well image and caption come apart into parts."""

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.names import EMBEDDED_SPLITS
from vialign.report.blocks import Section, absent, figure, folded, gallery, heading, paragraph, part
from vialign.report.evidence import Evidence
from vialign.report.figures import interval_plot
from vialign.report.pictures import open_album
from vialign.report.sections.common import QUALITY_COLUMNS, words
from vialign.report.sections.prototypes import prototype_blocks
from vialign.report.sections.spans import span_blocks
from vialign.report.tables import Show, render_table
from vialign.tables.data import PROBLEMS, SHARED
from vialign.tables.evaluation import REPRODUCTION
from vialign.tables.language import QUALITY


def data(evidence: Evidence, config: Config) -> Section:
    """Counts a split, example images, and what was wrong with the files."""
    section = Section("data", "Data")
    images = evidence.get("images")
    if images is None:
        section.blocks.append(absent("the images", evidence.path("images"), evidence.stopped))
        return section
    section.blocks.append(_counts(evidence, images))
    section.blocks.extend(_kept_out(evidence))
    section.blocks.append(_examples(evidence, config, images))
    problems = evidence.get("problems")
    if problems is None:
        found = "problems" in evidence.frames
        path = evidence.path("problems")
        clean = paragraph("No problem was found in the data files (<code>{}</code> is empty).", path)
        section.blocks.append(clean if found else absent("the list of problems", path, evidence.stopped))
        return section
    columns = [Show("file", "File"), Show("row", "Row"), Show("problem", "Problem and what was done", "prose")]
    path = evidence.path("problems")
    table = render_table(problems, PROBLEMS, source=path, title="Problems in the files", columns=columns, limit=10)
    section.blocks.append(table)
    return section


def _counts(evidence: Evidence, images: pd.DataFrame) -> Markup:
    split_of = images.set_index("image_id")["split"]
    counts = {"images": images["split"].value_counts()}
    for name in ("captions", "objects", "relations"):
        frame = evidence.get(name)
        if frame is not None:
            counts[name] = frame["image_id"].map(split_of).value_counts()
    for name in ("choices", "questions"):
        frame = evidence.get(name)
        if frame is not None:
            counts[name] = frame["split"].value_counts()
    table = pd.DataFrame(counts).reindex(_splits(images))
    table = table.fillna(0).astype(int).rename_axis("split").reset_index()
    columns = [Show("split", "Split"), *(Show(name, name.capitalize(), "count") for name in counts)]
    return render_table(
        table,
        None,
        source=", ".join(evidence.path(name) for name in counts),
        title="Rows a split",
        columns=columns,
        derived="rows counted by the split of their image",
    )


def _kept_out(evidence: Evidence) -> list[Markup]:
    """Photographs that were kept out because the run reads them elsewhere; nothing where none were looked for."""
    shared, path = evidence.get("shared"), evidence.path("shared")
    if shared is None:
        return []
    said = (
        "No photograph is learned from that a benchmark tests on, and none that boxes or relations are taken from is "
        "read elsewhere in this run. They were looked for by their numbers at COCO, Flickr and Visual Genome, and what "
        "was found was kept out; photographs without a known number could not be looked for."
    )
    columns = [
        Show("source", "For"),
        Show("split", "Split"),
        Show("photographs", "Photographs", "count"),
        Show("named", "With a known number", "count"),
        Show("kept_out", "Kept out", "count"),
    ]
    title = "Photographs that this run reads elsewhere"
    return [paragraph("{}", said), render_table(shared, SHARED, source=path, title=title, columns=columns)]


def _examples(evidence: Evidence, config: Config, images: pd.DataFrame) -> Markup:
    album = open_album(images, evidence.results, config)
    captions = evidence.get("captions")
    text_of: dict[str, str] = {}
    if captions is not None:
        first = captions.drop_duplicates("image_id")
        text_of = dict(zip(first["image_id"], first["text"], strict=True))
    shown = []
    for split in _splits(images):
        for image_id in images.loc[images["split"] == split, "image_id"].head(1):
            shown.append((split, image_id, album.thumbnail(image_id), text_of.get(image_id, "no caption")))
    sources = [evidence.path("images"), evidence.path("captions")]
    return part("examples.html.j2", examples=shown, sources=sources)


def _splits(images: pd.DataFrame) -> list[str]:
    """The splits of the run: those of its data set in their order, then those of the benchmarks."""
    found = list(images["split"].unique())
    known = {name: place for place, name in enumerate(EMBEDDED_SPLITS)}
    return sorted(found, key=lambda name: (known.get(name, len(known)), found.index(name)))


def backbone(evidence: Evidence, config: Config) -> Section:
    """The contract of the frozen encoder, the readout chosen, and its check against known numbers."""
    section = Section("backbone", "Backbone and reproduction")
    contract = evidence.contract()
    if contract:
        section.blocks.append(part("terms.html.j2", terms=list(contract.items()), title="Contract of the backbone"))
    else:
        section.blocks.append(paragraph("No artifact of this run carries a backbone contract."))
    readout = evidence.get("readout")
    path = evidence.path("readout")
    if readout is None:
        section.blocks.append(absent("the comparison of readouts", path, evidence.stopped))
    else:
        made = evidence.provenance(path)
        chosen, reason = made.get("readout", "not recorded"), made.get("reason", "no reason recorded")
        section.blocks.append(paragraph("Patch tokens are read as <strong>{}</strong>: <q>{}</q>.", chosen, reason))
        title = "Patch readouts"
        section.blocks.append(render_table(readout, QUALITY, source=path, title=title, columns=QUALITY_COLUMNS))
    section.blocks.append(heading("Check against known numbers"))
    section.blocks.append(_reproduction(evidence))
    return section


def _reproduction(evidence: Evidence) -> Markup:
    reproduction = evidence.get("reproduction")
    path = evidence.path("reproduction")
    if reproduction is None:
        return absent("the check of the frozen backbone against published or expected numbers", path, evidence.stopped)
    columns = [
        Show("benchmark", "Benchmark"),
        Show("metric", "Metric"),
        Show("published", "Expected, %", "number"),
        Show("measured", "Measured, %", "number"),
        Show("tolerance", "Tolerance, points", "number"),
        Show("passed", "Reproduced", "verdict"),
        Show("cause", "Likely cause of a miss", "prose"),
        Show("source", "Source", "prose"),
    ]
    title = "Frozen backbone against known numbers"
    return render_table(reproduction, REPRODUCTION, source=path, title=title, columns=columns)


def disentanglers(evidence: Evidence, config: Config) -> Section:
    """Quality of language, prototypes and phrases, beside ceiling and floor."""
    section = Section("disentanglers", "Disentanglers")
    section.blocks.append(
        paragraph(
            "How well images come apart into prototypes and captions into phrase units. The ceiling is the best that "
            "any map on this patch grid could reach; random atoms, clusters of patches and the tower's own attention "
            "are the floor."
        )
    )
    parts = (
        ("visual_quality", "Image prototypes"),
        ("text_quality", "Phrase units"),
        ("language_quality", "Tagger and parser"),
    )
    for name, title in parts:
        frame, path = evidence.get(name), evidence.path(name)
        section.blocks.append(heading(title))
        if frame is None:
            section.blocks.append(absent(title.lower(), path, evidence.stopped))
            continue
        if name == "visual_quality":
            section.blocks.extend(prototype_blocks(frame, path))
            section.blocks.extend(_pointed_at(evidence))
        else:
            section.blocks.append(_quality_figures(frame, name, title, path))
        table = render_table(frame, QUALITY, source=path, title=title, columns=QUALITY_COLUMNS, limit=400)
        section.blocks.append(table if len(frame) <= 12 else folded(f"{title}, every measure", table))
        if name == "text_quality":
            section.blocks.extend(span_blocks(evidence))
    return section


def _pointed_at(evidence: Evidence) -> list[Markup]:
    """The pointing game on phrases that people wrote, where the run's data have some."""
    frame, path = evidence.get("phrase_grounding"), evidence.path("phrase_grounding")
    if frame is None:
        return []
    title = "Phrases pointed at"
    said = (
        "A phrase of a caption should point at what it is about: its most similar patch, or the peak of its most "
        "similar prototype, lies in one of the boxes that people drew for it. Chance is the share of patches in them."
    )
    return [
        paragraph("{}", said),
        _quality_figures(frame, "phrase_grounding", title, path),
        render_table(frame, QUALITY, source=path, title=title, columns=QUALITY_COLUMNS),
    ]


def _quality_figures(frame: pd.DataFrame, name: str, title: str, path: str) -> Markup:
    """One drawing a family of measures (those that share their first word); the four largest families."""
    family = frame["measure"].str.split(" ").str[0]
    sizes = family.value_counts(sort=False).sort_values(ascending=False, kind="stable")
    drawings = []
    for place, word in enumerate(sizes[sizes > 1].index[:4]):
        heading_text = f"{title}: {words(word)}"
        part, row, series = _arranged(frame[family == word])
        svg = interval_plot(
            part,
            name=f"{name}-{place}".replace("_", "-"),
            title=heading_text,
            row=row,
            value="value",
            series=series,
            axis=words(word),
        )
        reading = "Each dot is one measurement with its interval; the table says on how many items it rests."
        drawings.append(figure(svg, title=heading_text, reading=reading, sources=[path]))
    return gallery(drawings)


def _arranged(part: pd.DataFrame, most: int = 16) -> tuple[pd.DataFrame, str, str | None]:
    """Rows and series of a family of measures: subjects side by side, or domains where there are several.

    Returns the frame, its row column and its series column; at most `most` rows, the first ones.
    """
    part = part.assign(subject=part["subject"].map(words), rest=part["measure"].str.split(" ").str[1:].str.join(" "))
    if part["domain"].nunique() > 1:
        row, series = "label", "domain"
        part = part.assign(label=(part["subject"] + " " + part["rest"]).str.strip())
    elif part["measure"].nunique() > 1:
        row, series = "rest", "subject"
    else:
        row, series = "subject", None
    kept = list(dict.fromkeys(part[row]))[:most]
    return part[part[row].isin(kept)], row, series
