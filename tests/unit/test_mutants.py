"""The program that tries the mutants: what has not been proven is never counted as killed."""

import importlib.util
from pathlib import Path

RUN = Path(__file__).resolve().parents[1] / "mutants" / "run.py"
PATCH = "# test: test_a.py::test_a\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"


def test_a_test_that_does_not_end_in_time_proves_nothing(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("mutants_run", RUN)
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    for name in ("tree", "repository"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("x = 1\n")
    (tmp_path / "tree" / "test_a.py").write_text("import time\n\n\ndef test_a():\n    time.sleep(60)\n")
    (tmp_path / "one.patch").write_text(PATCH)
    monkeypatch.setattr(run, "REPOSITORY", tmp_path / "repository")
    monkeypatch.setattr(run, "TIMEOUT_S", 0.2)
    verdict = run.try_mutant(tmp_path / "tree", run.read_mutant(tmp_path / "one.patch"))
    assert verdict.startswith("not proven")
