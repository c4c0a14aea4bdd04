"""Digests as DVC itself takes them."""

import subprocess
from pathlib import Path

from pipeline.dvc_cache import folder_md5


def test_a_folder_has_the_digest_that_dvc_gives_it(tmp_path: Path) -> None:
    for name in ("a.py", "a_b.py", "a/z.py", "a/__pycache__/z.pyc"):
        file = tmp_path / "code" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / ".dvcignore").write_text("__pycache__/")
    for command in (["init", "--quiet", "--no-scm"], ["add", "--quiet", "code"]):
        subprocess.run(["dvc", *command], cwd=tmp_path, check=True)
    assert f"md5: {folder_md5(tmp_path / 'code')}" in (tmp_path / "code.dvc").read_text()
