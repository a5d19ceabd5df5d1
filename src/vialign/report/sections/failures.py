"""What still fails, by class, and what it looks like."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from vialign.config import Config
from vialign.random import generator
from vialign.report.blocks import Section, absent, figure, heading, part
from vialign.report.evidence import Evidence
from vialign.report.figures import interval_plot
from vialign.report.pictures import open_album
from vialign.report.sections.common import by_method, method_order
from vialign.report.summary import main_method
from vialign.report.tables import Show, render_table
from vialign.tables import FAILURE_CLASSES


def failures(evidence: Evidence, config: Config) -> Section:
    """Shares of the failure classes by method, and examples with their images."""
    section = Section("failures", "Failures")
    frame, path = evidence.get("failures"), evidence.path("failures")
    if frame is None:
        section.blocks.append(absent("the failure classes", path, evidence.stopped))
        return section
    shares = class_shares(frame, draws=config.evaluation.bootstrap, level=config.evaluation.level, seed=config.seed)
    title = "Classes of failed queries by method"
    svg = interval_plot(
        by_method(config, shares),
        name="failures",
        title=title,
        row="failure",
        value="share",
        series="method",
        order=method_order(config, frame),
        axis="percent of a method's failed queries",
        scale=100,
    )
    reading = "Shares of one method sum to the whole; bars are bootstrap intervals over failed items."
    section.blocks.append(figure(svg, title=title, reading=reading, sources=[path]))
    counts = pd.crosstab(frame["method"], frame["failure"]).reindex(columns=FAILURE_CLASSES, fill_value=0)
    counts = by_method(config, counts.reset_index())
    section.blocks.append(
        render_table(
            counts,
            None,
            source=path,
            title="Failed queries by method and class",
            columns=[Show("method", "Method"), *(Show(name, name.capitalize(), "count") for name in FAILURE_CLASSES)],
            derived="rows counted by method and failure, all seeds and benchmarks together",
        )
    )
    section.blocks.append(heading("Examples"))
    section.blocks.append(_gallery(evidence, config, frame))
    return section


def class_shares(frame: pd.DataFrame, *, draws: int, level: float, seed: int) -> pd.DataFrame:
    """Share of each class among a method's failed queries, with a bootstrap interval over items.

    An item (benchmark and item id) is resampled with all its seeds, because seeds fail on the same items together.
    Returns the columns method, failure, share, low, high.
    """
    rows = []
    for method, own in frame.groupby("method", sort=False):
        table = pd.crosstab([own["benchmark"], own["item_id"]], own["failure"])
        table = table.reindex(columns=FAILURE_CLASSES, fill_value=0)
        counts = table.to_numpy(float)
        items = len(counts)
        weights = generator(seed, "failures", method).multinomial(items, np.full(items, 1 / items), size=draws)
        sums = weights @ counts
        drawn = sums / sums.sum(axis=1, keepdims=True)
        low, high = np.quantile(drawn, [level / 2, 1 - level / 2], axis=0)
        share = counts.sum(axis=0) / counts.sum()
        for place, failure in enumerate(FAILURE_CLASSES):
            rows.append((method, failure, share[place], low[place], high[place]))
    return pd.DataFrame(rows, columns=["method", "failure", "share", "low", "high"])


def choose_examples(frame: pd.DataFrame, method: str | None, count: int) -> pd.DataFrame:
    """Up to `count` failures of one method (else of the last), taking the classes in turn, each image once."""
    name = method if method in set(frame["method"]) else frame["method"].iloc[-1]
    own = frame[frame["method"] == name].drop_duplicates("image_id")
    turn = own.groupby("failure").cumcount()
    order = own["failure"].map({failure: place for place, failure in enumerate(FAILURE_CLASSES)})
    return own.assign(_turn=turn, _order=order).sort_values(["_turn", "_order"], kind="stable").head(count)


def _gallery(evidence: Evidence, config: Config, frame: pd.DataFrame) -> Markup:
    album = open_album(evidence.get("images"), evidence.results, config)
    rows = []
    for _, row in choose_examples(frame, main_method(evidence), config.report.examples).iterrows():
        other = row["chosen_image"] if row["chosen_image"] != row["image_id"] else None
        rows.append((row, album.thumbnail(row["image_id"]), other, album.thumbnail(other) if other else None))
    return part("failures.html.j2", rows=rows, source=evidence.path("failures"))
