"""What is said of a server: its address, and who asks there."""

from __future__ import annotations

from urllib.parse import urlsplit


def base_url(url: str) -> str:
    """
    The URL without a slash at its end.

    :raises ValueError: it is no address of a server.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # of the port, or of an address in brackets
        raise ValueError(f"{url!r} is no address of a server: {error}") from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or port == 0
        or parts.query
        or parts.fragment
    ):
        raise ValueError(f"{url!r} is no address of a server: something like http://media.example.com is")
    if f"{parts.path}/".startswith("/-/"):
        raise ValueError(f"{url!r} is no address of a server: {parts.scheme}://{parts.netloc} is")
    return url.rstrip("/")


def check_token(token: str) -> None:
    """:raises ValueError: it cannot be sent in a header."""
    if not token.isascii() or not token.isprintable() or not token.strip():
        raise ValueError("a token is made of printable ASCII characters")
