"""The page as a whole: traced, self-contained, escaped, accessible, repeatable; and honest about stops and gaps."""

import base64
import hashlib
import json
import re
import shlex
import shutil
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from unit.report.fake_results import HOSTILE, PROVENANCE, fake_config, write_fake_results
from unit.report.page import Element, read_page
from vialign.errors import UserError
from vialign.files.artifacts import read_provenance
from vialign.report.build import build_report, with_links
from vialign.report.evidence import read_evidence
from vialign.report.review import going_on
from vialign.report.sections import design_review, opening
from vialign.report.sections.inputs import data
from vialign.report.sections.provenance import provenance
from vialign.report.sections.training import training

SECTIONS = [
    "summary", "data", "backbone", "disentanglers", "signal", "gates", "training", "comparison",
    "attribution", "ablation", "efficiency", "failures", "trust", "gradients", "provenance",
]  # fmt: skip


def build(folder: Path) -> Element:
    build_report(folder, fake_config(), folder / "report/index.html", PROVENANCE)
    return read_page((folder / "report/index.html").read_text(encoding="utf-8"))


def section(make, folder: Path, config=None) -> Element:
    """One section alone: drawing all of them takes seconds."""
    config = config or fake_config()
    return read_page("".join(make(read_evidence(folder, config), config).blocks))


@cache
def frame_of(path: Path) -> pd.DataFrame:
    if path.suffix == ".tsv":
        return pd.read_csv(path, sep="\t", na_values="-")
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.DataFrame()


@cache
def provenance_of(path: Path) -> dict[str, str]:
    return read_provenance(path)


def stored(folder: Path, file: str, row: int, column: str) -> object:
    """A cell of an artifact, or what its metadata or its path says, read without the report's own code."""
    if column.startswith("metadata."):
        return provenance_of(folder / file)[column.removeprefix("metadata.")]
    frame = frame_of(folder / file)
    if column in frame:
        return frame[column][row]
    parts = file.split("/")
    job = file.removeprefix("benchmarks/").removesuffix(".tsv")
    return {"artifact": file, "method": parts[1], "seed": parts[-2], "job": job}[column]


def shows(text: str, value: float) -> bool:
    """Whether a shown number is the value, or the value in percent, to the digits shown."""
    if text.startswith("<"):
        return value < float(text[1:])
    plain = text.replace("\N{MINUS SIGN}", "-").replace(",", "")
    mantissa, _, exponent = plain.partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return any(abs(float(plain) - scale * value) <= 0.5000001 * 10**-digits for scale in (1, 100))


def test_every_number_shown_is_the_cell_it_names(page, whole_run):
    traced = 0
    for element in page.all("data"):
        if "data-derived" in element.attributes or element.nearest("data-derived"):
            continue
        value, source = element.attributes["value"], element.nearest("data-source")
        column = element.attributes["data-column"]
        if not value and not column:
            continue  # a cell of a matrix that no row of the file stands behind
        if source == "config":
            expected = fake_config()
            for part in column.split("."):
                expected = getattr(expected, part)
        else:
            expected = stored(whole_run, source, int(element.nearest("data-row")), column)
        if value == "":
            assert pd.isna(expected)
            continue
        assert float(value) == float(expected), (source, column)
        assert shows(element.text(), float(expected)), (element.text(), expected)
        traced += 1
    assert traced > 1000


def test_every_word_of_a_table_is_the_cell_it_names(page, whole_run):
    traced = 0
    for element in page.all("td", "th", "dd", "q"):
        if "data-column" not in element.attributes or not element.nearest("data-source"):
            continue
        place = (element.nearest("data-source"), int(element.nearest("data-row")), element.attributes["data-column"])
        expected = stored(whole_run, *place)
        shown = element.text().strip()
        if isinstance(expected, bool) or str(expected) in ("True", "False"):
            expected = "yes" if expected else "no"
        codes = element.all("code")
        if codes:
            assert codes[0].attributes["title"] == expected and expected.startswith(shown)
        else:
            assert shown == ("\N{EN DASH}" if pd.isna(expected) else str(expected)), place
        traced += 1
    assert traced > 300


