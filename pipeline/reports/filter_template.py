"""The HTML of the filter's page, for Jinja; it needs nothing from outside."""

from __future__ import annotations

TEMPLATE = """
{%- from "histogram" import draw -%}
{% macro share(count) %}
{%- if count and 1000 * count < total %}&lt;0.1%{% else %}{{ "%.1f" % (100 * count / (total or 1)) }}%{% endif -%}
{% endmacro %}
{% macro tiles(some, pair="") %}
<div class="sheet{{ " pairs" if pair }}">
{% for tile in some %}
<figure{% if tile.mark %} class="{{ tile.mark }}"{% endif %}>
<div class="pictures">
{% for picture in tile.pictures %}
<div><img src="{{ picture.uri }}" alt="{{ tile.path }}">
{% if picture.role %}<small>{{ picture.role }}</small>{% endif %}</div>
{% endfor %}
</div>
<figcaption>{% if tile.mark %}<b>{{ tile.mark }}</b>{% endif %}
{{ tile.path }}{% for figure in tile.figures %}<span>{{ figure }}</span>{% endfor %}</figcaption>
</figure>
{% endfor %}
</div>
{% endmacro %}
{% macro section(part) %}
<h2 id="{{ part.anchor }}">{{ part.title }}: {{ part.total }} <small>{{ share(part.total) }}</small></h2>
<p>{{ part.note }}</p>
{% for sheet in part.sheets %}
{% if sheet.title %}<h3>{{ sheet.title }}</h3>{% endif %}
{{ tiles(sheet.tiles, sheet.pair) }}
{% endfor %}
{% endmacro %}
{% macro line(title, anchor, count, colour) %}
<tr><th scope="row">{% if count %}<a href="#{{ anchor }}">{{ title }}</a>{% else %}{{ title }}{% endif %}</th>
<td class="bar">{% if count %}<span class="{{ colour }}" style="width: {{ "%.2f" % (100 * count / most) }}%"></span>
{% endif %}</td><td>{{ count }}</td><td>{{ share(count) }}</td></tr>
{% endmacro %}
{% macro sum(title, count) %}
<tfoot><tr><th scope="row">{{ title }}</th><td></td><td>{{ count }}</td><td>{{ share(count) }}</td></tr></tfoot>
{% endmacro %}
{% set repairs = repaired | sum(attribute="total") %}
{% set acted = "repaired or changed on request" if asked else "repaired" %}
{% set most = [1, unreadable_total, (dropped + repaired) | map(attribute="total") | max] | max %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Filter: {{ kept }} of {{ total }} images kept</title>
<style>{% include "style" %}</style>
</head>
<body>
<main>
<h1>{{ kept }} of {{ total }} images kept</h1>
<div class="split" role="img"
aria-label="{{ alone.total }} left alone, {{ repairs }} {{ acted }}, {{ total - kept }} dropped">
{% for count, colour in ((alone.total, "all"), (repairs, "acted"), (total - kept, "dropped")) %}
<span class="{{ colour }}" style="width: {{ "%.2f" % (100 * count / (total or 1)) }}%"></span>
{% endfor %}
</div>
<p><i class="key all"></i><span>left alone {{ share(alone.total) }}</span>
<i class="key acted"></i><span>{{ acted }} {{ share(repairs) }}</span>
<i class="key dropped"></i><span>dropped {{ share(total - kept) }}</span></p>
{% if off %}<p><b>Off in params.yaml: {{ off | join(", ") }}.</b> What it would have done is not done.</p>{% endif %}
<div class="counts">
<table>
<caption>Dropped</caption>
{% for part in dropped %}{{ line(part.title, part.anchor, part.total, "dropped") }}{% endfor %}
{{ line("unreadable", "unreadable", unreadable_total, "dropped") }}
{{ sum("all", total - kept) }}
</table>
<table>
<caption>Repaired</caption>
{% for part in repaired %}{{ line(part.title, part.anchor, part.total, "acted") }}{% endfor %}
{{ sum("all", repairs) }}
</table>
</div>
<p>Each sheet goes from the clearest case to the most borderline, and on to what just escaped: look there first.
Borderline is within 20% of a threshold. All measures of all images are in data/verdicts.parquet, the thresholds in
the section filter of params.yaml;
<code>dcgan explain FILENAME</code> tells why one image was dropped, repaired or kept.</p>

<h2 id="measures">Measures and thresholds</h2>
<p><i class="key all"></i><span>all images</span> <i class="key acted"></i><span>repaired for this measure</span>
<i class="key dropped"></i><span>dropped for it</span> Counts are on a logarithmic scale; the furthest values are
counted into the first and last bar. An arrow points to the side that a threshold speaks against.</p>
<div class="charts">
{% for chart in charts %}
<figure>
<figcaption><b>{{ chart.name }}</b> {{ chart.says }}</figcaption>
{{ draw(chart.drawing) }}
<figcaption>
{% for label, count in chart.told %}{{ label }} {{ count }}{{ ", " if not loop.last }}{% endfor %}
</figcaption>
</figure>
{% endfor %}
</div>
{% for part in dropped if part.sheets %}{{ section(part) }}{% endfor %}
{% if groups %}
<h2 id="groups">groups of copies: {{ groups_total }}</h2>
<p>The largest, each with the image that stays.</p>
<div class="groups">
{% for group, copies in groups %}
<div class="group"><p>{{ group.total + 1 }} images{% if group.total > group.copies | length %}, {{
group.copies | length + 1 }} shown{% endif %}</p>
{{ tiles(copies) }}
</div>
{% endfor %}
</div>
{% endif %}
{% if unreadable_total %}
<h2 id="unreadable">unreadable: {{ unreadable_total }} <small>{{ share(unreadable_total) }}</small></h2>
<p>{{ unreadable | length }} shown.</p>
<ul class="files">
{% for path, error in unreadable %}<li>{{ path }}: {{ error }}</li>
{% endfor %}
</ul>
{% endif %}
{% for part in repaired if part.sheets %}{{ section(part) }}{% endfor %}
{{ section(alone) }}
</main>
</body>
</html>
"""
