import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import spacy
from spacy.tokens import Doc

from vialign.config.data import LanguageConfig
from vialign.config.gates import SignalGateConfig
from vialign.config.signal import SignalConfig
from vialign.errors import UserError
from vialign.files.artifacts import read_provenance, read_table
from vialign.gates.signal import signal_verdict
from vialign.signal.validation.diagnosis import diagnose
from vialign.tables.data import PROBLEMS
from vialign.tables.signal import PROBE, SIGNAL_CALIBRATION
from vialign.toolkit import find_parser
from vialign.toolkit.captions import Captions
from vialign.toolkit.diagnosing import Diagnosis, table_lines, verdict_lines
from vialign.toolkit.encoder import parse
from vialign.toolkit.images import Broken, draw_parts, draw_unused
from vialign.toolkit.writing import ROWS, stream_table

TREE = """# text = A red dog runs
1\tA\ta\tDET\tDT\t_\t3\tdet\t_\t_
2\tred\tred\tADJ\tJJ\t_\t3\tamod\t_\t_
3\tdog\tdog\tNOUN\tNN\t_\t4\tnsubj\t_\t_
4\truns\trun\tVERB\tVBZ\t_\t0\troot\t_\t_

"""


def rows(count, first=0):
    names = [f"r{first + row}" for row in range(count)]
    return pd.DataFrame({"file": names, "row": names, "problem": "x"})


def test_a_stream_of_blocks_is_one_table_with_its_provenance(tmp_path):
    path = tmp_path / "p.parquet"
    with stream_table(PROBLEMS, path, {"seed": "0"}) as file:
        for first in range(0, 3 * ROWS, 1000):
            file.append(rows(1000, first))
            assert sum(len(block) for block in file._waiting) < ROWS + 1000
        assert not path.exists()
    read = read_table(path, PROBLEMS)
    assert read["row"].tolist() == [f"r{row}" for row in range(file.rows)]
    assert read_provenance(path) == {"seed": "0", "table": "problems"}
    assert pq.ParquetFile(path).num_row_groups == 3


def test_an_empty_stream_is_an_empty_table(tmp_path):
    with stream_table(PROBLEMS, tmp_path / "p.parquet", {}):
        pass
    assert read_table(tmp_path / "p.parquet", PROBLEMS).empty


def test_a_stream_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "p.parquet"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="missing columns"), stream_table(PROBLEMS, path, {}) as file:
        file.append(rows(3))
        file.append(rows(3).drop(columns="problem"))
    assert path.read_bytes() == b"before"
    assert [found.name for found in tmp_path.iterdir()] == ["p.parquet"]


class Reader:
    """Finds one noun phrase in texts that begin with `red`, and nothing in others."""

    def __init__(self):
        self.vocab = spacy.blank("en").vocab

    def __call__(self, text):
        words = text.split()
        tags = ["JJ" if word == "red" else "NN" for word in words] if words[0] == "red" else ["FW"] * len(words)
        last = len(words) - 1
        heads, labels = [last] * len(words), ["amod"] * last + ["ROOT"]
        return Doc(self.vocab, words=words, tags=tags, heads=heads, deps=labels)

    def pipe(self, texts, **_):
        return (self(text) for text in texts)


def test_texts_without_a_phrase_stand_as_one_unit_and_are_told():
    units, parsed = parse(["red dog", "of of", "red cat"], ["a", "b", "c"], Reader())
    assert parsed == [True, False, True]
    whole = units[units["text_id"] == "b"]
    assert whole[["kind", "start", "end"]].to_numpy().tolist() == [["entity", 0, 5]]
    assert parse(["red dog"], ["a"], Reader())[1] == [True]


def test_a_phrase_that_is_the_whole_text_counts_as_found():
    class Noun(Reader):
        def __call__(self, text):
            return Doc(self.vocab, words=["dogs"], tags=["NNS"], heads=[0], deps=["ROOT"])

    texts, names = ["dogs", "dogs"], ["a", "b"]
    units, parsed = parse(texts, names, Noun())
    assert len(units) == 2 and parsed == [True, True]


def test_the_drawn_parser_says_what_it_is_worth(capsys):
    nlp = find_parser(config=LanguageConfig(sentences=40, epochs=1))
    assert {"tagger", "parser"} <= set(nlp.pipe_names)
    line = capsys.readouterr().err.splitlines()[0]
    assert "no parser given" in line and "--pipeline FOLDER" in line and "--treebank FOLDER" in line


def test_a_treebank_folder_is_recognised(tmp_path, capsys):
    folder = tmp_path / "ud"
    folder.mkdir()
    for part in ("train", "dev"):
        (folder / f"en-ud-{part}.conllu").write_text(TREE * 6)
    nlp = find_parser(treebank=folder, config=LanguageConfig(sentences=6, epochs=30))
    assert [token.tag_ for token in nlp("A red dog runs")] == ["DT", "JJ", "NN", "VBZ"]
    assert "no parser given" not in capsys.readouterr().err