def test_a_wrong_number_is_caught(page, whole_run):
    """Positive control of the two tests above."""
    element = next(element for element in page.all("data") if "data-row" in element.attributes)
    assert not shows(element.text(), float(element.attributes["value"]) + 0.01)
    with pytest.raises(KeyError):
        stored(whole_run, "signal/diagnosis.parquet", 0, "no such column")


def test_no_number_is_typed_by_hand(page):
    main = page.named("content")
    # Headings count phases; everything else must say where it comes from.
    prose = main.prose("data", "td", "th", "svg", "code", "pre", "dl", "dd", "q", "summary", "ul", "script", "h2", "h3")
    lists = " ".join(
        item.prose("data", "code", "q", "figure", "dl")
        for item in main.all("li")
        if "data-source" not in item.attributes
    )
    found = re.findall(r"(?<![\w@#])\d[\d.,]*", prose + lists)
    assert not found


def test_counted_numbers_are_right(page, whole_run):
    images = pd.read_parquet(whole_run / "data/images.parquet")
    captions = pd.read_parquet(whole_run / "data/captions.parquet").merge(images, on="image_id")
    table = next(t for t in page.all("table") if t.all("caption")[0].text().startswith("Rows a split"))
    for line in table.all("tbody")[0].all("tr"):
        split, shown_images, shown_captions = (cell.text() for cell in line.all("th", "td")[:3])
        assert int(shown_images) == (images["split"] == split).sum()
        assert int(shown_captions) == (captions["split"] == split).sum()


def test_sections_are_complete_and_in_order(page):
    assert [section.attributes["id"] for section in page.all("section")] == SECTIONS
    assert not [p for p in page.all("p") if "absent" in p.attributes.get("class", "")]
    assert [a.attributes["href"] for a in page.all("nav")[0].all("a")] == [f"#{name}" for name in SECTIONS]


def test_text_from_data_stays_text(text, page):
    assert "<script>alert" not in text
    assert HOSTILE in page.named("failures").text()
    assert HOSTILE in [image.attributes["alt"] for image in page.all("img")]
    assert len(page.all("script")) == 1


def test_page_is_self_contained(text, page):
    for element in page.walk():
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            address = element.attributes.get(name, "#")
            linked = element.tag == "a" and name == "href" and address.startswith("../")
            assert linked or address.startswith(("#", "data:")), (element.tag, name, address)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    policy = next(m for m in page.all("meta") if "http-equiv" in m.attributes).attributes["content"]
    script = page.all("script")[0].text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def test_identifiers_are_unique_and_every_reference_has_its_target(text, page):
    names = [element.attributes["id"] for element in page.walk() if "id" in element.attributes]
    assert len(names) == len(set(names))
    wanted = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    wanted |= {e.attributes["aria-labelledby"] for e in page.walk() if "aria-labelledby" in e.attributes}
    assert wanted and wanted <= set(names)


def test_figures_are_named_small_and_say_where_they_come_from(page, text):
    figures = [figure for figure in page.all("figure") if figure.all("svg")]
    assert len(figures) >= 20
    for figure in figures:
        assert figure.all("svg")[0].attributes["role"] == "img"
        assert figure.all("title")[0].text().strip()
        caption = figure.all("figcaption")[0]
        assert caption.all("strong") and any(code.text().endswith(".parquet") for code in caption.all("code"))
        assert len(caption.prose("strong", "span").split()) >= 6
    assert max(len(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)) < 60_000


def test_tables_are_accessible(page):
    for table in page.all("table"):
        assert table.parent.attributes.get("tabindex") == "0" and table.parent.attributes["aria-label"]
        assert table.all("caption")[0].text().strip() and table.all("caption")[0].all("code")
        assert all(head.attributes["scope"] == "col" for head in table.all("thead")[0].all("th"))
        width = len(table.all("thead")[0].all("th"))
        for line in table.all("tbody")[0].all("tr"):
            assert len(line.all("th", "td")) == width
            assert line.all("th", "td")[0].attributes["scope"] == "row"


