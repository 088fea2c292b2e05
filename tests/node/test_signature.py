import hypothesis.strategies as st
import pytest
from hypothesis import given

from dragonbelly.node.signature import Forbidden, check, sign

SECRET = b"secret"
KEY = "d/a/@01ARZ3NDEKTSV4RRFFQ69G5FAV/ä b.jpg"


def fields(query: str) -> dict[str, str]:
    return dict(field.split("=", 1) for field in query.split("&"))


@given(st.sampled_from(["GET", "PUT", "DELETE"]), st.text(min_size=1), st.integers(1, 10**12))
def test_what_is_signed_is_allowed(method: str, key: str, expires: int) -> None:
    check(SECRET, method, key, fields(sign(SECRET, method, key, expires)), expires - 0.001)


def test_reading_includes_asking_for_the_size() -> None:
    check(SECRET, "HEAD", KEY, fields(sign(SECRET, "GET", KEY, 10)), 9)
    check(SECRET, "GET", KEY, fields(sign(SECRET, "HEAD", KEY, 10)), 9)


@pytest.mark.parametrize("now", [10, 11, 10**9])
def test_expired(now: float) -> None:
    with pytest.raises(Forbidden, match="expired"):
        check(SECRET, "GET", KEY, fields(sign(SECRET, "GET", KEY, 10)), now)


@pytest.mark.parametrize(
    ("method", "key", "query"),
    [
        ("PUT", KEY, {}),
        ("DELETE", KEY, {}),
        ("GET", KEY + "x", {}),
        ("GET", KEY[:-1], {}),
        ("GET", KEY, {"expires": "11"}),
        ("GET", KEY, {"expires": "010"}),
        ("GET", KEY, {"signature": fields(sign(SECRET, "GET", "other", 10))["signature"]}),
        ("GET", KEY, {"signature": fields(sign(b"other", "GET", KEY, 10))["signature"]}),
    ],
)
def test_tampered(method: str, key: str, query: dict[str, str]) -> None:
    good = fields(sign(SECRET, "GET", KEY, 10))
    if query == {"expires": "010"}:
        # the same number: no other request than the one that was signed
        check(SECRET, method, key, good | query, 9)
        return
    with pytest.raises(Forbidden):
        check(SECRET, method, key, good | query, 9)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"expires": ""},
        {"signature": ""},
        {"expires": "-10"},
        {"expires": "1e3"},
        {"expires": "\u0661\u0660"},
        {"expires": "9" * 5000},
        {"signature": "ä"},
        {"signature": "x" * 10000},
    ],
)
def test_nonsense(query: dict[str, str]) -> None:
    good = fields(sign(SECRET, "GET", KEY, 10))
    with pytest.raises(Forbidden):
        check(SECRET, "GET", KEY, good | query if query else {}, 9)


@given(st.text(), st.text())
def test_any_query_is_refused_politely(expires: str, signature: str) -> None:
    with pytest.raises(Forbidden):
        check(SECRET, "GET", KEY, {"expires": expires, "signature": signature}, 9)
