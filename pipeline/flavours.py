"""The registered model in two of MLflow's flavours: the one that it serves, and the graph that PyTorch loads.

The graph is torch.export's. MLflow's other way to keep a network is a pickle, which runs whatever is in it when it is
loaded; the graph also loads where MLFLOW_ALLOW_PICKLE_DESERIALIZATION is false.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.dcgan.networks import Generator

if TYPE_CHECKING:
    from mlflow.models import Model

GRAPH = "model.pt2"  # the name that mlflow.pytorch looks for


def write_graph(netG: Generator, folder: Path) -> None:
    """Write noise (N, nz, 1, 1) float32 → images (N, nc, image_size, image_size) float32 in [-1, 1], for any N.

    netG is on the CPU, in eval mode.
    """
    # Of a batch of one the exporter would take the 1 for a constant.
    exported = torch.export.export(
        netG, (torch.zeros(2, netG.nz, 1, 1),), dynamic_shapes=[{0: torch.export.Dim.DYNAMIC}]
    )
    torch.export.save(exported, folder / GRAPH)


def save_model(path: str, mlflow_model: Model, data_path: str, **settings: Any) -> None:
    """Write a model's folder; the name and the arguments are MLflow's. data_path is of a folder that has both."""
    import mlflow.pyfunc

    held = f"data/{Path(data_path).name}"  # where mlflow.pyfunc puts it
    mlflow_model.add_flavor("pytorch", model_data=held, pytorch_version=str(torch.__version__), code=None)
    mlflow.pyfunc.save_model(path=path, mlflow_model=mlflow_model, data_path=data_path, **settings)
