"""An index: only what is new is encoded, what is gone is forgotten, and a search is exact."""

import json
import os
import shutil
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from explained import finished_run
from indexed import HOSTILE, aligner, bring, collection, exported
from vialign.aligner.aligner import Aligner
from vialign.aligner.export import aligner_of_run
from vialign.aligner.ranking import PREDICTORS, TrustRule, predictors_of
from vialign.cli.app import app
from vialign.collection import searching, updating
from vialign.collection.searching import Collection
from vialign.collection.store import SHARDS, read_pictures, thumbnail
from vialign.errors import UserError
from vialign.files.artifacts import read_provenance, read_tensors, write_tensors
from vialign.toolkit import draw_example
from vialign.toolkit.signal import TEXT, VISUAL

WORDS = "a red circle above a blue square"


@pytest.fixture
def pictures(tmp_path):
    draw_example(tmp_path / "drawn", images=9)
    return tmp_path / "drawn/images"


def state(folder):
    """Every file below a folder with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_second_run_touches_nothing(pictures, tmp_path):
    first = bring(pictures, tmp_path / "index")
    assert (first.pictures, first.encoded, first.known, first.forgotten) == (9, 9, 0, 0)
    before = state(tmp_path / "index")
    again = bring(pictures, tmp_path / "index")
    assert (again.pictures, again.encoded, again.known, again.forgotten) == (9, 0, 0, 0)
    assert state(tmp_path / "index") == before


def test_new_pictures_cost_what_they_are_and_moved_ones_nothing(pictures, tmp_path, monkeypatch):
    bring(pictures, tmp_path / "index")
    draw_example(tmp_path / "more", images=3, seed=5)
    for path in (tmp_path / "more/images").glob("*.png"):
        shutil.copy(path, pictures / f"new-{path.name}")
    (pictures / "00000.png").rename(pictures / "moved.png")
    shutil.copy(pictures / "00003.png", pictures / "copied.png")
    sizes = []
    embed = updating.embed
    monkeypatch.setattr(updating, "embed", lambda a, some, *rest: sizes.append(len(some)) or embed(a, some, *rest))
    done = bring(pictures, tmp_path / "index")
    assert sum(sizes) == 3 and (done.pictures, done.encoded, done.known, done.forgotten) == (13, 3, 2, 1)
    whole = bring(pictures, tmp_path / "other")
    assert whole.encoded == 12  # the copy is encoded once
    one, other = (Collection(tmp_path / name, aligner=aligner()) for name in ("index", "other"))
    assert one.pictures["path"].tolist() == other.pictures["path"].tolist()
    assert torch.allclose(one.pooled, other.pooled, atol=1e-5)
    assert torch.allclose(one.units.maps, other.units.maps, atol=2e-3)


def test_gone_and_replaced_pictures_are_forgotten_whole(pictures, tmp_path):
    bring(pictures, tmp_path / "index")
    before = read_pictures(tmp_path / "index").set_index("path")["content"]
    (pictures / "00004.png").unlink()
    Image.new("RGB", (40, 40), "red").save(pictures / "00005.png")
    done = bring(pictures, tmp_path / "index")
    assert (done.pictures, done.encoded, done.forgotten) == (8, 1, 1)
    assert not any(thumbnail(tmp_path / "index", before[name]).exists() for name in ("00004.png", "00005.png"))
    stored = sum(len(updating.read_shard(path).pooled) for path in (tmp_path / "index" / SHARDS).glob("*"))
    assert stored == 8
    fresh = bring(pictures, tmp_path / "other")
    assert fresh.pictures == 8
    one, other = (Collection(tmp_path / name, aligner=aligner()) for name in ("index", "other"))
    assert torch.allclose(one.pooled, other.pooled, atol=1e-5)


def test_an_interrupted_call_goes_on(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(updating, "SHARD", 4)
    embed, calls = updating.embed, []

    def failing(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return embed(*given)

    monkeypatch.setattr(updating, "embed", failing)
    with pytest.raises(KeyboardInterrupt):
        bring(pictures, tmp_path / "index")
    stray = f"{'0f' * 16}.safetensors"
    for name in (stray, f".{stray}.abcd_123.part"):
        (tmp_path / "index" / SHARDS / name).write_bytes(b"left behind")
    done = bring(pictures, tmp_path / "index")
    assert (done.pictures, done.encoded) == (9, 5)
    assert len(list((tmp_path / "index" / SHARDS).glob("*"))) == 3


@pytest.mark.parametrize(
    ("step", "call_"),
    [
        ("embed", 2),
        ("write_shard", 1),
        ("write_shard", 3),
        ("write_pictures", 1),
        ("write_pictures", 2),
        ("remove_unnamed", 1),
    ],
)
def test_a_call_that_is_killed_wherever_leaves_nothing_of_what_is_gone(pictures, tmp_path, monkeypatch, step, call_):
    monkeypatch.setattr(updating, "SHARD", 4)
    out = tmp_path / "index"
    bring(pictures, out)
    draw_example(tmp_path / "more", images=6, seed=5)
    for path in (tmp_path / "more/images").glob("*.png"):
        shutil.copy(path, pictures / f"new-{path.name}")
    (pictures / "00004.png").unlink()
    real, calls = getattr(updating, step), []

    def killed(*given):
        calls.append(1)
        if len(calls) == call_:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(updating, step, killed)
        bring(pictures, out)
    (pictures / "00006.png").unlink()
    (pictures / "new-00000.png").unlink()
    assert bring(pictures, out).pictures == 12
    table = read_pictures(out)
    shards = list((out / SHARDS).iterdir())
    assert {path.name for path in shards} == set(table["shard"])
    assert sum(len(updating.read_shard(path).pooled) for path in shards) == 12
    small = {path for path in (out / "thumbnails").rglob("*") if path.is_file()}
    assert small == {thumbnail(out, content) for content in table["content"]}
    bring(pictures, tmp_path / "fresh")
    one, other = (Collection(tmp_path / name, aligner=aligner()) for name in ("index", "fresh"))
    assert torch.allclose(one.pooled, other.pooled, atol=1e-5)


@pytest.mark.parametrize("name", ["notes.txt", "shards/weights.safetensors", ".hidden", "thumbnails/a.jpg"])
def test_a_folder_that_holds_something_else_is_no_place_for_an_index(pictures, tmp_path, name):
    out = tmp_path / "mine"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("a user's own")
    result = call("index", pictures, "--out", out)
    assert result.exit_code == 1 and result.stderr.count("\n") == 1, result.output
    assert "is no index (it has no index.json) and not empty" in result.stderr
    assert "choose a new or an empty folder" in result.stderr
    with pytest.raises(UserError, match="not empty"):
        bring(pictures, out)
    assert [path for path in out.rglob("*") if path.is_file()] == [out / name]


def test_what_a_killed_call_left_is_a_place_for_an_index(pictures, tmp_path):
    out = tmp_path / "index"
    out.mkdir()
    for name in (".lock", ".index.json.abcd_123.part"):
        (out / name).write_text("")
    assert bring(pictures, out).pictures == 9


def test_what_no_index_writes_stays_in_one(pictures, tmp_path):
    out = tmp_path / "index"
    bring(pictures, out)
    names = (
        "weights.safetensors",
        "notes.txt",
        f"{'0F' * 16}.safetensors",
        f"{'0f' * 16}.safetensors.txt",
        "beach.jpg",
    )
    own = [out / place / name for place in (SHARDS, "thumbnails", "thumbnails/0f", ".") for name in names]
    folder = out / SHARDS / f"{'0e' * 16}.safetensors"
    folder.mkdir()
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text("a user's own")
    (pictures / "00001.png").unlink()
    assert bring(pictures, out).forgotten == 1
    assert {path.read_text() for path in own} == {"a user's own"} and folder.is_dir()


def test_what_is_no_picture_is_counted_and_links_are_not_followed(pictures, tmp_path):
    (pictures / "notes.txt").write_text("x")
    (pictures / "broken.jpg").write_bytes(b"no picture")
    os.mkfifo(pictures / "pipe.png")
    (pictures / ".hidden.png").write_bytes(b"x")
    outside = tmp_path / "secret.png"
    Image.new("RGB", (9, 9)).save(outside)
    os.symlink(outside, pictures / "link.png")
    os.symlink(tmp_path, pictures / "folder")
    Image.new("CMYK", (30, 20)).save(pictures / "inks.tiff")
    Image.new("RGB", (30, 20)).save(pictures / "UPPER.WEBP")
    done = bring(pictures, tmp_path / "index")
    assert done.pictures == 11
    assert done.skipped.counts == {
        "links are not followed; index the folder that they lead to, or put copies in their place": 2,
        "files are in no format of a picture": 1,
        "files cannot be read as a picture": 2,
    }
    assert any("inks" in text for _, text in done.skipped.changes.lines(own=True))


def refusing(monkeypatch, name, *places):
    """Let the operating system refuse to look at some places, as it does for another user or a broken disk."""
    real, refused = getattr(os, name), {str(place) for place in places}

    def look(path=".", *given, **named):
        if isinstance(path, str | os.PathLike) and os.fspath(path) in refused:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path, *given, **named)

    monkeypatch.setattr(os, name, look)


@pytest.fixture
def nested(pictures, tmp_path):
    """Five pictures in the folder, two below it, two in a folder below that one."""
    (pictures / "below/deep").mkdir(parents=True)
    for name, place in (("5", "below"), ("6", "below"), ("7", "below/deep"), ("8", "below/deep")):
        (pictures / f"0000{name}.png").rename(pictures / place / f"{name}.png")
    bring(pictures, tmp_path / "index")
    return pictures


@pytest.mark.parametrize(
    ("name", "place", "kept", "reason"),
    [
        ("scandir", "below", {"below/5.png", "below/6.png", "below/deep/7.png", "below/deep/8.png"}, "folders cannot"),
        ("scandir", "below/deep", {"below/deep/7.png", "below/deep/8.png"}, "folders cannot"),
        ("stat", "below/5.png", {"below/5.png"}, "files cannot be looked at"),
    ],
)
def test_what_cannot_be_looked_at_is_counted_and_kept(nested, tmp_path, monkeypatch, name, place, kept, reason):
    before = state(tmp_path / "index")
    with monkeypatch.context() as patch:
        refusing(patch, name, nested / place)
        done = bring(nested, tmp_path / "index")
        (line,) = done.skipped.lines()
        assert line.startswith(f"1 {reason}") and line.endswith(f"(such as {place})")
        assert (done.pictures, done.encoded, done.forgotten) == (9, 0, 0) and state(tmp_path / "index") == before
        (nested / "00001.png").unlink()
        draw_example(tmp_path / "more", images=1, seed=5)
        shutil.copy(tmp_path / "more/images/00000.png", nested / "new.png")
        done = bring(nested, tmp_path / "index")
        assert (done.pictures, done.encoded, done.forgotten) == (9, 1, 1)
    assert kept <= set(read_pictures(tmp_path / "index")["path"])
    shutil.rmtree(nested / "below")  # and now it can be seen that nothing is there
    assert bring(nested, tmp_path / "index").pictures == 5


def test_a_folder_that_is_empty_or_cannot_be_read_changes_nothing(nested, tmp_path, monkeypatch):
    before = state(tmp_path / "index")
    with monkeypatch.context() as patch:
        refusing(patch, "scandir", nested)
        with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
            bring(nested, tmp_path / "index")
        with pytest.raises(UserError, match="cannot be read"):
            bring(nested, tmp_path / "other")
    nested.rename(tmp_path / "kept")
    for content in (None, "notes.txt", "broken.png"):
        nested.mkdir(exist_ok=True)
        for path in nested.iterdir():
            path.unlink()
        if content is not None:
            (nested / content).write_text("no picture")
        with pytest.raises(UserError, match="no picture in it can be indexed; .*; .* stays as it is"):
            bring(nested, tmp_path / "index")
        assert state(tmp_path / "index") == before and not (tmp_path / "other").exists()
    shutil.rmtree(nested)
    (tmp_path / "kept").rename(nested)
    assert bring(nested, tmp_path / "index").encoded == 0
    with monkeypatch.context() as patch:  # nothing was known of what cannot be read
        refusing(patch, "scandir", tmp_path / "closed/below")
        (tmp_path / "closed/below").mkdir(parents=True)
        with pytest.raises(UserError, match="no picture in it can be indexed; 1 folders cannot be read"):
            bring(tmp_path / "closed", tmp_path / "third")


def test_the_first_stage_is_the_whole_ranking(monkeypatch):
    found = collection()
    aligned = aligner()
    files = [found.file(row) for row in range(len(found))]
    images = aligned.signal.encoder.images([Image.open(file).convert("RGB") for file in files]).pooled
    text = aligned.signal.encoder.texts([WORDS]).pooled[0]
    cosine = (images @ text).numpy()
    answer = found.search(WORDS, top=24)
    assert [hit.picture for hit in answer.hits] == np.argsort(-cosine, kind="stable").tolist()
    assert [hit.score for hit in answer.hits] == pytest.approx(sorted(cosine.tolist(), reverse=True), abs=1e-5)
    local = aligned.local(aligned.prototypes(files), WORDS)
    ranks = [int((local > local[hit.picture]).sum()) for hit in answer.hits]
    assert np.abs(np.array(ranks) - [hit.local_rank for hit in answer.hits]).max() <= 1
    assert all(0 <= hit.agreement <= 1 for hit in answer.hits)
    assert {match.words for hit in answer.hits for match in hit.matches} & {"a red circle", "a blue square"}


def test_the_second_look_gives_the_methods_own_scores(monkeypatch):
    found = collection()
    answer = found.search(WORDS, top=5, rerank=True)
    files = [found.file(row) for row in range(len(found))]
    exact = aligner().score(files, [WORDS])[:, 0]
    assert answer.reranked
    # Stored in half precision.
    assert [hit.score for hit in answer.hits] == pytest.approx(
        exact.sort(descending=True).values[:5].tolist(), abs=5e-3
    )
    monkeypatch.setattr(searching, "CANDIDATES", 6)
    few = found.search(WORDS, top=3, rerank=True)
    first = {hit.picture for hit in found.search(WORDS, top=6).hits}
    assert {hit.picture for hit in few.hits} <= first


RULE = TrustRule(
    centre=(0.0,) * len(PREDICTORS),
    spread=(1.0,) * len(PREDICTORS),
    weight=(0.2,) * len(PREDICTORS),
    intercept=-0.5,
    gallery=24,
    queries=9,
    wrong=0.5,
    auroc=0.5,
)


def judging(method):
    """The collection with a model of some method that has a rule for first answers."""
    known = aligner() if method == "vialign" else aligner_of_run(finished_run()[0].config, method)
    about = known.about.model_copy(update={"trust": RULE})
    return Collection(
        collection().folder, aligner=Aligner(known.backbone, known.method, known.config, known.signal, about)
    )


@pytest.mark.parametrize(
    ("method", "rerank", "candidates"),
    [("vialign", True, 24), ("vialign", True, 6), ("frozen", False, 24), ("frozen", True, 24)],
)
def test_the_rule_judges_the_scores_that_it_was_fitted_on(monkeypatch, method, rerank, candidates):
    monkeypatch.setattr(searching, "CANDIDATES", candidates)
    found = judging(method)
    answer = found.search(WORDS, top=candidates, rerank=rerank)
    scores = np.array([[hit.score for hit in answer.hits]])
    local = found.aligner.local(found.units, WORDS)[[hit.picture for hit in answer.hits]].double().numpy()[None]
    read = predictors_of(scores, found.aligner.backbone.logit_scale, np.array([0]), local)
    assert scores.shape == (1, candidates) and answer.trust.right == pytest.approx(RULE.right(read)[0], abs=1e-5)


def test_no_rule_of_a_method_judges_the_frozen_cosine():
    trust = judging("vialign").search(WORDS).trust
    assert trust.right is None and "likely right" not in str(trust)
    assert trust.similarity == pytest.approx(judging("vialign").search(WORDS).hits[0].score)
    assert trust.local_rank is not None


def test_faiss_searches_large_collections_where_it_is_installed(monkeypatch):
    found = collection()
    expected = [hit.picture for hit in found.search(WORDS, top=7).hits]

    class Flat:
        def __init__(self, dimension):
            self.dimension = dimension

        def add(self, rows):
            self.rows = rows

        def search(self, queries, count):
            scores = queries @ self.rows.T
            order = np.argsort(-scores, axis=1)[:, :count]
            return np.take_along_axis(scores, order, 1), order

    made = []
    fake = types.ModuleType("faiss")
    fake.IndexFlatIP = lambda dimension: made.append(dimension) or Flat(dimension)
    fake.__spec__ = types.SimpleNamespace(name="faiss")
    monkeypatch.setitem(sys.modules, "faiss", fake)
    monkeypatch.setattr(searching, "MANY", 10)
    found.__dict__.pop("_faiss", None)
    assert [hit.picture for hit in found.search(WORDS, top=7).hits] == expected and made == [16]
    found.__dict__.pop("_faiss", None)


def test_a_file_is_given_only_while_it_lies_in_the_folder(pictures, tmp_path):
    bring(pictures, tmp_path / "index")
    found = Collection(tmp_path / "index", aligner=aligner())
    assert found.file(0) == (pictures / "00000.png").resolve()
    (pictures / "00000.png").unlink()
    assert found.file(0) is None
    outside = tmp_path / "secret.png"
    outside.write_bytes(b"secret")
    os.symlink(outside, pictures / "00000.png")
    assert found.file(0) is None
    found.pictures.loc[1, "path"] = "../../secret.png"
    assert found.file(1) is None


def test_an_index_of_something_else_is_refused(pictures, tmp_path):
    bring(pictures, tmp_path / "index")
    other = tmp_path / "others"
    shutil.copytree(pictures, other)
    with pytest.raises(UserError, match="is the index of"):
        bring(other, tmp_path / "index")
    head = json.loads((tmp_path / "index/index.json").read_text())
    head["contract"]["checkpoint"] = "another"
    (tmp_path / "index/index.json").write_text(json.dumps(head))
    with pytest.raises(UserError, match="made with a backbone whose checkpoint is 'another'"):
        bring(pictures, tmp_path / "index")
    with pytest.raises(UserError, match="made with another backbone"):
        Collection(tmp_path / "index", aligner=aligner())
    with pytest.raises(UserError, match="no index there"):
        Collection(tmp_path)
    for text in ("{", "[]", '{"format": 2}', '{"format": 1, "pictures": 3}'):
        (tmp_path / "index/index.json").write_text(text)
        with pytest.raises(UserError, match=r"index\.json"):
            Collection(tmp_path / "index")


def fit_again(folder, name, field=None):
    """Change a file of units as another fit under the same name does; or only what it says of one field."""
    said, tensors = read_provenance(folder / name), read_tensors(folder / name)
    if field is None:
        largest = max(tensors, key=lambda key: tensors[key].numel())
        tensors[largest] = tensors[largest] + 0.5
    else:
        numbers = json.loads(said["numbers"])
        said["numbers"] = json.dumps({**numbers, field: 2 * numbers[field]})
    write_tensors(tensors, folder / name, said)


@pytest.mark.parametrize("field", [None, "temperature"])
def test_an_index_whose_units_were_fitted_again_under_their_name_is_refused(pictures, tmp_path, field):
    model = tmp_path / "model"
    shutil.copytree(exported(), model)
    out = tmp_path / "index"
    assert call("index", pictures, "--out", out, "--model", model).exit_code == 0
    fit_again(model, TEXT)  # what reads the words is no part of an index
    assert call("index", pictures, "--out", out).exit_code == 0
    before = state(out)
    fit_again(model, VISUAL, field)
    (pictures / "00001.png").unlink()
    for words in (("index", pictures, "--out", out), ("search", out, WORDS)):
        result = call(*words)
        assert result.exit_code == 1 and "was made with other units than" in result.stderr, result.output
        assert "delete the index and index the pictures again" in result.stderr.splitlines()[-1]
    assert state(out) == before


def test_an_index_that_does_not_say_its_units_is_refused(pictures, tmp_path):
    bring(pictures, tmp_path / "index")
    head = json.loads((tmp_path / "index/index.json").read_text())
    assert len(head.pop("units_digest")) == 64
    (tmp_path / "index/index.json").write_text(json.dumps(head))
    for use in (lambda: bring(pictures, tmp_path / "index"), lambda: Collection(tmp_path / "index", aligner=aligner())):
        with pytest.raises(UserError, match="does not say which units made it.*index the pictures again"):
            use()


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_commands_index_and_search(pictures, tmp_path):
    out = tmp_path / "index"
    made = call("index", pictures, "--out", out, "--model", exported())
    assert made.exit_code == 0 and "9 pictures: 9 encoded, 0 known" in made.stdout, made.output
    again = call("index", pictures, "--out", out)
    assert again.exit_code == 0 and "9 pictures: 0 encoded" in again.stdout
    page = tmp_path / "found.html"
    found = call("search", out, WORDS, "--top", 3, "--rerank", "--html", page)
    assert found.exit_code == 0, found.output
    assert len([line for line in found.stdout.splitlines() if line.endswith(".png")]) == 3
    assert "the first: " in found.stdout and page.read_text().count("data:image/jpeg;base64,") == 3
    told = json.loads(call("search", out, WORDS, "--rerank", "--json").stdout)
    rows, trust = told["hits"], told["trust"]
    assert [row["rank"] for row in rows] == list(range(1, 10)) and {"path", "score", "local_rank"} <= set(rows[0])
    assert told["reranked"] and set(trust) == {"right", "similarity", "margin", "local_rank", "local_gap"}
    assert trust["similarity"] == pytest.approx(rows[0]["score"])
    assert trust["margin"] == pytest.approx(rows[0]["score"] - rows[1]["score"])
    (pictures / "00000.png").rename(tmp_path / "only.png")
    shutil.rmtree(pictures)
    pictures.mkdir()
    (tmp_path / "only.png").rename(pictures / "only.png")
    assert call("index", pictures, "--out", out).exit_code == 0
    told = json.loads(call("search", out, WORDS, "--json").stdout)
    assert told["trust"] is None and len(told["hits"]) == 1 and not told["reranked"]


@pytest.mark.parametrize("sign", ["\x1b]0;title\x07\x1b[31m", "\n\r\x7f", "\x9b2J\u202e\u2028"])
def test_a_name_of_a_file_moves_no_cursor(pictures, tmp_path, sign):
    out = tmp_path / "index"
    (pictures / "00000.png").rename(pictures / f"a{sign}b.png")
    Image.new("CMYK", (30, 20)).save(pictures / f"c{sign}d.tiff")
    for name in (f"e{sign}f.txt", f"g{sign}h.png"):
        (pictures / name).write_text("no picture")
    os.symlink(pictures / "00001.png", pictures / f"i{sign}j.png")
    made = call("index", pictures, "--out", out)
    found = call("search", out, WORDS, "--top", 11)
    assert made.exit_code == found.exit_code == 0, made.output + found.output
    shown = "".join(letter if letter.isprintable() else " " for letter in sign)
    assert shown != sign
    hits = found.stdout.split("\n")
    assert all(line.isprintable() for line in hits) and len(hits) == 12
    assert any(line.endswith(f"  a{shown}b.png") for line in hits)
    said = [line for line in made.stderr.split("\n") if line.startswith("vialign: ")]
    assert all(line.isprintable() for line in said)
    for name in (f"c{shown}d.tiff", f"e{shown}f.txt", f"g{shown}h.png", f"i{shown}j.png"):
        assert any(line.endswith(f"(such as {name})") for line in said), (name, said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("search", "{index}", "  "), "no words given"),
        (("index", "{pictures}", "--out", "{pictures}/inside"), "lies in the folder of the pictures"),
        (("index", "{nothing}", "--out", "{out}"), "no such folder of pictures"),
        (("index", "{empty}", "--out", "{out}"), "no picture in it can be indexed; it is empty"),
        (("search", "{nothing}", "a dog"), "no index there; make one with `vialign index`"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path, words, message):
    found = collection()
    (tmp_path / "empty").mkdir()
    places = {"index": found.folder, "pictures": found.head.pictures, "nothing": tmp_path / "nothing"}
    places |= {"empty": tmp_path / "empty", "out": tmp_path / "out"}
    result = call(*[word.format(**places) for word in words])
    assert result.exit_code == 1 and message in result.stderr.splitlines()[-1], result.output


def test_a_plain_model_finds_pictures_without_phrases(pictures, tmp_path, capsys):
    made = call("index", pictures, "--out", tmp_path / "index")
    assert made.exit_code == 0, made.output
    head = tmp_path / "index/index.json"
    head.write_text(
        json.dumps({key: value for key, value in json.loads(head.read_text()).items() if value is not None})
    )
    found = Collection(tmp_path / "index")  # without units an earlier index says as much
    answer = found.search(WORDS, rerank=True)
    assert not answer.reranked and answer.hits[0].matches == () and answer.trust.right is None
    capsys.readouterr()
    found.search("red circle " * 50)
    assert "search: the words: longer than the model reads; the end is cut off" in capsys.readouterr().err
    assert HOSTILE not in found.pictures["path"].tolist()
