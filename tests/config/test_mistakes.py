"""Every mistake is told in one line: file, key, what was found, what was expected."""
# ruff: noqa: E501 -- a mistake and its message stand in one line

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonbelly.config import load
from dragonbelly.errors import ConfigError
from tests.config.kinds import SMALL, loads

MEDIA = SMALL + '[domain.media]\nhosts = ["*"]\n'
OPTIONS = "depth, expires, host, internal_url, kind, link-key, secret, tags, url, weight, zone"
TOKEN = "[[token]]\nname = 'shop'\nsha256 = '" + "0123" * 16 + "'\nscopes = ['read']\n"
SECTIONS = "audit, backend, delete, domain, health, http, limits, policy, replication, signing_key, state, token, upload"


def mistake(text):
    with pytest.raises(ConfigError) as caught:
        loads(text)
    message = str(caught.value)
    assert message.startswith("x.toml: ")
    assert "\n" not in message
    return message.removeprefix("x.toml: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # names
        (SMALL + "weigth = 2", f"backend.store1.weigth: found an unknown key, expected one of {OPTIONS} (did you mean weight?)"),
        (SMALL + "secert = 'hush'", f"backend.store1.secert: found an unknown key, expected one of {OPTIONS} (did you mean secret?)"),
        (SMALL + '"a\\nb" = 2', f'backend.store1."a\\nb": found an unknown key, expected one of {OPTIONS}'),
        (SMALL + "[stat]", f"stat: found an unknown key, expected one of {SECTIONS} (did you mean state?)"),
        (SMALL + "[delete]\ngarce = '1m'", "delete.garce: found an unknown key, expected one of grace (did you mean grace?)"),
        (SMALL.replace("shelf", "shelve"), 'backend.store1.kind: found "shelve", expected one of shelf (did you mean shelf?)'),
        (SMALL.replace('kind = "shelf"', ""), "backend.store1.kind: found nothing, expected a string"),
        (SMALL + "[policy.default]\nkind = 'copy'", 'policy.default.kind: found "copy", expected one of copies, stern (did you mean copies?)'),
        (SMALL + "[policy.default]\nkind = 3", "policy.default.kind: found 3, expected a string"),
        (SMALL + "[policy.default]\ncopys = 2", "policy.default.copys: found an unknown key, expected one of copies, kind, spread (did you mean copies?)"),
        (MEDIA + "[domain.Other]\nhosts = ['a']", "domain.Other: found \"Other\", expected a name of small letters, digits, '.', '_' and '-', 100 at most"),
        (MEDIA + "[domain.'']\nhosts = ['a']", "domain.\"\": found \"\", expected a name of small letters, digits, '.', '_' and '-', 100 at most"),
        (SMALL + "host = 'a b'", "backend.store1.host: found \"a b\", expected a name of letters, digits, '.', '_' and '-', 100 at most"),
        (SMALL.replace("store1]", "'sto/re']"), "backend.\"sto/re\": found \"sto/re\", expected a name of letters, digits, '.', '_' and '-', 100 at most"),
        # who may do what
        (MEDIA + "anonymous = ['admin']", "domain.media.anonymous[0]: found \"admin\", expected \"read\", \"list\" or \"write\""),
        (MEDIA + "anonymous = ['read', 'write']", "domain.media.anonymous: found [\"read\", \"write\"], expected no write, for others than this machine reach tcp:8080; if everybody there may write, say allow_anonymous_write = true"),
        (SMALL + "[http]\nadmin = ['tcp:8081']", "http.admin: found [\"tcp:8081\"], expected loopback only, or a [[token]] with the scope admin: others than this machine reach tcp:8081"),
        (SMALL + TOKEN.replace("'shop'", "'a b'"), "token[0].name: found \"a b\", expected a name of letters, digits, '.', '_' and '-', 100 at most"),
        (SMALL + TOKEN + TOKEN, "token[1].name: found \"shop\", expected a name that no other token has"),
        (SMALL + TOKEN.replace("0123", ""), "token[0].sha256: found no SHA-256, expected 64 hexadecimal digits (dragonbelly token new makes both)"),
        (SMALL + TOKEN.replace("['read']", "[]"), "token[0].scopes: found [], expected one of read, list, write, admin, at least"),
        (SMALL + TOKEN + "domains = ['medai']", "token[0].domains[0]: found \"medai\", expected one of *, default"),
        (SMALL + TOKEN + "prefixes = ['/a']", "token[0].prefixes[0]: found \"/a\", expected the beginning of a path such as \"photos/\", without a leading slash"),
        (SMALL + "[[signing_key]]\nid = 'k'\nsecret = 'short'", "signing_key[0].secret: found 5 bytes, expected 32 or more"),
        (SMALL + "[[signing_key]]\nid = 'k'\nsecret = {file = '/nowhere/k'}", "signing_key[0].secret: found a table, expected a secret, but cannot read the secret file /nowhere/k: No such file or directory"),
        # types and ranges
        (SMALL + "weight = '2'", 'backend.store1.weight: found "2", expected a number, more than 0, at most 1000000'),
        (SMALL + "weight = 0", "backend.store1.weight: found 0, expected a number, more than 0, at most 1000000"),
        (SMALL + "weight = nan", "backend.store1.weight: found NaN, expected a number, more than 0, at most 1000000"),
        (SMALL + "weight = inf", "backend.store1.weight: found Infinity, expected a number, more than 0, at most 1000000"),
        (SMALL + "depth = 0", "backend.store1.depth: found 0, expected a whole number, at least 1"),
        (SMALL + "expires = 1979-05-27", 'backend.store1.expires: found 1979-05-27, expected a duration such as "15m", "1h30m" or "500ms", or a number of seconds'),
        (SMALL + "internal_url = 1979-05-27", "backend.store1.internal_url: found 1979-05-27, expected a string"),
        (SMALL + "tags = {a = 'x'}", "backend.store1.tags: found a table, expected a table, each value a whole number (Expected `int`, got `str` - at `$[...]`)"),
        (SMALL + "[state]\npartitions = 0", "state.partitions: found 0, expected a whole number, at least 1, at most 4096"),
        (SMALL + "[state]\npartitions = true", "state.partitions: found true, expected a whole number, at least 1, at most 4096"),
        (SMALL + "[state]\nrequire_noeviction = 'yes'", 'state.require_noeviction: found "yes", expected true or false'),
        (SMALL + "[upload]\nlapse = '1x'", 'upload.lapse: found "1x", expected a duration such as "15m", "1h30m" or "500ms", or a number of seconds'),
        (SMALL + "[upload]\nlapse = 0", "upload.lapse: found 0, expected a duration of 1ms to 365250d"),
        (SMALL + "[upload]\nlapse = -1", "upload.lapse: found -1, expected a duration of 1ms to 365250d"),
        (SMALL + "[upload]\nmax_size = '5G'", 'upload.max_size: found "5G", expected a size such as "5GiB" or "10MB", or a number of bytes'),
        (SMALL + "[limits]\nconnections = 0", "limits.connections: found 0, expected a whole number, at least 1"),
        (SMALL + "[limits]\npath_length = 2000", "limits.path_length: found 2000, expected a whole number, at least 1, at most 1024"),
        (SMALL + "[limits]\nheader_size = 100", 'limits.header_size: found "100B", expected 1024 bytes or more'),
        (SMALL + "[limits]\nexempt = ['10.0.0.1/8']", 'limits.exempt[0]: found "10.0.0.1/8", expected a network such as "10.0.0.0/8": 10.0.0.1/8 has host bits set'),
        (SMALL + "[upload]\nmax_size = 0", "upload.max_size: found 0, expected a size of 1B to 9223372036854775807B"),
        (SMALL + "[http]\nupload_redirect = 302", 'http.upload_redirect: found 302, expected "auto", "302" or "307"'),
        (SMALL + "[http]\nlisten = 'tcp:8080'", 'http.listen: found "tcp:8080", expected an array, each item a string'),
        (SMALL + "[http]\nlisten = ['tcp:80', 8080]", "http.listen[1]: found 8080, expected a string"),
        (SMALL + "[policy.default]\ncopies = 0", "policy.default.copies: found 0, expected a whole number, at least 1, at most 64"),
        (SMALL + "[policy.default]\nspread = 'rack'", 'policy.default.spread: found "rack", expected "host" or "zone"'),
        ("backend = 3", "backend: found 3, expected a table, [backend]"),
        ("[backend]\nstore1 = 3", "backend.store1: found 3, expected a table, [backend.store1]"),
        ("state = ['x']", 'state: found ["x"], expected a table, [state]'),
        # texts with a form of their own
        (SMALL + "[http]\nlisten = ['tpc:80']", "http.listen[0]: found \"tpc:80\", expected an endpoint such as \"tcp:8080:interface=127.0.0.1\": Unknown endpoint type: 'tpc'"),
        (SMALL + "[http]\nadmin = ['tcp:http']", "http.admin[0]: found \"tcp:http\", expected an endpoint such as \"tcp:8080:interface=127.0.0.1\": invalid literal for int() with base 10: 'http'"),
        (SMALL + "[http]\nadmin = ['tcp:80:interfaec=::1']", "http.admin[0]: found \"tcp:80:interfaec=::1\", expected an endpoint"),
        (SMALL + "[http]\nlisten = ['ssl:443:privateKey=/nowhere']", 'http.listen[0]: found "ssl:443:privateKey=/nowhere", expected an endpoint such as "tcp:8080:interface=127.0.0.1": [Errno 2]'),
        (SMALL + '[http]\ncache_control = "a\\nb"', 'http.cache_control: found "a\\nb", expected a header\'s value'),
        (SMALL + "[http]\norigins = 'https://a'", 'http.origins: found "https://a", expected an array, each item a string'),
        (SMALL + "[http]\norigins = ['https://a', 'https://b/']", 'http.origins[1]: found "https://b/", expected an origin such as "https://app.example.com" or "http://localhost:8000" (no path), or "*" for any'),
        (SMALL + "[http]\norigins = ['app.example.com']", 'http.origins[0]: found "app.example.com", expected an origin such as'),
        (SMALL.replace("http:", "ftp:"), 'backend.store1.url: found "ftp://store1.example.com", expected an http:// or https:// URL with a host, without user, query and fragment'),
        (SMALL + "internal_url = 'http://h:x/'", 'backend.store1.internal_url: found "http://h:x/", expected an http'),
        (SMALL + "internal_url = 'http:///x'", 'backend.store1.internal_url: found "http:///x", expected an http'),
        (SMALL + "internal_url = 'http://h/a b'", 'backend.store1.internal_url: found "http://h/a b", expected an http'),
        (SMALL + "[state]\nredis = 'http://h/'", 'state.redis: found "http://…", expected a URL of Redis: it begins with none of redis://, rediss://, unix:// and sentinel://'),
        # one value and another
        ("", "backend: found none, expected at least one backend, [backend.NAME]"),
        (MEDIA + "policy = 'defalt'", 'domain.media.policy: found "defalt", expected one of default (did you mean default?)'),
        (SMALL + "[domain.media]", "domain.media.hosts: found nothing, expected an array, each item a string"),
        (SMALL + "[domain.media]\nhosts = []", 'domain.media.hosts: found [], expected at least one host, "*" for any'),
        (SMALL + "[domain.media]\nhosts = ['a:80']", 'domain.media.hosts[0]: found "a:80", expected a host name without port, or "*" for any'),
        (SMALL + "[domain.media]\nhosts = ['*.a']", 'domain.media.hosts[0]: found "*.a", expected a host name without port, or "*" for any'),
        (SMALL + "[domain.media]\nhosts = ['a', 'A.']", 'domain.media.hosts[1]: found "a", expected a host that is not in domain.media.hosts[0] too'),
        (MEDIA + "[domain.other]\nhosts = ['a', '*']", 'domain.other.hosts[1]: found "*", expected a host that is not in domain.media.hosts[0] too'),
        (MEDIA + "rules = [{ policy = 'default' }]", "domain.media.rules[0]: found no condition, expected match, type, larger or smaller"),
        (MEDIA + "rules = [{ match = 'x' }]", "domain.media.rules[0].policy: found nothing, expected a string"),
        (MEDIA + "rules = [{ mach = 'x', policy = 'default' }]", "domain.media.rules[0].mach: found an unknown key, expected one of larger, match, policy, smaller, type (did you mean match?)"),
        (MEDIA + "rules = [{ match = '/x', policy = 'default' }]", 'domain.media.rules[0].match: found "/x", expected a path such as "thumbs/**", without a leading slash'),
        (MEDIA + "rules = [{ type = 'video', policy = 'default' }]", 'domain.media.rules[0].type: found "video", expected a media type such as "image/png" or "video/*"'),
        (MEDIA + "rules = [{ larger = '1x', policy = 'default' }]", 'domain.media.rules[0].larger: found "1x", expected a size such as "5GiB" or "10MB", or a number of bytes'),
        (MEDIA + "rules = [{ larger = '5MB', smaller = '4000kB', policy = 'default' }]", 'domain.media.rules[0].smaller: found "4MB", expected more than larger, which is 5MB'),
        (MEDIA + "rules = [{ match = 'x', policy = 'larg' }]\n[policy.large]", 'domain.media.rules[0].policy: found "larg", expected one of default, large (did you mean large?)'),
        (SMALL + "host = 'h'\nzone = 'a'\n" + SMALL.replace("store1]", "store2]") + "host = 'h'", 'backend.store2.zone: found "default", expected "a" as for store1, which is on the same host h'),
        # what the kinds themselves refuse
        (SMALL + "[policy.s]\nkind = 'stern'\nstrict = false", "policy.s: found false, and it cannot be"),
        (SMALL + "[policy.s]\nkind = 'stern'", "policy.s: it refuses everything"),
    ],
)  # fmt: skip
def test_mistakes(text, message):
    assert mistake(text).startswith(message)


