from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from torch import Tensor, nn

from pipeline.dcgan import travel
from pipeline.dcgan.networks import Discriminator, Generator
from pipeline.dcgan.travel import metadata_of, network_of, read_state_dict, write_state_dict
from pipeline.errors import StageError

NZ, NGF, NDF, NC = 7, 4, 6, 3


class TutorialG(nn.Module):
    """The reference layout: the tutorial's netG, line for line."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(NZ, NGF * 8, 4, 1, 0, bias=False),
            nn.BatchNorm2d(NGF * 8),
            nn.ReLU(True),
            nn.ConvTranspose2d(NGF * 8, NGF * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(NGF * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(NGF * 4, NGF * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(NGF * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(NGF * 2, NGF, 4, 2, 1, bias=False),
            nn.BatchNorm2d(NGF),
            nn.ReLU(True),
            nn.ConvTranspose2d(NGF, NC, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z)


class TutorialD(nn.Module):
    """The reference layout: the tutorial's netD, line for line."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(NC, NDF, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(NDF, NDF * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(NDF * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(NDF * 2, NDF * 4, 4, 2, 1, bias=False),
            nn.BatchNorm2d(NDF * 4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(NDF * 4, NDF * 8, 4, 2, 1, bias=False),
            nn.BatchNorm2d(NDF * 8),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(NDF * 8, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images)


def noise() -> Tensor:
    return torch.randn(4, NZ, 1, 1)


def images() -> Tensor:
    return torch.rand(4, NC, 64, 64) * 2 - 1


def used(net: nn.Module, batch: Callable[[], Tensor]) -> nn.Module:
    """Return a net whose running statistics are not the initial ones, in eval mode."""
    net(batch())
    return net.eval()


def read(path: Path) -> Generator | Discriminator:
    return network_of(read_state_dict(path), path).eval()


def assert_equal_states(one: nn.Module, other: nn.Module) -> None:
    states = one.state_dict(), other.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_tutorials_generator_comes_in(tmp_path: Path) -> None:
    theirs, path = used(TutorialG(), noise), tmp_path / "netG.pth"
    torch.save(theirs.state_dict(), path)
    ours, z = read(path), noise()
    assert isinstance(ours, Generator)
    assert torch.equal(ours(z), theirs(z))
    assert_equal_states(ours, theirs)
    sizes = {"image_size": "64", "nc": "3", "nz": "7", "ngf": "4"}
    assert metadata_of(ours) == sizes | {"weights": "imported"}


def test_the_tutorials_discriminator_comes_in(tmp_path: Path) -> None:
    theirs, path = used(TutorialD(), images), tmp_path / "netD.pth"
    torch.save(theirs.state_dict(), path)
    ours, batch = read(path), images()
    assert isinstance(ours, Discriminator)
    assert torch.equal(torch.sigmoid(ours(batch)), theirs(batch).flatten())
    assert_equal_states(ours, theirs)
    assert metadata_of(ours) == {"image_size": "64", "nc": "3", "ndf": "6", "weights": "imported"}


def test_the_tutorials_generator_takes_ours(tmp_path: Path) -> None:
    ours = used(Generator(nz=NZ, ngf=NGF, nc=NC, image_size=64), noise)
    write_state_dict(tmp_path / "some" / "netG.pth", ours)
    theirs, z = TutorialG(), noise()
    theirs.load_state_dict(torch.load(tmp_path / "some" / "netG.pth", weights_only=True))
    assert torch.equal(theirs.eval()(z), ours(z))


def test_the_tutorials_discriminator_takes_ours(tmp_path: Path) -> None:
    ours = used(Discriminator(ndf=NDF, nc=NC, image_size=64), images)
    write_state_dict(tmp_path / "netD.pth", ours)
    theirs, batch = TutorialD(), images()
    theirs.load_state_dict(torch.load(tmp_path / "netD.pth", weights_only=True))
    assert torch.equal(theirs.eval()(batch).flatten(), torch.sigmoid(ours(batch)))


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    ours = Generator(nz=NZ, ngf=NGF, nc=NC, image_size=64)
    write_state_dict(tmp_path / "one.pth", ours)
    write_state_dict(tmp_path / "other.pth", ours)
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "other.pth").read_bytes()


