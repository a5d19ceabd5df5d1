import subprocess
import sys
import warnings

from vialign.backbone.torchvision_shim import define_missing_operators


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_torchvision_imports_and_the_schemas_are_declared_only_where_that_needs_them():
    bare = python("import torchvision")
    shimmed = python(
        "from importlib import util; import sys\n"
        "path = util.find_spec('vialign').submodule_search_locations[0] + '/backbone/torchvision_shim.py'\n"
        "spec = util.spec_from_file_location('shim', path); shim = util.module_from_spec(spec)\n"
        "spec.loader.exec_module(shim); print(shim.define_missing_operators())\n"
        "import torch, torchvision; print(torchvision.extension._has_ops(), hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert shimmed.returncode == 0, shimmed.stderr
    declared, compiled, known = shimmed.stdout.split()
    assert known == "True"
    assert declared == str(bare.returncode != 0)
    assert (declared == "True") == (compiled == "False")


def test_a_second_call_does_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert define_missing_operators() is False
