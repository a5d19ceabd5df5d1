"""An explained pair as a page and a picture: complete, escaped, self-contained, and drawn where the maps are."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from explained import CAPTION, finished_run
from unit.report.page import read_page
from vialign.analysis.explain import explain_pair
from vialign.report.explain import _panel, draw_explanation, half_box, render_explanation, smooth_map, write_explanation

HOSTILE = 'a red circle <script>alert(1)</script> & a "blue" $x^2$ square'


@pytest.fixture(scope="module")
def run():
    return finished_run()[0]


@pytest.fixture(scope="module")
def picture():
    return Image.open(finished_run()[2]).convert("RGB")


@pytest.fixture(scope="module")
def explanation(run, picture):
    return explain_pair(run, picture, CAPTION)


@pytest.fixture(scope="module")
def text(explanation, run):
    return render_explanation(explanation, run.provenance)


@pytest.fixture(scope="module")
def page(text):
    return read_page(text)


def test_every_phrase_has_its_panel_with_kind_match_and_prototypes(page, explanation):
    figures = page.named("phrases").all("figure")
    assert len(figures) == len(explanation.matches) > 3
    for figure, match in zip(figures, explanation.matches, strict=True):
        caption = figure.all("figcaption")[0].text()
        assert caption.startswith(match.words) and match.kind in caption
        assert f"match {match.match:.3f}".replace("-", "\N{MINUS SIGN}") in caption
        assert caption.count("prototype") == len(match.found)
        assert all(found.words in figure.all("img")[0].attributes["alt"] for found in match.found)
    relation = next(match for match in explanation.matches if len(match.found) == 2)
    shown = figures[explanation.matches.index(relation)].text()
    assert f"subject: {relation.found[0].words}" in shown and f"object: {relation.found[1].words}" in shown


def test_the_numbers_of_the_pair_are_those_of_the_signal(page, explanation):
    row = explanation.scores.iloc[0]
    values = [strong.text() for strong in page.named("pair").all("strong")]
    names = ("s_global", "s_local", "s_global_calibrated", "s_local_calibrated", "consistency", "agreement")
    assert values == [f"{row[name]:.3f}".replace("-", "\N{MINUS SIGN}") for name in names]


def test_the_wrong_captions_stand_beside_with_every_method(page, explanation):
    table = page.named("wrong").all("table")[0]
    headers = [head.text() for head in table.all("thead")[0].all("th")]
    assert headers[-2:] == ["Frozen, score", "vialign, score"]
    lines = table.all("tbody")[0].all("tr")
    assert [line.all("td")[0].text() for line in lines] == explanation.scores["text"].tolist()
    mean, spread = lines[0].all("td")[-1].text().replace("\N{MINUS SIGN}", "-").split(" ", 1)
    scores = explanation.methods["vialign"][0]
    assert float(mean) == pytest.approx(scores.mean(), abs=6e-4)
    assert [float(n) for n in re.findall(r"-?\d+\.\d+", spread)] == pytest.approx(sorted(scores), abs=6e-4)
    assert all(len(line.all("th", "td")) == len(headers) for line in lines)


def test_without_trained_methods_the_page_says_so(explanation):
    page = read_page(render_explanation(replace(explanation, methods={}), {}))
    assert "No trained method" in page.text() and "score" not in page.named("wrong").all("thead")[0].text()


def test_the_page_is_self_contained_and_has_its_landmarks(text, page):
    for element in page.walk():
        for name in ("src", "href"):
            assert element.attributes.get(name, "#").startswith(("#", "data:"))
    assert "default-src 'none'" in text and "@import" not in text
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert all(image.attributes["alt"] for image in page.all("img"))
    assert all(element.attributes["scope"] for element in page.all("th"))
    assert len(text) < 2_000_000


def test_a_script_in_a_caption_stays_text_and_a_formula_is_not_set(run, picture):
    explanation = explain_pair(run, picture, HOSTILE)
    text = render_explanation(explanation, run.provenance)
    page = read_page(text)
    assert "<script>alert" not in text and len(page.all("script")) == 1
    assert page.all("h1")[0].text() == HOSTILE and HOSTILE in page.named("pair").text()
    assert Image.open(io.BytesIO(draw_explanation(explanation))).size[0] > 300


def test_a_panel_is_shaded_where_the_map_is_and_nowhere_else(explanation):
    match = next(match for match in explanation.matches if len(match.found) == 1)
    spot = np.zeros((4, 4))
    spot[0, 3] = 1.0
    planted = replace(match, found=(replace(match.found[0], map=spot, centre=(0.875, 0.125)),))
    plain, drawn = (_pixels(_panel(explanation, what)) for what in (None, planted))
    change = np.abs(plain - drawn).mean(axis=-1)
    height, width = change.shape
    assert change[: height // 4, 3 * width // 4 :].mean() > 20
    assert change[height // 2 :, : width // 2].mean() < 3


def test_a_relation_of_two_prototypes_is_drawn_with_both_and_their_arrow(explanation):
    relation = next(match for match in explanation.matches if len(match.found) == 2)
    spots = np.zeros((2, 4, 4))
    spots[0, 0, 0] = spots[1, 3, 3] = 1.0
    found = [
        replace(one, map=spot, prototype=place, centre=centre)
        for place, (one, spot, centre) in enumerate(zip(relation.found, spots, ((0.1, 0.1), (0.9, 0.9)), strict=True))
    ]
    plain, both, one = (
        _pixels(_panel(explanation, what))
        for what in (None, replace(relation, found=tuple(found)), replace(relation, found=tuple(found[:1])))
    )
    change, alone = (np.abs(plain - other).mean(axis=-1) for other in (both, one))
    size = len(change)
    corner, middle = slice(3 * size // 4, size), slice(4 * size // 10, 6 * size // 10)
    assert change[corner, corner].mean() > 20 > 3 > alone[corner, corner].mean()
    assert change[middle, middle].mean() > alone[middle, middle].mean() + 5


def test_smooth_maps_have_their_top_at_one_and_boxes_enclose_the_half():
    values = np.zeros((4, 8))
    values[1, 2] = 0.25
    smooth = smooth_map(values)
    assert smooth.max() == pytest.approx(1) and smooth.min() >= 0
    y, x = np.unravel_index(smooth.argmax(), smooth.shape)
    assert x / smooth.shape[1] == pytest.approx(2.5 / 8, abs=0.02) and y / smooth.shape[0] == pytest.approx(
        1.5 / 4, abs=0.02
    )
    left, top, width, height = half_box(smooth)
    assert left < 2.5 / 8 < left + width < 4 / 8 and top < 1.5 / 4 < top + height < 3 / 4
    assert half_box(np.ones((5, 5))) == (0, 0, 1, 1)


def test_both_files_are_written_and_the_picture_grows_with_the_phrases(explanation, run, tmp_path):
    page, picture = write_explanation(explanation, run.provenance, tmp_path / "new")
    assert page.name == "explain.html" and CAPTION in page.read_text(encoding="utf-8")
    with Image.open(picture) as all_of_it:
        few = Image.open(io.BytesIO(draw_explanation(replace(explanation, matches=explanation.matches[:1]))))
        assert all_of_it.size[0] > few.size[0]
        assert np.asarray(all_of_it.convert("L")).std() > 20
    first = picture.read_bytes()
    write_explanation(explanation, run.provenance, tmp_path / "new")
    assert picture.read_bytes() == first


def _pixels(address):
    import base64

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))).astype(float)