def test_a_backend_that_its_kind_refuses():
    with pytest.raises(ConfigError) as caught:
        loads(SMALL + "secret = ''").make_backends(None)
    assert str(caught.value) == "x.toml: backend.store1: the secret is empty"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[http]\nlisten = [\n\n  'a' 'b']", "this is not TOML: Unclosed array (at line 4, column 7)"),
        (
            "[http]\nlisten",
            "this is not TOML: Expected '=' after a key in a key/value pair (at end of document)",
        ),
        ("[http]\n[http]\n", "this is not TOML: Cannot declare ('http',) twice (at line 2, column 6)"),
        ("x = " + "[" * 100_000, "this is not TOML: "),
        ("x = " + "9" * 5_000, "this is not TOML: "),
    ],
)
def test_no_toml(text, message):
    assert mistake(text).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        SMALL + "[state]\nredis = 'redis://user:hush@h:port/0'",
        SMALL + "[state]\nredis = 'http://user:hu@sh@h/'",
        SMALL + "[state]\nredis = 'redis://user:hush#1@h/'",
        SMALL + "secret = ['hush']",
        SMALL + "link-key = ['hush']",
        SMALL + "internal_url = 'http://user:hush@h/'",
        SMALL + "internal_url = 'http://h/?signature=hush'",
        SMALL + "secert = 'hush'",
        SMALL + "[state]\nredis = 'redis:/me:hush@h'",
        SMALL + "[state]\nredis = 'redis://:hush'",
        SMALL + "[state]\nredis = 'redis://:hush@h'\nredis_password = 'other'",
        SMALL + "[state]\nredis = 'redis://h'\nredis_password = ['hush']",
        SMALL + "[state]\nredis = ['redis://:hush@h']",
        SMALL + "[state]\nredis = 'redis://h'\nsentinel_password = 'hush'",
        SMALL + "internal_url = 'user:hush@h'",
        "token = 'hush'\n" + SMALL,
        "token = ['hush']\n" + SMALL,
        SMALL + "[[token]]\nname = 'a'\nscopes = ['read']\nsha256 = 'hush'",
        SMALL + "[[token]]\nname = 'a'\nscopes = ['read']\nsha256 = ['hush']",
        SMALL + "[[token]]\nname = 'a'\nscopes = ['read']\nsha256 = '00'\nsecret = 'hush'",
        "signing_key = 'hush'\n" + SMALL,
        SMALL + "[[signing_key]]\nid = 'a'\nsecret = 'hush'",
        SMALL + "[[signing_key]]\nid = 'a'\nsecret = ['hush']",
    ],
)
def test_secrets_are_not_told(text):
    assert "hush" not in mistake(text)


def test_long_values_are_cut():
    assert len(mistake(SMALL + f"[http]\nupload_redirect = '{'x' * 10_000}'")) < 200


@given(st.text(max_size=200))
def test_anything_is_one_line_or_fine(text):
    try:
        loads(text)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing.toml: cannot be read: No such file or directory"):
        load(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match=r": cannot be read: Is a directory"):
        load(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# für".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin.toml: this is not UTF-8 at byte 3"):
        load(latin)
