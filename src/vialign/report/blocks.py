"""The pieces a section is made of: prose, figures, absences; all text from data is escaped on its way in."""

from dataclasses import dataclass, field
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vialign.report.drawing import Drawing

RESULTS = "results:"
"""Scheme of a link to a file of the results folder; the page's maker puts the way there in its place."""


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    name: str
    """Anchor in the page."""
    title: str
    blocks: list[Markup] = field(default_factory=list)


@cache
def environment() -> Environment:
    """The template environment: everything is escaped, an unknown name is an error."""
    return Environment(
        loader=PackageLoader("vialign.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def part(template: str, **values: object) -> Markup:
    """One rendered template of `templates/`."""
    return Markup(environment().get_template(template).render(**values))


def paragraph(text: str, *values: object) -> Markup:
    """A paragraph; `{}` in `text` are filled with the escaped values."""
    return Markup("<p>{}</p>").format(say(text, *values))


def say(text: str, *values: object) -> Markup:
    """A phrase of our own words; `{}` in it are filled with the escaped values."""
    return Markup(text).format(*values)


def bullets(items: list[Markup], *, ordered: bool = False) -> Markup:
    """A list."""
    tag = Markup("ol" if ordered else "ul")
    lines = Markup("").join(Markup("<li>{}</li>").format(item) for item in items)
    return Markup("<{}>{}</{}>").format(tag, lines, tag)


def figure(svg: Drawing, *, title: str, reading: str, sources: list[str]) -> Markup:
    """A drawing with its title, one sentence on how to read it, the tables it was drawn from, and its rows as CSV."""
    return part("figure.html.j2", svg=Markup(svg), drawing=svg, title=title, reading=reading, sources=sources)


def gallery(figures: list[Markup]) -> Markup:
    """Figures side by side where the page is wide enough."""
    return Markup('<div class="figures">{}</div>').format(Markup("").join(figures))


def heading(text: str, level: int = 3) -> Markup:
    """A heading inside a section; level 4 stands under a heading of level 3."""
    return Markup("<h{0}>{1}</h{0}>").format(level, text)


def folded(title: str, content: Markup) -> Markup:
    """Content that opens on demand, without JavaScript."""
    return Markup('<details class="folded"><summary>{}</summary>{}</details>').format(title, content)


def absent(what: str, path: str, stopped: str | None) -> Markup:
    """Says that a table is not there, and why."""
    why = f"the {stopped} gate stopped the run before it" if stopped else "this run did not write it, or it is empty"
    return Markup('<p class="absent">Not available: {} (<code>{}</code>); {}.</p>').format(what, path, why)
