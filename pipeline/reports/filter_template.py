"""The HTML of the filter's page, for Jinja; it needs nothing from outside."""

from __future__ import annotations

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Filter: {{ kept }} of {{ total }} images kept</title>
<style>
:root {
  --ink: light-dark(#1c1f24, #e6e8eb); --soft: light-dark(#5a626d, #9ba4b0);
  --page: light-dark(#fbfbfa, #15171a); --card: light-dark(#ffffff, #1e2125);
  --line: light-dark(#dcdfe3, #353a41); --mark: light-dark(#b4530a, #f2a65a);
  color-scheme: light dark;
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .25rem; padding-top: .5rem; border-top: 1px solid var(--line); }
p { margin: .25rem 0 .75rem; color: var(--soft); max-width: 46rem; }
a { color: inherit; }
.counts { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 0 3rem; }
table { border-collapse: collapse; margin: .5rem 0; }
caption { text-align: left; font-weight: 600; }
th { text-align: left; font-weight: 400; }
td { text-align: right; font-variant-numeric: tabular-nums; padding-left: 1.5rem; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .5rem; }
.pairs { grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); }
figure { margin: 0; padding: .4rem; background: var(--card); border: 1px solid var(--line); border-radius: .3rem;
  min-width: 0; }
figure.borderline { border-color: var(--mark); }
figure.borderline figcaption::before { content: "borderline"; display: block; color: var(--mark); }
.pictures { display: flex; justify-content: center; align-items: center; gap: .4rem; min-height: 96px; }
.pictures img { max-width: 96px; min-width: 0; }
figcaption { font-size: .75rem; line-height: 1.35; margin-top: .25rem; overflow-wrap: anywhere; }
figcaption span { display: block; color: var(--soft); }
.files { columns: 20rem; padding-left: 1.2rem; font-size: .85rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
{% macro sheet(part) %}
<h2 id="{{ part.anchor }}">{{ part.title }}: {{ part.total }}</h2>
<p>{% if part.note %}Each pair: {{ part.note }}. {% endif %}{{ part.tiles|length }} shown.</p>
<div class="sheet{% if part.note %} pairs{% endif %}">
{% for tile in part.tiles %}
<figure{% if tile.borderline %} class="borderline"{% endif %}>
<div class="pictures">
{% for picture in tile.pictures %}<img src="{{ picture }}" alt="{{ tile.path }}">{% endfor %}
</div>
<figcaption>{{ tile.path }}<span>{{ tile.figures }}</span></figcaption>
</figure>
{% endfor %}
</div>
{% endmacro %}
{% macro table(title, parts) %}
<table>
<caption>{{ title }}</caption>
{% for part in parts %}
<tr><th scope="row"><a href="#{{ part.anchor }}">{{ part.title }}</a></th><td>{{ part.total }}</td></tr>
{% endfor %}
{% if title == "Dropped" and unreadable_count %}
<tr><th scope="row"><a href="#unreadable">unreadable</a></th><td>{{ unreadable_count }}</td></tr>
{% elif not parts %}
<tr><th scope="row">none</th><td>0</td></tr>
{% endif %}
</table>
{% endmacro %}
<main>
<h1>{{ kept }} of {{ total }} images kept</h1>
<p>Borderline pictures are the ones nearest to the threshold: look there first. All measures of all images are in
data/verdicts.parquet, the thresholds in the section filter of params.yaml.</p>
<div class="counts">
{{ table("Dropped", dropped) }}
{{ table("Repaired", repaired) }}
</div>
{% for part in dropped %}{{ sheet(part) }}{% endfor %}
{% if unreadable_count %}
<h2 id="unreadable">unreadable: {{ unreadable_count }}</h2>
<p>{{ unreadable|length }} shown.</p>
<ul class="files">
{% for path, error in unreadable %}<li>{{ path }}: {{ error }}</li>
{% endfor %}
</ul>
{% endif %}
{% for part in repaired %}{{ sheet(part) }}{% endfor %}
{{ sheet(kept_sheet) }}
</main>
</body>
</html>
"""