@pytest.mark.parametrize("image_size", [32, 64, 128])
@pytest.mark.parametrize("nc", [1, 3])
def test_sizes_are_told_from_the_shapes(image_size: int, nc: int) -> None:
    for net in (
        Generator(nz=5, ngf=2, nc=nc, image_size=image_size),
        Discriminator(ndf=2, nc=nc, image_size=image_size),
    ):
        found = network_of(net.state_dict(), Path("net.pth"))
        assert type(found) is type(net)
        assert metadata_of(found) == metadata_of(net)
        assert_equal_states(found, net)


# What a file may differ in and still hold the tutorial's netG.


def in_parallel(net: nn.Module) -> dict[str, Tensor]:
    return nn.DataParallel(net).state_dict()


def uncounted(net: nn.Module) -> dict[str, Tensor]:
    state = net.state_dict()
    for name in [name for name in state if name.endswith("num_batches_tracked")]:
        del state[name]
    return state


def sorted_by_name(net: nn.Module) -> dict[str, Tensor]:
    return dict(sorted(net.state_dict().items()))


def in_double(net: nn.Module) -> dict[str, Tensor]:
    return net.double().state_dict()


def as_parameters(net: nn.Module) -> dict[str, Tensor]:
    return net.state_dict(keep_vars=True)


@pytest.mark.parametrize("told", [in_parallel, uncounted, sorted_by_name, in_double, as_parameters])
@pytest.mark.parametrize("zipped", [pytest.param(True, id="zip"), pytest.param(False, id="PyTorch before 1.6")])
def test_other_ways_to_tell_the_same(told: Callable[..., dict[str, Tensor]], zipped: bool, tmp_path: Path) -> None:
    theirs, path = used(TutorialG(), noise), tmp_path / "netG.pth"
    torch.save(told(theirs), path, _use_new_zipfile_serialization=zipped)
    ours, z = read(path), noise()
    assert torch.equal(ours(z), theirs.float()(z))
    assert {tensor.dtype for tensor in ours.parameters()} == {torch.float32}


# What must not come in.


