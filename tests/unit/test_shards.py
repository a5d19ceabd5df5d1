"""Shards of a split: which items they hold, and files that are put together of what they made."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.config.experiment import Config
from vialign.config.sections import EVERYTHING, Reads, UndeclaredSection, guarded, section_digests
from vialign.errors import UserError
from vialign.files import shards
from vialign.files.artifacts import write_table, write_text
from vialign.files.shards import Shard, gathered_provenance, link
from vialign.tables.evaluation import SPENDING


@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 20))
def test_shards_follow_each_other_in_whole_runs_and_none_has_two_runs_more_than_another(count, unit, of):
    found = [Shard(number, of).rows(count, unit) for number in range(1, of + 1)]
    assert [item for rows in found for item in rows] == list(range(count))
    assert all(rows.start % unit == 0 or not rows for rows in found)
    runs = [-(-len(rows) // unit) for rows in found]
    assert max(runs) - min(runs) <= 1


def test_a_job_is_told_its_shard_by_its_name_and_alone_it_has_all():
    assert Shard.of_job(SimpleNamespace(split="test", shard="2-of-12")) == Shard(2, 12)
    assert Shard.of_job(SimpleNamespace(split="test")) == Shard()
    assert Shard().rows(7, 3) == range(7)


def test_how_many_shards_there_are_is_part_of_no_section_and_no_rule_reads_it():
    one, three = (section_digests(Config(shards=number).model_dump(mode="json"), *EVERYTHING) for number in (1, 3))
    assert one == three
    with pytest.raises(UndeclaredSection, match="read `shards` of the configuration"):
        guarded(Config(), Reads("encode_split", ["seed"])).shards  # noqa: B018


def test_what_is_put_together_says_what_its_parts_say_and_its_own_maker(tmp_path):
    part = tmp_path / "part.parquet"
    write_table(SPENDING.empty(), SPENDING, part, {"rule": "a_shard", "readout": "value", "wildcard_shard": "1-of-2"})
    said = gathered_provenance(part, {"rule": "gather"})
    assert said == {"rule": "gather", "readout": "value"}


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_linked_or_copied_in_place_of_another(tmp_path, monkeypatch, links):
    def refuse(*names):
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(shards.os, "link", refuse)
    source, target = tmp_path / "source", tmp_path / "target"
    write_text("new", source)
    write_text("old", target)
    link(source, target)
    assert target.read_text() == "new" and target.samefile(source) == links
    source.unlink()
    assert target.read_text() == "new"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    write_text("new", tmp_path / "source")
    write_text("a file", tmp_path / "no folder")
    with pytest.raises(UserError, match="cannot be written"):
        link(tmp_path / "source", tmp_path / "no folder" / "target")