def test_landmarks_headings_and_skip_link(page):
    assert page.all("html")[0].attributes["lang"] == "en"
    assert len(page.all("main")) == len(page.all("h1")) == len(page.all("header")) == len(page.all("footer")) == 1
    skip = page.all("a")[0]
    assert skip.attributes["href"] == "#content" and page.named("content").tag == "main"
    levels = [int(element.tag[1]) for element in page.all("h1", "h2", "h3", "h4")]
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(image.attributes["alt"] for image in page.all("img"))


def test_images_are_embedded_up_to_the_number_asked_for(page):
    cards = [item for item in page.named("failures").all("li") if "data-source" in item.attributes]
    assert len(cards) == fake_config().report.examples
    for card in cards:
        assert all(image.attributes["src"].startswith("data:image/jpeg;base64,") for image in card.all("img"))
        assert card.all("img")


def test_the_same_results_give_the_same_bytes(whole_run):
    again = whole_run / "report/again.html"
    build_report(whole_run, fake_config(), again, PROVENANCE)
    assert again.read_bytes() == (whole_run / "report/index.html").read_bytes()
    again.unlink()


def test_a_stopped_run_says_so_first_and_reviews_its_design(tmp_path):
    page = build(write_fake_results(tmp_path, stop="signal"))
    sections = page.all("section")
    assert [section.attributes["id"] for section in sections] == ["summary", "design-review", *SECTIONS[1:]]
    assert sections[0].all("p")[0].text().startswith("The signal gate stopped this run")
    assert "the signal gate stopped the run before it" in page.named("comparison").text()


@pytest.mark.parametrize("gate", ["signal", "budget", "early"])
def test_every_gate_has_its_design_review(tmp_path, gate):
    folder = write_fake_results(tmp_path, stop=gate)
    review = section(design_review, folder)
    assert f"the {gate} evidence lies beyond chance" in review.text()
    assert review.all("ol")[0].all("li"), "no suggestion was drawn from the evidence"
    assert f"The {gate} gate stopped this run" in section(opening, folder).text()
    command = review.all("pre")[-1].text()
    assert command == f"""snakemake --cores 2 --config 'gates={{"{gate}": {{"action": "warn"}}}}' -- all"""


def test_the_command_that_goes_on_keeps_how_the_run_was_called():
    called = {
        "files": {"--snakefile": [], "--configfile": ["configs/tiny.yaml", "my files/mine.yaml"]},
        "config": {"seed": 3, "gates": {"signal": {"action": "warn"}, "budget": {"action": "stop"}}},
    }
    words = shlex.split(going_on("budget", called))
    start = [
        "snakemake",
        "--cores",
        "2",
        "--configfile",
        "configs/tiny.yaml",
        "my files/mine.yaml",
        "--config",
        "seed=3",
    ]
    assert words[:8] == start and words[9:] == ["--", "all"]
    name, _, value = words[8].partition("=")
    assert (name, json.loads(value)) == ("gates", {"signal": {"action": "warn"}, "budget": {"action": "warn"}})


def test_a_stop_leaves_out_what_an_older_run_wrote(tmp_path):
    folder = write_fake_results(tmp_path)
    stopped = write_fake_results(tmp_path / "stopped", stop="signal")
    shutil.copy(stopped / "signal/verdict.parquet", folder / "signal/verdict.parquet")
    shutil.rmtree(tmp_path / "stopped")
    evidence = read_evidence(folder, fake_config())
    behind = ("train/", "budget/", "gates/budget", "gates/early", "compare/", "ablate/", "analyse/")
    paths = [artifact.path for artifact in evidence.artifacts]
    paths += [path for frame in evidence.frames.values() for path in frame["_file"].unique()]
    assert "signal/probe.parquet" in paths and "evaluate/agreement.parquet" in paths
    theory = ("analyse/theory.parquet", "analyse/theory_trends.parquet")  # reads no data, so it lies behind no gate
    assert set(theory) <= set(paths)
    assert not [path for path in paths if path.startswith(behind) and path not in theory]