def test_parsers_that_are_none(tmp_path):
    with pytest.raises(UserError, match="not both"):
        find_parser(tmp_path, tmp_path)
    with pytest.raises(UserError, match="no such treebank folder"):
        find_parser(treebank=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"neither \*-train.conllu"):
        find_parser(treebank=tmp_path)
    with pytest.raises(UserError, match="no spaCy pipeline there"):
        find_parser(pipeline=tmp_path)


@pytest.fixture
def pictures(tmp_path):
    """Twelve files, of which two pairs have the same content."""
    from PIL import Image

    for number in range(12):
        shade = {1: 0, 3: 2}.get(number, number)
        Image.new("RGB", (4, 4), (20 * shade, 0, 0)).save(tmp_path / f"{number}.png")
    table = pd.DataFrame({"image_id": [f"{number}.png" for number in range(12)]})
    return Captions(tmp_path, tmp_path / "c.csv", table)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_picture_is_in_one_part_only(pictures, seed):
    parts = draw_parts(pictures, {"fit": 6, "calibration": 6}, seed, Broken())
    assert len(parts) == 10 and parts["content"].is_unique
    unused = draw_unused(pictures, set(parts["content"][:4]), 99, seed)
    assert len(unused) == 6


def test_a_shortage_falls_on_every_part(pictures):
    sizes = [draw_parts(pictures, {"fit": 8, "calibration": 4}, seed, Broken())["used_for"] for seed in range(20)]
    assert all(len(part) == 10 for part in sizes)
    assert {part.value_counts()["calibration"] for part in sizes} >= {2, 3, 4}


def judged(separation, blind=False, seed=0):
    """A diagnosis of planted scores: `separation` of true captions from shuffled ones by the driver, in deviations.

    Other signals tell random captions alone.
    """
    rng = np.random.default_rng(seed)
    names = [f"i{number}" for number in range(80)]
    frames = []
    for kind, shift in (("aligned", 0.0), ("shuffle", -separation), ("random", 0.0 if blind else -5.0)):
        values = rng.normal(size=len(names)) + shift
        text = [f"{name}#0" + ("" if kind != "shuffle" else "!shuffle") for name in names]
        frame = pd.DataFrame({"image_id": names, "text_id": np.roll(text, kind == "random"), "kind": kind})
        frame = frame.assign(consistency=1 / (1 + np.exp(-values)), local_entropy=0.5, certainty=0.5)
        for name in ("agreement", "s_global", "s_local", "s_local_plain", "s_sum", "consistency_raw"):
            frame[name] = 1 / (1 + np.exp(-rng.normal(size=len(names)) + 5.0 * (kind == "random" and not blind)))
        frames.append(frame.assign(s_global_calibrated=frame["s_global"], s_local_calibrated=frame["s_local"]))
    scores = pd.concat(frames, ignore_index=True)
    config, gate = SignalConfig(permutations=999, bootstrap=200), SignalGateConfig()
    table = diagnose(scores, config, gate.level, seed)
    line = {"slope": 1.0, "intercept": 0.0, "free_slope": 1.0, "pairs": 9, "auc": 0.9, "brier": 0.1}
    line |= {name: 0.1 for name in SIGNAL_CALIBRATION.columns if name not in line and name != "similarity"}
    calibration = pd.DataFrame([{"similarity": name, **line} for name in ("s_global", "s_local")])
    verdict = signal_verdict(scores, calibration, table, PROBE.empty(), None, None, config, gate, seed)
    return Diagnosis(table, verdict, scores, "consistency", gate)


def test_a_planted_signal_may_be_used_and_noise_may_not():
    found = judged(2.0)
    assert found.holds
    assert verdict_lines(found)[0].startswith("Verdict: consistency tells true captions from shuffle (AUC")
    assert "Not shown is what captions alone cannot tell" in verdict_lines(found)[0]
    assert len(verdict_lines(found)) == 1
    nothing = judged(0.0)
    assert not nothing.holds and "the control" not in verdict_lines(nothing)[0]
    assert verdict_lines(nothing)[0].startswith("Verdict: do not use consistency here. It is not shown that consist")


def test_the_blind_spot_is_told_in_words():
    lines = verdict_lines(judged(2.0, blind=True))
    assert "two low ones are consistent; `agreement` asks whether both say yes" in lines[-1]


def test_the_printed_table_has_a_row_a_kind_and_marks_what_is_above_chance():
    lines = table_lines(judged(2.0, blind=True))
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[1].startswith("random") and "]*" not in lines[1]
    assert lines[2].startswith("shuffle") and lines[2].count("]*") == 1 and lines[2].index("]*") < 45
    assert lines[2].endswith("80")
