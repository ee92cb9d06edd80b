"""Over a wrong address others run code: it is refused with what to do."""

import pytest

from perflib import cli
from perflib.errors import FleetError
from perflib.fleet.addresses import require_closed, tls


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:8786", "tcp://127.9.9.9:80", "tls://10.0.0.5:8786"],
)
def test_tls_and_this_machine_are_closed(address):
    require_closed(address)


@pytest.mark.parametrize(
    "address",
    ["tcp://10.0.0.5:8786", "tcp://0.0.0.0:8786", "tcp://localhost.example.org:8786", "tcp://127.0.0.1.example.org:1"],
)
def test_an_open_address_is_refused_unless_it_is_wanted(address, refused):
    with refused(FleetError, address, "neither TLS nor on this machine", "--tls-ca-file", "--insecure"):
        require_closed(address)
    require_closed(address, insecure=True)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1", "http://127.0.0.1:80", "tcp://:80", "tcp://127.0.0.1", "tcp://a:b\nc", "x"]
)
def test_what_is_no_address_is_refused(address, refused):
    with refused(FleetError, "address must be like tcp://127.0.0.1:8786"):
        require_closed(address, insecure=True)


def test_tls_needs_its_files(tmp_path, refused):
    file = tmp_path / "ca.pem"
    file.write_text("")

    assert tls("tcp://127.0.0.1:1", None, None, None) is None
    with refused(FleetError, "--tls-cert must name a file", "got None"):
        tls("tls://127.0.0.1:1", str(file), None, None)
    with refused(FleetError, "--tls-key must name a file", "missing.pem"):
        tls("tls://127.0.0.1:1", str(file), str(file), str(tmp_path / "missing.pem"))
    with refused(FleetError, "--tls-ca-file needs an address that begins with tls://"):
        tls("tcp://127.0.0.1:1", str(file), None, None)


@pytest.mark.parametrize("words", [["worker", "tcp://10.0.0.5:8786"], ["record", "--scheduler", "tcp://10.0.0.5:8786"]])
def test_the_commands_refuse_an_open_address_in_one_line(words, capsys):
    assert cli.run(["fleet", *words]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("perflib: tcp://10.0.0.5:8786 is neither TLS nor on this machine")
    assert printed.err.count("\n") == 1