def test_methods_that_the_config_no_longer_names_are_left_out(tmp_path):
    config = fake_config(training={"methods": ["frozen", "vialign"], "seeds": [1]})
    page = section(training, write_fake_results(tmp_path), config)
    checks = {e.attributes["data-source"] for e in page.all("td") if "data-source" in e.attributes}
    assert checks == {"train/frozen/1/monitor.parquet", "train/vialign/1/monitor.parquet"}


def test_an_empty_folder_gives_a_report_of_what_is_not_available(tmp_path):
    page = build(tmp_path)
    assert [section.attributes["id"] for section in page.all("section")] == SECTIONS
    assert "Not known yet" in page.named("summary").text()
    assert len([p for p in page.all("p") if "absent" in p.attributes.get("class", "")]) > 12


def test_missing_and_unreadable_images_are_said(tmp_path):
    folder = write_fake_results(tmp_path)
    (folder / "data/images/train_0.png").unlink()
    (folder / "data/images/test_0.png").write_bytes(b"not an image")
    assert section(data, folder).text().count("The image file is missing or unreadable.") == 2


def test_a_missing_folder_and_a_broken_table_are_the_users_errors(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        build(tmp_path / "nowhere")
    folder = write_fake_results(tmp_path / "run")
    (folder / "signal/probe.parquet").write_bytes(b"broken")
    with pytest.raises(UserError, match="probe.parquet: not a Parquet file"):
        build(folder)
    assert not (folder / "report/index.html").exists()


def test_provenance_lists_every_artifact_with_its_digests(page, whole_run):
    shown = {row.all("th")[0].text() for row in page.named("provenance").all("tr") if row.all("th")}
    found = {p.relative_to(whole_run).as_posix() for e in ("parquet", "safetensors") for p in whole_run.rglob(f"*.{e}")}
    assert found <= shown
    titles = {code.attributes.get("title") for code in page.named("provenance").all("code")}
    assert {PROVENANCE["config_digest"], PROVENANCE["code_digest"], PROVENANCE["backbone_checkpoint"]} <= titles


def test_provenance_counts_versions_and_adds_up_the_jobs_of_a_rule(tmp_path):
    folder = write_fake_results(tmp_path)
    for seed, seconds in ((0, 41.5), (1, 8.5)):
        (folder / f"benchmarks/train/vialign/{seed}.tsv").write_text(
            f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:41\t{800 + seed}\t{seconds}\n", encoding="utf-8"
        )
    page = section(provenance, folder)
    versions, artifacts, rules, jobs = page.all("table")
    values = {tuple(cell.text() for cell in line.all("th", "td")) for line in versions.all("tbody")[0].all("tr")}
    shown = len(artifacts.all("tbody")[0].all("tr"))
    assert ("backbone_checkpoint", PROVENANCE["backbone_checkpoint"], str(shown)) in values
    first = [cell.text() for cell in rules.all("tbody")[0].all("tr")[0].all("th", "td")]
    assert first == ["train", "2", "50.0", "50.0", "801"]
    other = [cell.text() for cell in rules.all("tbody")[0].all("tr")[1].all("th", "td")]
    assert other == ["extract_features", "1", "12.2", "\N{EN DASH}", "812"]
    assert len(jobs.all("tbody")[0].all("tr")) == 3


def test_links_go_from_the_page_to_the_results_wherever_it_lies(whole_run, tmp_path):
    page = 'href="results:a b.parquet" and <q>href=&#34;results:x</q>'
    assert with_links(page, tmp_path / "my run", tmp_path / "out/page.html") == (
        'href="../my%20run/a b.parquet" and <q>href=&#34;results:x</q>'
    )
    text = (whole_run / "report/index.html").read_text(encoding="utf-8")
    found = set(re.findall(r'href="\.\./([^"]+)"', text))
    assert len(found) > 15 and all((whole_run / path).is_file() for path in found)
