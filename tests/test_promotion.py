"""The registry and MLflow's own server, on a real DVC project and a real MLflow store."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import mlflow.pytorch
import numpy as np
import psutil
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image
from typer.testing import CliRunner

from pipeline import serving
from pipeline.cli import app
from pipeline.dcgan.sampling import generate, load_generator, sample_noise
from pipeline.errors import StoreError
from pipeline.mlflow_store import tracking_uri
from pipeline.results import Results, find_run
from pipeline.server import LARGEST_BODY, PATIENCE, _depth
from tests.test_results import Made, made

__all__ = ["made"]  # a fixture: `first` has KID 100 ± 1, `brave` 90 ± 1

pytestmark = [
    pytest.mark.long,
    # MLflow's own dependencies warn of each other's changes; that is not this project's to mend.
    *(pytest.mark.filterwarnings(f"ignore::{kind}Warning") for kind in ("Deprecation", "Resource", "Future", "User")),
]

MOST = 12
START_SECONDS = 120


def promote(name: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["promote", name, "--most-faces", str(MOST)], catch_exceptions=False)
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def promoted(made: Made) -> Made:
    """After `first` and then `brave` became the champion."""
    code, text = promote(made.run_ids["first"])
    assert code == 0, text
    assert "with KID×1000 100.0 ± 1.0, is version 1 of anime-dcgan and its champion" in text
    code, text = promote(made.run_ids["brave"])
    assert code == 0, text
    assert "90.0 ± 1.0, is version 2 of anime-dcgan and its champion, instead of version 1" in text
    return made


def test_the_champion_has_its_run_its_figures_and_its_weights(promoted: Made) -> None:
    client = MlflowClient(tracking_uri())
    champion = client.get_model_version_by_alias("anime-dcgan", "champion")
    assert (str(champion.version), champion.run_id) == ("2", promoted.run_ids["brave"])
    assert champion.tags == {
        "run": promoted.run_ids["brave"],
        "kid_lite0_raw": "90.0 ± 1.0",
        "data": "the digest of brave",
    }
    (output,) = client.get_run(champion.run_id).outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert logged.params["lr"] == "0.2"
    (stored,) = Path(logged.artifact_location.removeprefix("file://")).rglob("generator.safetensors")
    assert stored.read_bytes() == promoted.weights["brave"]
    assert "most_faces" not in client.get_run(champion.run_id).data.params


def test_a_worse_run_and_the_champion_itself_change_nothing(promoted: Made) -> None:
    code, text = promote(promoted.run_ids["first"])
    assert code == 1
    assert "its KID×1000 100.0 ± 1.0 is not lower than the champion's 90.0 ± 1.0 (difference 10.0 ± 1.4)" in text
    code, text = promote(promoted.run_ids["brave"])
    assert code == 1
    assert "it is the champion" in text
    assert promote("nobody")[0] == promote("twice")[0] == 2
    assert len(MlflowClient(tracking_uri()).search_model_versions("name = 'anime-dcgan'")) == 2


def test_pytorch_loads_the_champion_without_pickle(
    promoted: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(tracking_uri())
    graph = mlflow.pytorch.load_model("models:/anime-dcgan@champion", dst_path=str(tmp_path))
    (tmp_path / "netG.safetensors").write_bytes(promoted.weights["brave"])
    netG = load_generator(tmp_path / "netG.safetensors", torch.device("cpu"))
    for n in (1, 2, 17):
        z = sample_noise(n, 4, n)
        with torch.inference_mode():
            assert torch.allclose(graph(z), netG(z), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("uri", "holds"), [("models:/anime-dcgan@champion", "brave"), ("models:/anime-dcgan/1", "first")]
)
def test_the_commands_draw_with_a_registered_models_weights(
    promoted: Made, tmp_path: Path, uri: str, holds: str
) -> None:
    (tmp_path / "netG.safetensors").write_bytes(promoted.weights[holds])
    commands = {"generate": "png", "interpolate": "png", "walk": "gif", "export-onnx --out": "onnx"}
    for command, suffix in commands.items():
        drawn = []
        for name, weights in (("there", uri), ("here", str(tmp_path / "netG.safetensors"))):
            out = tmp_path / f"{name}.{suffix}"
            result = CliRunner().invoke(app, [*command.split(), str(out), "--weights", weights], catch_exceptions=False)
            assert result.exit_code == 0, result.output
            drawn.append(out.read_bytes())
        assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("uri", "code", "says"),
    [
        pytest.param("models:/nobody@champion", 2, "Registered Model with name=nobody not found", id="no such model"),
        pytest.param("models:/anime-dcgan@best", 2, "alias best not found", id="no such alias"),
        pytest.param("models:/anime-dcgan/99", 2, "version=99", id="no such version"),
        pytest.param("models:/", 2, "Not a proper models:/ URI", id="no model"),
        pytest.param("models:/strange/1", 1, "'dcgan promote' did not register it", id="of another project"),
    ],
)
def test_what_the_registry_has_no_weights_of(promoted: Made, tmp_path: Path, uri: str, code: int, says: str) -> None:
    if "strange" in uri:
        (tmp_path / "MLmodel").write_text("flavors: {}\n")
        client = MlflowClient(tracking_uri())
        client.create_registered_model("strange")
        client.create_model_version("strange", tmp_path.as_uri())
    words = ["generate", "--weights", uri, str(tmp_path / "faces.png")]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == code
    assert says in result.output
    assert not (tmp_path / "faces.png").exists()


def test_a_store_that_takes_nothing_is_told_in_a_line(promoted: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MlflowException("no space left")

    monkeypatch.setattr("pipeline.registry._register", full)
    monkeypatch.setattr("pipeline.registry.objection", lambda *_: None)
    code, text = promote(promoted.run_ids["first"])
    assert (code, text.count("\n")) == (1, 1)
    assert text.endswith("says: no space left\n")


def test_a_champion_that_a_store_does_not_tell_of_stays(promoted: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def candidate_alone(name: str, folder: Path) -> Results:
        if folder.name == "champion":
            raise StoreError("the MLflow store does not answer")
        return find_run(name, folder)

    monkeypatch.setattr("pipeline.registry.find_run", candidate_alone)
    code, text = promote(promoted.run_ids["first"])
    assert (code, text) == (1, "dcgan: the MLflow store does not answer\n")
    champion = MlflowClient(tracking_uri()).get_model_version_by_alias("anime-dcgan", "champion")
    assert champion.run_id == promoted.run_ids["brave"]


@pytest.fixture(scope="module")
def server(promoted: Made, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `dcgan serve`."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    command = "-c 'from pipeline.cli import main; main()' serve --port"
    log = tmp_path_factory.mktemp("serve") / "log"
    environment = {**promoted.project.environment, "PYTHONPATH": str(root), "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("w") as said:
        server = subprocess.Popen(
            [sys.executable, *shlex.split(command), str(port)],
            cwd=promoted.project.folder, env=environment, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip

    try:
        began = time.monotonic()
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            except (URLError, OSError):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() - began < START_SECONDS, log.read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


@pytest.fixture(scope="module")
def ask(server: str) -> Callable[..., Any]:
    """A function that posts rows to the server; it returns the answer, or the status and the error."""

    def post(body: object) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{server}/invocations", data, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer)["predictions"]
        except HTTPError as fault:
            return fault.code, fault.read().decode()

    return post


def test_the_server_answers_with_the_champions_faces(promoted: Made, ask: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "netG.safetensors").write_bytes(promoted.weights["brave"])
    netG = load_generator(tmp_path / "netG.safetensors", torch.device("cpu"))
    answer = ask({"dataframe_records": [{"n": 3, "seed": 7, "truncation": 0.5}]})
    faces = np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(row["png"])))) for row in answer])
    assert np.array_equal(faces, generate(netG, sample_noise(3, 4, 7) * 0.5, 3))
    assert len(ask({"inputs": [{"n": MOST}]})) == MOST


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_readmes_request_is_answered(server: str, root: Path) -> None:
    (command,) = re.findall(r"`(curl [^`]+)`", (root / "README.md").read_text(encoding="utf-8"))
    words = shlex.split(command.replace("http://127.0.0.1:5001", server))
    answer = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    pictures = [Image.open(io.BytesIO(base64.b64decode(row["png"]))) for row in answer["predictions"]]
    assert [picture.format for picture in pictures] == ["PNG"] * 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param({"inputs": [{"n": MOST + 1}]}, "at most 12 in a request", id="too many"),
        pytest.param({"inputs": [{"n": -1}]}, "n must be 1 or more, is -1", id="negative"),
        pytest.param({"inputs": [{"n": 1, "seed": -1}]}, "seed must be 0 or more", id="a negative seed"),
        pytest.param({"inputs": [{"n": 1, "truncation": -1}]}, "truncation must be", id="a negative factor"),
        pytest.param({"inputs": [{"n": 1.5}]}, "n must be a whole number, is 1.5", id="half a face"),
        pytest.param(b'{"inputs": [{"n": ' + b"9" * 5000 + b"}]}", "no JSON that can be read", id="too many digits"),
        pytest.param({"inputs": [{"n": "many"}]}, "invalid literal for int() with base 10: 'many'", id="no number"),
        pytest.param({"inputs": [{"seed": 1}]}, "Model is missing inputs", id="no n"),
        pytest.param({"faces": 3}, "a request is as", id="another request"),
        pytest.param({"inputs": [{"n": 2.5}], "params": {}}, "a request is as", id="more than a request"),
        pytest.param({"inputs": [{"n": 1, "sed": 2}]}, "a request is as", id="another name"),
        pytest.param({"inputs": [3]}, "a request is as", id="no row"),
        pytest.param({"inputs": {"n": [1, 2, 3], "seed": [1]}}, "a request is as", id="a shorter column"),
        pytest.param({"inputs": {"n": 1}}, "a request is as", id="no column"),
        pytest.param({"inputs": {"n": "12"}}, "a request is as", id="a column of letters"),
        pytest.param({"inputs": {"n": {"4": 1}}}, "a request is as", id="a column of keys"),
        pytest.param({"dataframe_split": {"columns": ["n"], "data": ["4"]}}, "a request is as", id="a row of letters"),
        pytest.param({"dataframe_split": {"columns": ["n", "n"], "data": [[1, 2]]}}, "a request", id="a name twice"),
        pytest.param({"dataframe_split": {"columns": ["n"], "data": [[1]], "x": 1}}, "a request", id="more within"),
        pytest.param(('{"Ģ":' + "[" * 7000).encode("utf-16-le"), "no JSON that can be read", id="another encoding"),
        pytest.param({"dataframe_split": {"columns": ["n"], "data": [[1, 2]]}}, "a request is as", id="a longer row"),
        pytest.param({"dataframe_split": {"columns": [["n"]], "data": [[1]]}}, "a request is as", id="no name"),
        pytest.param([{"n": 1}], "a request is as", id="a list"),
        pytest.param(b"{", "JSON", id="no JSON"),
        pytest.param({"inputs": [{"n": 10**12}]}, "at most 12 in a request", id="very many"),
        pytest.param({"inputs": [{"n": 10**30}]}, "", id="beyond 64 bits"),
        pytest.param({"inputs": [{"n": 1}] * 1000}, "at most 12 in a request", id="one a row, in many rows"),
        pytest.param({"inputs": [{"n": 1, "seed": 2**63}]}, "", id="a seed beyond 64 bits"),
        pytest.param({"inputs": [{"n": 1, "truncation": 1e300}]}, "truncation must be", id="noise beyond float32"),
    ],
)
def test_a_bad_request_gets_400_and_a_reason(ask: Callable[..., Any], body: object, says: str) -> None:
    status, text = ask(body)
    assert status == 400
    assert says in json.loads(text)["message"]


@pytest.mark.parametrize("before", [b"", b'"a": "' + b"]" * 5000 + b'", '], ids=["plain", "behind closing brackets"])
def test_json_that_nests_too_deep_is_refused(ask: Callable[..., Any], before: bytes) -> None:
    """Python's reader fails at it, which MLflow's server would report as its own fault, with status 500."""
    status, text = ask(b"{" + before + b'"inputs": ' + b"[" * 10_000)
    assert (status, json.loads(text)["message"]) == (400, "a request may nest 16 deep")
    assert len(ask({"inputs": [{"n": 1}]})) == 1


@pytest.mark.parametrize("told", [True, False], ids=["of known length", "in chunks"])
def test_a_body_over_the_limit_ends_its_connection(server: str, ask: Callable[..., Any], told: bool) -> None:
    """A client that never stops would be read for ever."""
    length = b"Content-Length: 1000000000000" if told else b"Transfer-Encoding: chunked"
    chunk = b" " * 4096 if told else b"1000\r\n" + b" " * 4096 + b"\r\n"
    with connected(server, length) as connection:
        connection.sendall(chunk * (LARGEST_BODY // 4096 + 1))
        assert all_of(connection).startswith(b"HTTP/1.1 413")
    status, text = ask({"inputs": [{"n": 1}], "padding": "x" * LARGEST_BODY})
    assert (status, json.loads(text)["message"]) == (413, "a request may have 16384 bytes")
    assert len(ask({"inputs": [{"n": 1}]})) == 1


def test_a_body_that_does_not_come_is_not_waited_for(server: str) -> None:
    with connected(server, b"Content-Length: 1000") as connection:
        connection.sendall(b"{")
        assert all_of(connection).startswith(b"HTTP/1.1 408")


def test_a_connection_on_which_nothing_is_asked_ends(server: str, ask: Callable[..., Any]) -> None:
    """As many as may be answered at once would keep everybody out."""
    host, port = server.removeprefix("http://").split(":")
    with ExitStack() as silent:
        idle = [silent.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(64)]
        idle[0].sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\n")
        assert [all_of(connection) for connection in idle] == [b""] * 64
    assert len(ask({"inputs": [{"n": 1}]})) == 1


def test_a_connection_on_which_nothing_more_is_asked_ends_too(server: str, ask: Callable[..., Any]) -> None:
    host, port = server.removeprefix("http://").split(":")
    with ExitStack() as silent:
        idle = [silent.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(64)]
        for connection in idle:
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 ")
            with suppress(OSError):  # the last one was refused, and is closed
                connection.sendall(b"G")
        time.sleep(2 * PATIENCE + 5)
        assert len(ask({"inputs": [{"n": 1}]})) == 1


def test_who_does_not_read_the_answers_is_given_up(server: str, ask: Callable[..., Any]) -> None:
    host, port = server.removeprefix("http://").split(":")
    body = b'{"inputs": [{"n": 12}]}'
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 23\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        connection.sendall((head + body) * 400)
        time.sleep(2 * PATIENCE + 10)
        with suppress(ConnectionResetError):
            assert all_of(connection).count(b"HTTP/1.1 200") < 400
    assert len(ask({"inputs": [{"n": 1}]})) == 1


def test_rows_may_leave_out_different_things(ask: Callable[..., Any]) -> None:
    rows = [{"n": 1, "seed": 7}, {"n": 1}, {"n": 1, "seed": None, "truncation": 0.5}, {"n": 1, "seed": float("nan")}]
    first, second, third, last = (row["png"] for row in ask({"inputs": rows}))
    assert second == last
    assert len({first, second, third}) == 3


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param([], id="no type"),
        pytest.param(["application/vnd.apache.parquet"], id="few bytes of many rows"),
        pytest.param(["text/csv"], id="many columns of many rows"),
        pytest.param(["application/json", "text/csv"], id="MLflow goes by the first"),
        pytest.param(["application/vnd.apache.parquet", "application/json"], id="and a proxy by the last"),
    ],
)
def test_a_request_of_another_type_is_refused(server: str, kinds: list[str]) -> None:
    connection = HTTPConnection(server.removeprefix("http://"), timeout=60)
    body = b'{"inputs": [{"n": 1}]}'
    connection.putrequest("POST", "/invocations")
    for kind in kinds:
        connection.putheader("Content-Type", kind)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    assert answer.status == 415
    assert "Content-Type" in json.loads(answer.read())["message"]
    connection.close()


def test_strings_without_an_end_are_looked_at_once() -> None:
    """Looked at anew from each of its quotes, this one would take minutes."""
    began = time.monotonic()
    assert _depth(bytearray(b'"' + b'\\"' * 1_000_000)) == 0
    assert time.monotonic() - began < 5


def test_the_most_faces_that_can_be_asked_for_fit(ask: Callable[..., Any]) -> None:
    row = {"n": 1, "seed": 9_007_199_254_740_991, "truncation": 0.75}
    status, text = ask({"inputs": [row] * 256})
    assert status == 400
    assert "256 faces are asked for, at most 12 in a request are drawn" in text


@contextmanager
def connected(server: str, length: bytes) -> Iterator[socket.socket]:
    """Yield a connection on which all of a request but its body was sent."""
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(head + length + b"\r\n\r\n")
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes the connection."""
    return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize(
    ("uri", "code", "says"),
    [
        pytest.param("models:/anime-dcgan@nobody", 2, "is not to be had from the registry", id="no such alias"),
        pytest.param("./a-folder", 2, "is no model of the registry", id="a path"),
        pytest.param("models:/other/1", 1, "is none that 'dcgan promote' registered", id="another's model"),
    ],
)
def test_nothing_else_is_served(promoted: Made, uri: str, code: int, says: str) -> None:
    from mlflow import pyfunc  # here, because it warns when it is imported

    class Other(pyfunc.PythonModel):  # type: ignore[misc]
        """Pickled by MLflow, which would run what is in it."""

        def predict(self, model_input: list[str]) -> list[str]:
            return model_input

    if uri == "models:/other/1":
        pyfunc.log_model(name="other", python_model=Other(), registered_model_name="other")
    result = CliRunner().invoke(app, ["serve", uri], catch_exceptions=False)
    assert result.exit_code == code
    assert says in result.output


