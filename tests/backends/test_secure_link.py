from dragonbelly.backends.secure_link import signed


def test_as_nginx_documents_it() -> None:
    # echo -n '2147483647GET/s/link secret' | openssl md5 -binary | openssl base64 | tr +/ -_ | tr -d =
    assert signed("secret", "GET", "/s/link", 2147483647) == "md5=fGygbAGIe3ZBYy2YH4AmtQ&expires=2147483647"


def test_a_link_to_read_is_a_link_to_ask_for_the_size() -> None:
    assert signed("s", "HEAD", "/a", 1) == signed("s", "GET", "/a", 1)


def test_everything_counts() -> None:
    links = {
        signed(secret, method, path, expires)
        for secret in "ab"
        for method in ("GET", "PUT", "DELETE")
        for path in ("/a", "/a/", "/é")
        for expires in (1, 12)
    }
    assert len(links) == 2 * 3 * 3 * 2
