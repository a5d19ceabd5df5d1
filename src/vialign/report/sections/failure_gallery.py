"""Examples of failures with their images: chosen so that every method, class and benchmark is among them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.random import generator
from vialign.report.blocks import absent, heading, part, say
from vialign.report.evidence import Evidence
from vialign.report.numbers import cite
from vialign.report.pictures import open_album
from vialign.report.sections.common import method_order
from vialign.report.summary import of_headline
from vialign.tables.failures import FAILURE_CLASSES

_SAME = ["benchmark", "item_id", "true_text", "chosen_text", "chosen_image"]
"""Failures alike in these are one example, whichever methods and seeds they are of."""


def example_gallery(evidence: Evidence, config: Config, frame: pd.DataFrame) -> list[Markup]:
    """Examples of the first test split and of the benchmarks with images of their own, with controls to filter them."""
    examples = choose_examples(of_headline(frame, config), config)
    path = evidence.path("failures")
    if examples.empty:
        return [heading("Examples"), absent("examples of failures of the first test split", path, evidence.stopped)]
    album = open_album(evidence.get("images"), evidence.results, config)
    pictures = {
        name: album.thumbnail(name) for name in dict.fromkeys([*examples["image_id"], *examples["chosen_image"]])
    }
    shown = [
        (row, what_decided(row), which_rule(row), pictures[row["image_id"]], pictures[row["chosen_image"]])
        for _, row in examples.iterrows()
    ]
    methods = {method for names in examples["methods"] for method in names}
    choices = [
        ("method", "Method", [name for name in method_order(config, frame) if name in methods]),
        ("class", "Class", [name for name in FAILURE_CLASSES if name in set(examples["failure"])]),
        ("benchmark", "Benchmark", sorted(set(examples["benchmark"]))),
    ]
    return [heading("Examples"), part("failures.html.j2", rows=shown, choices=choices, source=path)]


def choose_examples(frame: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Up to `report.examples` failures, with a column `methods` of those that fail so; each query image once.

    One after another, the example whose class, benchmark and methods were shown least so far; equals in an order
    drawn by the run's seed.
    """
    if frame.empty:
        return frame.assign(methods=[])
    order = {method: place for place, method in enumerate(method_order(config, frame))}
    pairs = frame.drop_duplicates([*_SAME, "method"]).assign(
        group=lambda rows: rows.groupby(_SAME, sort=False).ngroup()
    )
    distinct = pairs.drop_duplicates("group").reset_index(drop=True)
    failing = np.zeros((len(distinct), len(order)), dtype=bool)
    failing[pairs["group"].to_numpy(), pairs["method"].map(order).to_numpy()] = True
    mixed = generator(config.seed, "examples").permutation(len(distinct))
    distinct, failing = distinct.iloc[mixed].reset_index(drop=True), failing[mixed]
    failure, benchmark, image = (pd.factorize(distinct[name])[0] for name in ("failure", "benchmark", "image_id"))
    seen = [np.zeros(int(codes.max()) + 1) for codes in (failure, benchmark)]
    seen_methods = np.zeros(failing.shape[1])
    free = np.ones(len(distinct), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < config.report.examples and free.any():
        new = sum(1 / (1 + counts[codes]) for counts, codes in zip(seen, (failure, benchmark), strict=True))
        new = new + (failing / (1 + seen_methods)).max(axis=1)
        place = int(np.where(free, new, -np.inf).argmax())
        chosen.append(place)
        free &= image != image[place]
        seen[0][failure[place]] += 1
        seen[1][benchmark[place]] += 1
        seen_methods += failing[place]
    names = list(order)
    methods = pd.Series([[names[place] for place in np.flatnonzero(failing[row])] for row in chosen], dtype=object)
    return distinct.iloc[chosen].reset_index(drop=True).assign(methods=methods)


def what_decided(row: pd.Series) -> Markup:
    """The phrase, the prototype and the rival that decided, in words with their numbers."""
    if row["phrase_kind"] == "none":
        if row["rival"] == "image":
            return say("No phrase matches the chosen image better than the right one.")
        return say("The chosen text says nothing that the right one does not say too.")
    phrase = (
        say('<q data-column="phrase">{}</q> ({})', row["phrase"], row["phrase_kind"])
        if pd.notna(row["phrase"])
        else (say("a phrase ({}) whose words are not known", row["phrase_kind"]))
    )
    if pd.isna(row["prototype"]):
        return say("Only the chosen text says {} so; its match is not known.", phrase)
    prototype = say("prototype {} ({})", cite(row, "prototype", "plain"), place_of(row))
    match = cite(row, "phrase_match", "fraction")
    if row["rule"] == "missing":
        limit = cite(row, "missing_limit", "fraction")
        return say(
            "{} was not found in the right image: its best match, {}, is {}, under {}.", phrase, prototype, match, limit
        )
    if row["rival"] == "image":
        before = cite(row, "phrase_match_true", "fraction")
        return say(
            "{} matches the chosen image by {}, at {}, and the right one by {}.", phrase, match, prototype, before
        )
    return say("Only the chosen text says {} so; the image matches it by {}, at {}.", phrase, match, prototype)


def which_rule(row: pd.Series) -> Markup:
    """The rule that gave the class, in words with what it measured."""

    def number(column: str) -> Markup:
        return cite(row, column, "fraction")

    rule = row["rule"]
    if rule == "identical text":
        return say("The text of what won is, word for word, a true caption of its image.")
    if rule == "human answers":
        return say(
            "People gave the chosen answer too: soft accuracy {}, as good from {}.",
            number("human"),
            number("human_limit"),
        )
    weakest = (
        say(
            'the weakest concept of the right text, <q data-column="worst_phrase">{}</q>, matches the right image '
            "by {}",
            row["worst_phrase"],
            number("worst_match"),
        )
        if pd.notna(row["worst_phrase"])
        else (say("the weakest concept of the right text matches the right image by {}", number("worst_match")))
    )
    if rule == "missing":
        return say("The weakest concept of the right text is under the limit.")
    found = say("{} (missing under {})", weakest, number("missing_limit"))
    if rule == "same words":
        return say("All is found: {}; what won has the same words in another order.", found)
    if rule == "agreement":
        return say(
            "All is found: {}; the text of what won agrees with the captions of its image by {}, as a caption does "
            "from {}.",
            found,
            number("agreement"),
            number("agreement_limit"),
        )
    local = say("local similarity is {} for what won and {} for the truth", number("local_rival"), number("local_true"))
    if rule == "same concepts":
        return say(
            "All is found: {}, that of what won by {}; {}, at most {} lower.",
            found,
            number("worst_match_rival"),
            local,
            number("margin_limit"),
        )
    return say("No rule holds: {}, that of what won by {}; {}.", found, number("worst_match_rival"), local)


def place_of(row: pd.Series) -> Markup:
    """Where a prototype lies, in words, and how much of the image it holds."""
    across, down = (
        _third(float(row[name]), words)
        for name, words in (("prototype_x", ("left", "", "right")), ("prototype_y", ("upper", "", "lower")))
    )
    place = " ".join(filter(None, (down, across))) or "middle"
    return say("{}, {} % of the patches", place, cite(row, "prototype_area", "percent"))


def _third(share: float, words: Sequence[str]) -> str:
    return words[min(2, max(0, int(3 * share)))]
