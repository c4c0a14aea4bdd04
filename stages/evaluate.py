"""evaluate: measure what netG draws against real faces that it never saw, and show it.

Reads   models/{generator,generator_best,generator_live,discriminator}.safetensors, data/faces/*.npy, plots/*.csv
Writes  metrics/evaluate.json, reports/evaluate.html, plots/{samples,interpolation,nearest,suspicious}.png,
        plots/real_vs_generated.png
"""

from __future__ import annotations

import time

import torch

from pipeline import paths
from pipeline.atomic import write_json
from pipeline.dcgan.device import choose_devices
from pipeline.dcgan.sampling import load_evaluated, require_alike, sample_noise
from pipeline.digest import file_digest
from pipeline.metrics.backbone import open_backbone
from pipeline.metrics.belief import Beliefs, believe, load_discriminator
from pipeline.metrics.copying import copying_figures, nearest
from pipeline.metrics.features import cached_features, extract_features, forget_features, spread
from pipeline.metrics.floor import cached_floor
from pipeline.metrics.official import official_figures, read_inception
from pipeline.metrics.rulers import load_enough, load_rulers
from pipeline.metrics.scores import all_figures, summary
from pipeline.params import load_params
from pipeline.reports.evaluate_page import Counts, write_evaluate_page
from pipeline.reports.grids import write_png
from pipeline.reports.samples import draw_faces, evaluation_pictures
from pipeline.tracking import stage_run
from stages import run_stage


def main() -> None:
    """Run the stage."""
    params = load_params()
    knobs = params.evaluate
    with stage_run("evaluate", params) as run:
        began = time.monotonic()
        device = torch.device(choose_devices(params.ngpu, params.train, torch.cuda.device_count())[0])
        # On a GPU transposed convolutions may add up in another order each time.
        torch.backends.cudnn.deterministic = True
        inception = read_inception(knobs.inception_weights)
        run.set_tags({"device": device.type} | ({"inception_sha256": inception.sha256} if inception else {}))
        nets = load_evaluated(params, device)
        rulers = {name: spread(faces, knobs.n_real) for name, faces in load_rulers().items()}
        everything = load_enough("train")
        train = spread(everything, knobs.n_real)
        require_alike(nets, everything)
        netD = load_discriminator(paths.DISCRIMINATOR, everything, device)
        for ruler in (paths.HOLDOUT_RAW, paths.HOLDOUT_CLEAN):  # what figures must share to compare
            run.log_input(str(ruler), file_digest(ruler))

        # Not by the seed itself: quick KID chose the best generator by that noise.
        z = sample_noise(knobs.n_generated, nets[""].nz, params.seed + 1)
        drawn = {who: draw_faces(netG, z, f"draw {who}".rstrip()) for who, netG in nets.items()}

        backbone, cache = open_backbone(device, *train.shape[2:]), paths.state_dir() / "features"
        real = {ruler: cached_features(faces, backbone, f"holdout {ruler}", cache) for ruler, faces in rulers.items()}
        seen = cached_features(train, backbone, "train", cache)
        loaded = time.monotonic()
        fakes = {who: extract_features(faces, backbone, f"measure {who}".rstrip()) for who, faces in drawn.items()}
        img_per_s = knobs.n_generated * len(drawn) / (time.monotonic() - loaded)
        floor = spread(seen, knobs.n_generated)
        figures = all_figures(fakes, real, knobs, params.seed)
        figures |= cached_floor(floor, real, knobs, params.seed, cache)
        forget_features(cache, knobs.cache_mb)

        near = nearest(fakes[""], seen)
        figures |= copying_figures(near[0], nearest(real["raw"], seen)[0], knobs, params.seed)
        if inception:
            figures |= official_figures(inception, rulers["raw"], drawn[""], device)
        pictures = evaluation_pictures(nets[""], params.seed, drawn[""], rulers["clean"], train, near)
        for name, pixels in pictures.items():
            write_png(pixels, paths.PLOTS / f"{name}.png")
            run.log_image(pixels, name, step=0)
        beliefs = Beliefs(*(believe(netD, faces) for faces in (train, rulers["clean"], drawn[""])))
        counts = Counts(len(floor), len(train), len(everything), len(rulers["raw"]))
        write_evaluate_page(figures, knobs, counts, pictures, beliefs, paths.PLOTS, paths.EVALUATE_PAGE)
        run.log_file(paths.EVALUATE_PAGE)
        run.log_parent_metrics(figures)
        seconds = time.monotonic() - began
        figures |= {"n_generated": knobs.n_generated, "seconds": round(seconds, 1), "img_per_s": round(img_per_s, 1)}
        run.log_metrics(figures)
        write_json(paths.metrics_file("evaluate"), figures)
        print(f"evaluate: {summary(figures)}; see {paths.EVALUATE_PAGE} and metrics/evaluate.json")


if __name__ == "__main__":
    run_stage("evaluate", main)
