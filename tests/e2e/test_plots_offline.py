"""The page of `dvc plots diff`, in a browser that the network does not answer."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.e2e.browser import CHROMIUM, look, texts
from tests.e2e.project import Project

pytestmark = pytest.mark.long

DVC_YAML = """plots:
- Losses:
    x:
      losses.csv: kimg
    y:
      losses.csv:
      - lossD
      - lossG
- quick.csv:
    x: kimg
    y: kid
"""


@pytest.fixture(scope="module")
def page(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with two charts of two revisions each, in a project that `make setup` has set up."""
    project = Project(tmp_path_factory.mktemp("plots") / "project")
    project.folder.mkdir()
    (project.folder / "dvc.yaml").write_text(DVC_YAML)
    (project.folder / "losses.csv").write_text("kimg,lossD,lossG\n1,2,3\n2,1,4\n3,1,2\n")
    (project.folder / "quick.csv").write_text("kimg,kid\n1,20\n2,10\n")
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "first")
    (project.folder / "quick.csv").write_text("kimg,kid\n1,30\n2,15\n")
    project.environment["PYTHONPATH"] = f"{root}:{project.environment.get('PYTHONPATH', '')}"
    project.run(sys.executable, "-m", "pipeline.plots_page")
    address = project.run("dvc", "plots", "diff", "HEAD", "--out", "drawn").split()[-1]
    return Path(address.removeprefix("file://"))


def test_the_page_holds_all_scripts(page: Path) -> None:
    document = page.read_text()
    assert document.count("vegaEmbed('#") == 2
    assert re.findall(r"<(?:script|link)\s[^>]*(?:src|href)=[^>]*>", document) == []


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM} here")
def test_the_charts_are_drawn_without_the_network(page: Path, tmp_path: Path) -> None:
    log = tmp_path / "network.json"
    flags = ("--host-resolver-rules=MAP * ~NOTFOUND", f"--log-net-log={log}")
    document = look(page.as_uri(), tmp_path / "profile", *flags)
    shown = texts(document)
    assert {"Losses", "quick.csv"} <= set(shown)
    assert shown.count("HEAD") == shown.count("workspace") == 2
    # Beside each line lies a paler one, which is 20 % opaque, for pointing at.
    lines = re.findall(r'"line mark" d="([^"]+)"(?![^>]* opacity)', document)
    assert [line.count("L") + 1 for line in lines] == [3, 3, 3, 3, 2, 2]
    # Chromium itself asks Google for this and that.
    asked = set(re.findall(r'"url":"https?://([^/"]+)', log.read_text()))
    assert {host for host in asked if not re.search(r"(google|googleapis|gvt1)\.com$", host)} == set()
