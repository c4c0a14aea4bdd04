"""The HTML of the evaluation's page, for Jinja, and what it adds to the filter page's style; nothing from outside."""

from __future__ import annotations

STYLE = """
.wide img, .beside img { display: block; width: 100%; height: auto; background: #fff; }
.wide { max-width: 60rem; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: .75rem;
  max-width: 72rem; align-items: start; }
.wide figcaption, .beside figcaption { font-size: .85rem; margin: .35rem .25rem; }
.figures { max-width: 46rem; }
.figures th[colspan] { white-space: normal; padding-top: .6rem; border-top: 1px solid var(--line); color: var(--soft); }
.figures th b { color: var(--ink); }
.figures tbody tr + tr th { padding-left: 1rem; }
.figures td, .figures thead th + th { padding: 0 0 0 .75rem; text-align: right; }
@media (max-width: 40rem) { .figures td, .figures th { white-space: normal; vertical-align: top; } }
.better { color: var(--mark); white-space: nowrap; }
.notice { color: var(--ink); }
"""

TEMPLATE = """
{%- from "histogram" import draw -%}
{% macro picture(name, caption) %}
<figure><img src="{{ pictures[name] }}" alt="{{ caption }}">
<figcaption>{{ caption }}</figcaption></figure>
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Evaluation: KID ×1000 {{ headline }}</title>
<style>{% include "style" %}</style>
</head>
<body>
<main>
<h1>KID ×1000 {{ headline }} against faces that netG never saw</h1>
<p>Measured on {{ "{:,}".format(n_generated) }} faces drawn by the {{ chosen }} generator of the
training. 0 is no difference; real training faces in place of the generated ones reach {{ floor }}.
All figures are <a href="#figures">below</a> and in metrics/evaluate.json.</p>

<h2 id="samples">What netG draws</h2>
<div class="beside">
{{ picture("samples", "Generated faces, none chosen") }}
{{ picture("interpolation", "Each row walks from one generated face to another in even steps of the noise") }}
</div>
<h2 id="beside">Real beside generated</h2>
<div class="wide">
{{ picture("real_vs_generated", "Left faces of the holdout, right generated ones, none chosen") }}
</div>

<h2 id="figures">Figures</h2>
<p>± is the standard error of measuring this one generator; training it again moves the figures by more. They compare
between runs with equal crawl and evaluate settings (here {{ "{:,}".format(n_generated) }} generated faces), image_size
and nc on the same dataroot; the last column only at equal filter settings too, as they choose the training faces.
{%- if "clean" in rulers %} <span class="notice">Figures against the clean ruler compare only at equal filter params:
the filter chose the faces that they are measured against.</span>{% endif %}</p>
<p>raw: the holdout as it was crawled{% if "clean" in rulers %}; clean: what the filter kept of it, repaired{% endif %}
{%- if "pristine" in rulers %}; pristine: the undamaged originals of it{% endif %}.
The last column is what real training faces reach in place of the generated ones
{%- if counts.floor == n_generated %}, as many of them: by KID and the two distances no generator is expected to do
better.{% else %}; <span class="notice">of {{ "{:,}".format(counts.floor) }} of them, and the two distances, recall and
coverage depend on the number.</span>{% endif %}
{%- if live %} The column before it is netG as training left it, not averaged.{% endif %}</p>
<table class="figures">
<thead><tr><th scope="col">against</th><th scope="col">generated</th>
{%- if live %}<th scope="col">{{ live_title }}</th>{% endif %}<th scope="col">training faces</th></tr></thead>
{% for entry in entries %}
<tbody>
<tr><th colspan="{{ 4 if live else 3 }}" scope="rowgroup"><b>{{ entry.title }}</b>
{%- if entry.better %} <span class="better">{{ directions[entry.better] }}</span>{% endif %}<br>
{{ entry.says }}</th></tr>
{% for line in entry.lines %}
<tr><th scope="row">{{ line.ruler }}</th><td>{{ line.generated }}</td>
{%- if live %}<td>{{ line.live }}</td>{% endif %}<td>{{ line.floor }}</td></tr>
{% endfor %}
</tbody>
{% endfor %}
</table>

<h2 id="belief">What netD believes</h2>
<p>D(x) is the probability that netD, as training left it and in eval mode, gives a face of being real. Means:
training faces {{ "%.3f" % means.train }}, holdout {{ "%.3f" % means.holdout }}, generated
{{ "%.3f" % means.generated }}. Training faces far above the holdout would mean that netD has learnt them by
heart.</p>
<p class="notice">Of a training and a holdout face the training face gets the higher D(x) in
{{ "%.1f" % (100 * heart.value) }} ± {{ "%.1f" % (100 * heart.error) }} % of all pairs; 50 % is a netD that has learnt
no face by heart, 100 % one that knows each of them. {% if heart.exceeds_half -%}
That is above 50 % by more than chance would explain: netD knows training faces, if not all of them.
{%- else -%}
That is no sign of a netD that knows training faces.
{%- endif %}</p>
<div class="charts">
{% for chart in charts %}
<figure><figcaption><b>{{ chart.name }}</b> {{ chart.says }}</figcaption>
{{ draw(chart.drawing) }}
</figure>
{% endfor %}
</div>

<h2 id="copies">Has netG copied?</h2>
<p>The copied share is the share of generated faces that lie nearer to a training face than all but
{{ "%g" % percentile }} % of the raw holdout's faces do: about {{ "%.2g" % expected }} where netG has learnt the
distribution and no face by heart, more where it repeats what it has seen, less where its faces are far from all real
ones. Here it is {{ copied }}.
{%- if is_blind %} <span class="notice">That is less than chance would give: the generated faces are too far from all
real ones for this to tell copies from others, so look at the pairs.</span>{% endif %}
{%- if counts.searched < counts.train %} <span class="notice">They were sought among
{{ "{:,}".format(counts.searched) }} of the {{ "{:,}".format(counts.train) }} training faces
(evaluate.n_real).</span>{% endif %}</p>
<div class="beside">
{{ picture("suspicious", "The most suspicious pairs: the generated faces nearest to a training face, the nearest first;"
" under each row the training faces") }}
{{ picture("nearest", "The first generated faces, none chosen; under each row the nearest training faces") }}
</div>

<h2 id="training">The training</h2>
<div class="wide">
<figure><img src="{{ curves }}" alt="Losses, probabilities and quick KID over thousands of images shown">
<figcaption>From plots/losses.csv and plots/quick_kid.csv. The quick KID is against training faces, on few
images: it compares within this training only.</figcaption></figure>
</div>
<p>The faces on this page are JPEGs, to keep it small; the same pictures without loss are plots/*.png.</p>
</main>
</body>
</html>
"""
