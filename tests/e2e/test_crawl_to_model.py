"""A site of drawn faces, from a server on loopback, crawled and trained on by one `dvc repro`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.codec import encode_png
from pipeline.records import read_rows
from pipeline.sources.builtin import draw
from tests.e2e.project import Project
from tests.sources.server import serving

STAGES = ["crawl-import", "filter", "resize", "train", "evaluate"]
FACES, PAGES = 72, 3

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
]


def test_from_a_site_to_a_model(new_project: Callable[[], Project]) -> None:
    project = new_project()
    with serving() as server:
        for page in range(PAGES):
            shown = "".join(f'<img src="/faces/{face}.png">' for face in range(page, FACES, PAGES))
            server.files[f"/gallery/{page}.html"] = f'<a href="{page + 1}.html">next</a> {shown}'.encode()
        server.files |= {f"/faces/{face}.png": encode_png(draw(7, face, 64)) for face in range(FACES)}
        recipe = {
            "kind": "site",
            "start": [f"{server.address}/gallery/0.html"],
            "allowed_hosts": ["127.0.0.1"],
            "follow": {"css": "a", "pattern": f"/gallery/[0-{PAGES - 1}].html"},
            "images": {"css": "img"},
            "licence": "CC0",
        }
        (project.folder / "site.yaml").write_text(json.dumps(recipe))
        lifted = {"allow_private": True, "delay": 0.0, "per_host": 8}
        project.edit("params.yaml", {"dataroot": "site.yaml", "crawl": lifted})
        printed = project.run("dvc", "repro")
        assert f"crawl: {FACES} of {FACES} URLs gave an image" in printed
        assert {path: server.asked[path] for path in server.files} == dict.fromkeys(server.files, 1)

    assert [stage for stage in STAGES if f"Running stage '{stage}'" in printed] == STAGES
    (parent,) = project.parents()
    assert project.children(parent) == STAGES
    assert {run.info.status for run in project.runs()} == {"FINISHED"}
    for name in ("generator", "generator_live", "discriminator"):
        assert (project.folder / f"models/{name}.safetensors").stat().st_size > 0
    assert json.loads((project.folder / "metrics/evaluate.json").read_text())["n_generated"] == 64

    rows = list(read_rows(project.folder / "data/raw/00000.parquet", ["row", "url", "page_url", "licence", "id"]))
    trained_on = pq.read_table(project.folder / "data/faces/index.parquet", filters=[("array", "=", "train")])
    assert len(np.load(project.folder / "data/faces/train.npy")) == len(trained_on) > FACES / 3
    for at in (0, len(trained_on) - 1):
        told = project.run("dcgan", "explain", f"train:{at}")
        (page_url,) = re.findall(r"^  page url: (.*)$", told, re.MULTILINE)
        (url,) = re.findall(r"^  url: (.*)$", told, re.MULTILINE)
        face = int(url.removeprefix(f"{server.address}/faces/").removesuffix(".png"))
        assert page_url == f"{server.address}/gallery/{face % PAGES}.html"
        (row,) = (row for row in rows if row["url"] == url)
        assert row["id"] in told
        assert row["row"] in trained_on["row"].to_pylist()
        assert "licence: CC0" in told
