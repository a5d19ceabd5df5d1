"""What the report says of the demo backbone that the run did not use."""

from unit.report.fake_results import fake_config, write_fake_results
from vialign.report.evidence import read_evidence
from vialign.report.sections.backbones import backbones


def test_each_demo_backbone_is_told_by_what_its_captions_said(tmp_path):
    evidence = read_evidence(write_fake_results(tmp_path), fake_config())
    for own, first, second in (
        ("package", "blind to relations", "relations hold"),
        ("package-truthful", "relations hold", "blind to relations"),
    ):
        page = "".join(map(str, backbones(evidence, fake_config(backbone={"checkpoint": own}))))
        told = page[page.index("Both are frozen") : page.index("</p>")]
        assert f"own, <code>{own}</code>" in told and told.index(first) < told.index(second)
        assert page.count("<figure") == 3 and page.count("<table") == 2


def test_a_run_with_another_backbone_says_nothing_of_them(tmp_path):
    evidence = read_evidence(write_fake_results(tmp_path), fake_config())
    assert backbones(evidence, fake_config(backbone={"checkpoint": "mine.safetensors"})) == []