def test_a_damaged_model_is_told_in_a_line(promoted: Made) -> None:
    # All at once: of a folder's name nobody knows whether it is the champion's, and a sound one is served without end.
    before = {file: file.read_bytes() for file in (promoted.project.folder / "mlartifacts").rglob("limits.json")}
    for file in before:
        file.write_bytes(b"")
    result = CliRunner().invoke(app, ["serve", "models:/anime-dcgan@champion"], catch_exceptions=False)
    for file, whole in before.items():
        file.write_bytes(whole)
    assert result.exit_code == 1
    assert "models:/anime-dcgan@champion can't be loaded: " in result.output


def test_who_was_made_champion_meanwhile_is_compared_with(promoted: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    client, write_model = MlflowClient(tracking_uri()), serving.write_model
    client.delete_registered_model_alias("anime-dcgan", "champion")

    def meanwhile(*arguments: Any) -> None:  # on another machine, with the same store
        client.set_registered_model_alias("anime-dcgan", "champion", "2")
        write_model(*arguments)

    monkeypatch.setattr(serving, "write_model", meanwhile)
    code, text = promote(promoted.run_ids["first"])
    assert code == 1
    assert "version 2 has become the champion meanwhile" in text
    assert str(client.get_model_version_by_alias("anime-dcgan", "champion").version) == "2"


def test_by_default_only_this_machine_is_answered(ask: Callable[..., Any]) -> None:
    assert len(ask({"inputs": [{"n": 1}]})) == 1
    sockets = [socket for child in psutil.Process().children(recursive=True) for socket in child.net_connections()]
    assert {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_a_port_that_is_taken_is_named(server: str) -> None:
    result = CliRunner().invoke(app, ["serve", "--port", server.rpartition(":")[2]], catch_exceptions=False)
    assert result.exit_code == 1
    assert "is not to be had: Address already in use" in result.output


def test_a_champion_whose_run_is_gone_gives_way(promoted: Made) -> None:
    MlflowClient(tracking_uri()).delete_run(promoted.run_ids["brave"])
    code, text = promote(promoted.run_ids["first"])
    assert code == 0, text
    told = "instead of version 2 with KID×1000 90.0 ± 1.0, whose run is gone from MLflow: the two were not compared"
    assert told in text
    champion = MlflowClient(tracking_uri()).get_model_version_by_alias("anime-dcgan", "champion")
    assert champion.run_id == promoted.run_ids["first"]
