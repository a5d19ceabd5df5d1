"""The two demo backbones side by side, both frozen: what further training on true captions taught the second."""

from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.names import PACKAGED
from vialign.report import summary
from vialign.report.blocks import absent, figure, folded, gallery, heading, paragraph
from vialign.report.evidence import Evidence
from vialign.report.figures import interval_plot
from vialign.report.sections.common import benchmark_name, words
from vialign.report.tables import Show, render_matrix, render_table
from vialign.tables.evaluation import COMPARISONS, RESULTS

_TAUGHT = {
    PACKAGED[0]: "captions that combine the things of an image blindly, so it is blind to relations by design",
    PACKAGED[1]: "blind captions first, and then, for further steps, on captions whose relations hold",
}


def backbones(evidence: Evidence, config: Config) -> list[Markup]:
    """Results of both and the differences; nothing for a run whose backbone is none of the two."""
    own = config.backbone.checkpoint
    if own not in PACKAGED:
        return []
    (other,) = set(PACKAGED) - {own}
    title = "Another frozen backbone"
    results, path = evidence.get("backbones"), evidence.path("backbones")
    if results is None:
        return [heading(title), absent("the results of the other demo backbone", path, evidence.stopped)]
    told = paragraph(
        "Both are frozen and have one architecture. The run's own, <code>{}</code>, was pretrained on {}; "
        "<code>{}</code> on {}. A difference is what the further steps taught, with nothing added to "
        "the model; what true relations and what more training did of it is not taken apart.",
        own,
        _TAUGHT[own],
        other,
        _TAUGHT[other],
    )
    rows = [Show("benchmark", "Benchmark"), Show("measure", "Measure"), Show("convention", "Mean")]
    value = Show("value", "Value, %", "percent", "low", "high")
    matrix = render_matrix(
        results, RESULTS, source=path, title="Frozen backbones, percent", rows=rows, across="method", value=value
    )
    return [heading(title), told, *_differences(evidence, own, other), folded("Every result of both", matrix)]


def _differences(evidence: Evidence, own: str, other: str) -> list[Markup]:
    frame, path = evidence.get("backbone_differences"), evidence.path("backbone_differences")
    if frame is None:
        return []
    drawings = []
    main = frame[frame["measure"].isin(summary.PRIMARY)]
    for split, part in main.groupby(main["benchmark"].str.split("/").str[0], sort=False):
        title = f"{other} less {own}, {words(split)}"
        svg = interval_plot(
            part.assign(label=benchmark_name(part)),
            name=f"backbones-{split}".replace("_", "-"),
            title=title,
            row="label",
            value="difference",
            axis="points",
            lines=[(0.0, "no difference")],
            scale=100,
        )
        reading = "A bar wholly to the right of the line: the other backbone is better. Intervals are over images."
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    columns = [
        Show("benchmark", "Benchmark"),
        Show("measure", "Measure"),
        Show("difference", "Difference, points", "points", "low", "high"),
        Show("p_holm", "p after Holm", "p"),
        Show("items", "Items", "count"),
    ]
    table = render_table(frame, COMPARISONS, source=path, title="Differences between the backbones", columns=columns)
    return [gallery(drawings), folded("Every difference, with p-values", table)]
