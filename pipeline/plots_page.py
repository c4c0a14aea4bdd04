"""The page that `dvc plots` fills with charts: with vega in it, which DVC's own page fetches from the network."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipeline.atomic import whole_file

PAGE = Path(".dvc/plots.html")
VEGA_LITE = "5.21"  # the newest of version 5, in which DVC writes its charts

# DVC puts its charts where the placeholder is; one for scripts would bring back those of the network.
TEMPLATE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<title>DVC Plot</title>
<style>table {{ border-spacing: 15px; }}</style>
<script>(() => {{ {vega} }})();</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def page() -> str:
    """Return the page, about 0.9 MB."""
    from vl_convert import javascript_bundle

    return TEMPLATE.format(vega=javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE))


def main() -> None:
    """Write the page, and have DVC use it in this clone.

    The setting is of the clone alone: where the page was not written, DVC would take its path for a page and fail.
    """
    with whole_file(PAGE) as temporary:
        temporary.write_text(page(), encoding="utf-8")
    # DVC looks for it from its own folder.
    subprocess.run(["dvc", "config", "--local", "plots.html_template", PAGE.name], check=True)


if __name__ == "__main__":
    main()
