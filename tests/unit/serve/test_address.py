"""Where a server may listen."""

import ipaddress

import pytest

from malmoi.errors import UserError
from malmoi.serve.address import addresses_of, check_address, own_addresses
from malmoi.serve.start import listen

PUBLIC_URL = "https://chat.example.org"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_alone_needs_no_accounts(host: str) -> None:
    assert check_address(host, needs_owner=True, public_url=None) is None


@pytest.mark.parametrize("host", ["192.168.0.12", "10.1.2.3", "172.16.0.1", "169.254.1.1", "fd00::1", "100.64.0.1"])
def test_a_private_network_needs_accounts_and_is_warned_of(host: str) -> None:
    with pytest.raises(UserError, match="nobody has an account yet"):
        check_address(host, needs_owner=True, public_url=None)
    warning = check_address(host, needs_owner=False, public_url=None)
    assert warning is not None and "passwords and conversations" in warning
    assert check_address(host, needs_owner=False, public_url=PUBLIC_URL) is None


@pytest.mark.parametrize("host", ["8.8.8.8", "1.1.1.1", "2606:4700::1111"])
def test_a_public_address_needs_tls_in_front(host: str) -> None:
    with pytest.raises(UserError, match="is a public address, and nothing is encrypted"):
        check_address(host, needs_owner=False, public_url=None)
    assert check_address(host, needs_owner=False, public_url=PUBLIC_URL) is None
    with pytest.raises(UserError, match="nobody has an account yet"):
        check_address(host, needs_owner=True, public_url=PUBLIC_URL)


@pytest.mark.parametrize("url", ["http://chat.example.org", "chat.example.org", ""])
def test_tls_in_front_has_an_address_of_its_own(url: str) -> None:
    with pytest.raises(UserError, match="expected https://NAME"):
        check_address("127.0.0.1", needs_owner=False, public_url=url)


def test_every_network_means_those_of_this_machine() -> None:
    own = own_addresses()
    assert ipaddress.ip_address("127.0.0.1") in own and not [one for one in own if one.is_unspecified]
    assert addresses_of("0.0.0.0") == own


@pytest.mark.parametrize("host", ["no such host", "a" * 300, "\ud800", "999.1.1.1"])
def test_a_host_that_is_none_is_one_line(host: str) -> None:
    with pytest.raises(UserError, match="no such address"):
        check_address(host, needs_owner=False, public_url=None)


def test_a_port_in_use_is_said_with_the_next_one() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=rf"--port {port}: is in use; .*--port {port + 1}"):
            listen("127.0.0.1", port)
