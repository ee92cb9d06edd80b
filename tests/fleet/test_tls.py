"""Over TLS a fleet works, without its certificate none; a scheduler off loopback without TLS is refused on both sides."""

import shutil
import socket
import subprocess
import tempfile

import pytest
from fleets import Machines, until

from perflib import cli
from perflib.errors import FleetError
from perflib.fleet import record
from perflib.fleet.addresses import tls

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")]


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    for name in ("PERFLIB_DATA", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / "here"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "here"))


def certificate(folder, name):
    """The files of --tls-ca-file, --tls-cert and --tls-key: one certificate that vouches for itself."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed, which makes the certificates of this test")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    return str(cert), str(cert), str(key)


@pytest.fixture
def closed(tmp_path):
    """A scheduler and a worker over TLS, and their certificate."""
    pytest.importorskip("distributed")
    files = certificate(tmp_path, "fleet")
    with Machines(tmp_path, files) as machines:
        assert machines.address.startswith("tls://127.0.0.1:")
        machines.worker("a")
        yield machines, files


def test_a_fleet_over_tls_records(closed, tmp_path):
    machines, files = closed
    security = tls(machines.address, *files)

    (one,) = record(machines.address, tmp_path / "fleet", quick=True, security=security, progress=False).machines

    assert one.run.finished


def test_another_certificate_or_none_reaches_nothing(closed, tmp_path, refused):
    machines, _ = closed
    other = certificate(tmp_path, "stranger")

    with refused(FleetError, f"no scheduler answers at {machines.address}"):
        record(machines.address, tmp_path / "fleet", security=tls(machines.address, *other))
    with refused(FleetError, "no scheduler answers at tcp://127.0.0.1:"):
        record(machines.address.replace("tls", "tcp"), tmp_path / "fleet")
    machines.worker("stranger", files=other, waits="trying again")
    assert "stranger serves" not in machines.said("stranger")
    assert not (tmp_path / "fleet").exists()


@pytest.fixture
def address():
    """Of this machine in its network; documentation addresses are never reached, and nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            host = probe.getsockname()[0]
        except OSError:
            host = "127.0.0.1"
    if host.startswith("127."):
        pytest.skip("this machine has no address off loopback")
    return host


def test_a_scheduler_without_tls_off_loopback_is_refused_on_both_sides(tmp_path, address, refused, capsys):
    distributed = pytest.importorskip("distributed")
    with Machines(tmp_path, host=address) as machines:
        words = machines.address, "neither TLS nor on this machine", "--insecure"
        with refused(FleetError, *words):
            record(machines.address, tmp_path / "fleet")
        with distributed.Client(machines.address, set_as_default=False) as client, refused(FleetError, *words):
            record(client, tmp_path / "fleet")
        for command in (["worker", machines.address], ["record", "--scheduler", machines.address]):
            assert cli.run(["fleet", *command]) == 1
            assert "neither TLS nor on this machine" in capsys.readouterr().err
        until(lambda: machines.said("scheduler"))
        assert "Register worker" not in machines.said("scheduler")
