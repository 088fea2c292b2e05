"""How to connect to the Redis of a URL."""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from dragonbelly.state.address import RedisAddress, wrong
from dragonbelly.state.sentinel import Sentinels

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def endpoint(reactor: Any, address: RedisAddress, timeout: float) -> IStreamClientEndpoint:
    """
    Over TLS the certificate must be valid for the host's name.  ``timeout`` is how long sentinels may take to
    say where it is, in s.

    :raises ConfigError: the file of authorities cannot be used.
    """
    if address.path is not None:
        return UNIXClientEndpoint(reactor, address.path)
    if address.sentinels:
        return Sentinels(reactor, address, timeout)
    assert address.host is not None
    plain = HostnameEndpoint(reactor, address.host, address.port)
    if not address.tls:
        return plain
    trust = trustRootFromCertificates(_authorities(address.cafile)) if address.cafile else None
    return wrapClientTLS(optionsForClientTLS(address.host, trustRoot=trust), plain)


def _authorities(cafile: str) -> list[Certificate]:
    try:
        blocks = _PEM.findall(FilePath(cafile).read_bytes())
        certificates = [Certificate.loadPEM(block) for block in blocks]
    except OSError as error:
        raise wrong(f"cafile cannot be read: {error}") from error
    except Exception as error:  # pyOpenSSL and cryptography each have errors of their own
        raise wrong(f"cafile {cafile} holds no valid certificate: {error}") from error
    if not certificates:
        raise wrong(f"cafile {cafile} holds no certificate in PEM")
    return certificates
