"""The official FID, KID, precision and recall, by torch-fidelity, on the Inception network of published figures.

Its weights are in no package: without the file there are no such figures, and nothing else takes their names.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.errors import StageError
from pipeline.faces import Faces

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

NETWORK = "inception-v3-compat"  # torch-fidelity's name for TensorFlow's Inception of 2015-12-05
LAYER = "2048"
SUBSET = 1000  # images in each of the subsets that torch-fidelity takes KID over, as published figures have it


@dataclass(frozen=True)
class Inception:
    """The checked weights of the official file, and the file's sha256."""

    sha256: str
    weights: dict[str, Tensor]


def read_inception(path: str | None) -> Inception | None:
    """Return Inception from the official file, or None, with a line that says so, where no path is given.

    Raises StageError where the file is missing, is not the official one, or is not laid out as torch-fidelity's
    network is.
    """
    if path is None:
        print("evaluate: no FID, as evaluate.inception_weights is blank; the README says where to get the file")
        return None
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise StageError(
            f"evaluate.inception_weights: {path} is not readable ({error.strerror}); download {URL} "
            "and give its absolute path, or leave the setting blank"
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise StageError(
            f"evaluate.inception_weights: {path} has sha256 {digest}, expected {WEIGHTS_SHA256}; download {URL} again"
        )
    inception = Inception(digest, torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    _check_layout(inception)
    print(f"evaluate: FID by the official Inception file, sha256 {digest}")
    return inception


def official_figures(inception: Inception, real: Faces, fake: Faces, device: torch.device) -> dict[str, float]:
    """Return fid, kid_inception (×1000), its spread over subsets, precision_inception and recall_inception.

    All is torch-fidelity's own, at its defaults, whatever `seed` is: KID as the mean over 100 subsets of 1,000 images,
    or of as many as the smaller set has; precision and recall (Kynkäänniemi et al. 2019) with 3 neighbours, though on
    Inception's features and not on VGG16's. All depend on the numbers of images: compare at equal ones only.

    real, fake: uint8 (N, H, W, C), N and M at least 4.
    """
    import torch_fidelity as fidelity  # takes seconds, and most runs do without

    with TemporaryDirectory() as folder:
        figures = fidelity.calculate_metrics(
            input1=Pictures(fake),
            input2=Pictures(real),
            fid=True,
            kid=True,
            prc=True,
            kid_subset_size=min(SUBSET, len(real), len(fake)),
            feature_extractor=NETWORK,
            feature_extractor_weights_path=_saved(inception, folder),
            **dict.fromkeys(("feature_layer_fid", "feature_layer_kid", "feature_layer_prc"), LAYER),
            cuda=device.type == "cuda",
            cache=False,
            save_cpu_ram=True,  # reads the pictures in this process, and in blocks compares them
        )
    named = {
        "fid": figures[fidelity.KEY_METRIC_FID],
        "kid_inception": 1000 * figures[fidelity.KEY_METRIC_KID_MEAN],
        "kid_inception_std": 1000 * figures[fidelity.KEY_METRIC_KID_STD],
        "precision_inception": figures[fidelity.KEY_METRIC_PRECISION],
        "recall_inception": figures[fidelity.KEY_METRIC_RECALL],
    }
    return {name: round(value, 6) for name, value in named.items()}


class Pictures(Dataset[Tensor]):
    """Faces uint8 (N, H, W, C) as torch-fidelity takes pictures."""

    def __init__(self, faces: Faces) -> None:
        self.faces = faces

    def __len__(self) -> int:
        """Return N."""
        return len(self.faces)

    def __getitem__(self, index: int) -> Tensor:
        """Return a face uint8 (3, H, W), luma as grey; the network itself resizes it."""
        return torch.from_numpy(np.array(self.faces[index])).permute(2, 0, 1).expand(3, -1, -1)


def _saved(inception: Inception, folder: str) -> str:
    """Return the path of the weights, written anew: torch-fidelity lets what it loads run any code."""
    path = Path(folder) / "inception.pth"
    torch.save(inception.weights, path)
    return str(path)


def _check_layout(inception: Inception) -> None:
    from torch_fidelity import FeatureExtractorInceptionV3

    with TemporaryDirectory() as folder:
        try:
            FeatureExtractorInceptionV3(NETWORK, [LAYER], feature_extractor_weights_path=_saved(inception, folder))
        except RuntimeError as error:
            raise StageError(f"evaluate.inception_weights does not fit torch-fidelity's network: {error}") from None