class Runs:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def test_no_code_is_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "netG.pth"
    state = TutorialG().state_dict()
    for write in (
        lambda: path.write_bytes(pickle.dumps(Runs(marker))),
        lambda: torch.save(Runs(marker), path),
        lambda: torch.save(state | {"main.0.weight": Runs(marker)}, path),
        lambda: torch.save(state | {"main.0.weight": Runs(marker)}, path, _use_new_zipfile_serialization=False),
    ):
        write()
        with pytest.raises(StageError, match="nothing in it was run"):
            read(path)
        assert not marker.exists()
    pickle.loads(pickle.dumps(Runs(marker)))  # noqa: S301 - it would have
    assert marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_a_file_that_is_cut_off(share: float, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "netG.pth"
    torch.save(TutorialG().state_dict(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(StageError, match="is damaged"):
        read(path)


@pytest.mark.parametrize("content", [b"not a file of torch\n", bytes(range(256)), b"PK\x03\x04"])
def test_a_file_of_something_else(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "netG.pth").write_bytes(content)
    with pytest.raises(StageError, match="is damaged"):
        read(tmp_path / "netG.pth")


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "netG.pth", tmp_path, Path(os.devnull)):
        with pytest.raises(StageError, match="there is no file"):
            read(path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([torch.zeros(1)], id="a list"),
        pytest.param(torch.zeros(1), id="a tensor"),
        pytest.param({"epoch": 3, "netG": {"main.0.weight": torch.zeros(1)}}, id="a checkpoint"),
    ],
)
def test_other_content(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "netG.pth")
    with pytest.raises(StageError, match=r"save netG.state_dict\(\) or netD.state_dict\(\) by itself"):
        read(tmp_path / "netG.pth")


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netG.pth"
    torch.save(TutorialG().state_dict(), path, _use_new_zipfile_serialization=False)
    read(path)
    monkeypatch.setattr(travel, "MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(StageError, match="holds more than"):
        read(path)


def test_a_file_that_grows_when_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, packed = tmp_path / "netG.pth", tmp_path / "packed.pth"
    torch.save({"main.0.weight": torch.zeros(1_000_000)}, path)
    with ZipFile(path) as plain, ZipFile(packed, "w", ZIP_DEFLATED) as small:
        for name in plain.namelist():
            small.writestr(name, plain.read(name))
    assert packed.stat().st_size < 10_000
    monkeypatch.setattr(travel, "MOST_BYTES", 100_000)
    with pytest.raises(StageError, match="holds more than 100,000 bytes"):
        read(packed)


def shape(*sizes: int) -> Tensor:
    """A tensor of any shape that takes 4 bytes."""
    return torch.zeros(1).expand(sizes)


def test_a_tensor_that_is_larger_than_what_is_stored_of_it(tmp_path: Path) -> None:
    torch.save({"main.0.weight": shape(2**40, 32, 4, 4)}, tmp_path / "netG.pth")
    assert (tmp_path / "netG.pth").stat().st_size < 10_000
    with pytest.raises(StageError, match=r"holds more than 1,073,741,824 bytes"):
        read_state_dict(tmp_path / "netG.pth")


def test_a_network_of_ones_own_may_be_as_large_as_it_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(travel, "MOST_BYTES", 1000)
    assert isinstance(network_of(Discriminator(ndf=8, nc=3, image_size=32).state_dict(), Path("netD")), Discriminator)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"main.0.weight": shape(7, 32, 3, 3)}, id="kernels of 3"),
        pytest.param({"main.0.weight": shape(7, 0, 4, 4)}, id="nothing in it"),
        pytest.param({"main.0.weight": shape(7, 32)}, id="two dimensions"),
        pytest.param({"main.12.weight": shape(4, 2, 4, 4)}, id="two channels"),
        pytest.param({"main.12.weight": shape(2**20, 3, 4, 4)}, id="wide"),
        pytest.param({"main.1.weight": shape(31)}, id="a BatchNorm of another width"),
        pytest.param({"main.0.bias": shape(32)}, id="with a bias"),
        pytest.param({"main.99.num_batches_tracked": torch.tensor(0)}, id="a BatchNorm too many"),
        pytest.param({"main.15.weight": shape(4, 4, 4, 4)}, id="a layer too many"),
        pytest.param({"main.12.weight": shape(4), "main.15.weight": shape(4, 4, 4, 4)}, id="one dimension"),
        pytest.param({f"main.{at}.weight": shape(1, 1, 1, 1) for at in range(5000)}, id="5000 layers too many"),
        pytest.param({"main.3.weight": torch.zeros(32, 16, 4, 4, device="meta")}, id="no values"),
        pytest.param({"main.3.weight": torch.zeros(32, 16, 4, 4).to_sparse()}, id="sparse"),
    ],
)
def test_another_network(change: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(TutorialG().state_dict() | change, tmp_path / "net.pth")
    with pytest.raises(StageError, match=r"net.pth does not fit the DCGAN tutorial's netG or netD"):
        read(tmp_path / "net.pth")


@pytest.mark.parametrize("missing", ["main.0.weight", "main.1.weight", "main.1.running_var", "main.12.weight"])
def test_a_network_that_lacks_a_part(missing: str, tmp_path: Path) -> None:
    state = TutorialG().state_dict()
    del state[missing]
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(StageError, match="does not fit"):
        read(tmp_path / "net.pth")


def test_an_empty_state_dict() -> None:
    with pytest.raises(StageError, match="does not fit"):
        network_of({}, Path("net.pth"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_no_numbers(value: float) -> None:
    state = TutorialG().double().state_dict()
    state["main.4.running_mean"][2] = value
    with pytest.raises(StageError, match="no finite numbers"):
        network_of(state, Path("net.pth"))
