"""The page of a search: pictures with the phrases that were found drawn in, alone or from the local server."""

import base64
from collections.abc import Callable
from importlib.resources import files
from urllib.parse import urlencode

from markupsafe import Markup

from vialign.analysis.explain import Match
from vialign.collection.searching import Answer, Collection, Hit
from vialign.collection.store import thumbnail
from vialign.report.blocks import part
from vialign.report.explain import half_box, smooth_map
from vialign.report.numbers import shape

_COLOURS = 6


def render_search(collection: Collection, answer: Answer) -> str:
    """A search as one self-contained page, its pictures inside it; every word and file name is escaped."""

    def picture(hit: Hit) -> str:
        file = thumbnail(collection.folder, hit.content)
        if not file.is_file():
            return "data:,"
        return "data:image/jpeg;base64," + base64.b64encode(file.read_bytes()).decode("ascii")

    return _page(collection, answer, served=False, picture=picture)


def served_search(
    collection: Collection, answer: Answer | None = None, *, rerank: bool = False, problem: str = ""
) -> str:
    """The page that the local server gives: the form and, of an answer, its pictures by address."""
    return _page(
        collection, answer, served=True, picture=lambda hit: f"/thumbnail/{hit.picture}", rerank=rerank, problem=problem
    )


def _page(
    collection: Collection,
    answer: Answer | None,
    *,
    served: bool,
    picture: Callable[[Hit], str],
    rerank: bool = False,
    problem: str = "",
) -> str:
    hits = [] if answer is None else [_shown(hit, answer, served, picture, len(collection)) for hit in answer.hits]
    folder = files("vialign.report") / "templates"
    style = "\n".join((folder / name).read_text(encoding="utf-8").strip() for name in ("style.css", "search.css"))
    return part(
        "search.html.j2",
        style=Markup(style),
        served=served,
        answer=answer,
        hits=hits,
        drawn=any(hit["boxes"] for hit in hits),
        count=len(collection),
        side=collection.aligner.backbone.image_size,
        can_rerank=collection.aligner.method.name != "frozen",
        rerank=rerank,
        problem=problem,
    )


def _shown(hit: Hit, answer: Answer, served: bool, picture: Callable[[Hit], str], count: int) -> dict[str, object]:
    boxes = [_box(match, place) for place, match in enumerate(hit.matches)]
    local = ""
    if hit.local_rank is not None and hit.agreement is not None:
        where = "first" if hit.local_rank == 0 else f"number {hit.local_rank + 1} of {count:,}"
        local = f"{where} by the local look, both agree {shape(hit.agreement, 'percent')} %"
    explained = f"/explain/{hit.picture}?{urlencode({'q': answer.words})}"
    return {
        "path": hit.path,
        "picture": picture(hit),
        "link": f"/picture/{hit.picture}" if served else "",
        "explain": explained if served and hit.matches else "",
        "alt": f"{hit.path}, as the model sees it",
        "score": shape(hit.score, "fraction"),
        "local": local,
        "boxes": boxes,
    }


def _box(match: Match, place: int) -> dict[str, object]:
    """Where a phrase was found (of a relation its subject), in percent of the picture."""
    left, top, width, height = half_box(smooth_map(match.found[0].map))
    return {
        "colour": place % _COLOURS + 1,
        "left": f"{100 * left:.1f}",
        "top": f"{100 * top:.1f}",
        "width": f"{100 * width:.1f}",
        "height": f"{100 * height:.1f}",
        "words": match.words,
        "match": shape(match.match, "fraction"),
    }
