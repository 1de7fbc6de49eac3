"""The benchmark of large sets, on a small one."""

import json

import cli
from benchmarks import openimages


def test_the_benchmark_of_large_sets_runs_through(tmp_path, capsys):
    flags = ["--images", "600", "--classes", "40", "--rows", "4000", "--corrections", "2"]
    out = tmp_path / "openimages.json"
    assert cli.run(openimages.main, [*flags, "--folder", str(tmp_path), "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found == json.loads(capsys.readouterr().out)
    assert found["prepare"]["classes"] == 40
    images = found["prepare"]["images"]
    assert found["labels"]["corrections"] == 2 * images
    assert found["labels"]["bytes_a_correction"] == 2
    assert found["start"]["seconds_to_the_first_step"] > 0
    assert list(tmp_path.iterdir()) == [out], "nothing is left behind"
