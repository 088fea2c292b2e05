"""What others do with the same request: real servers, started beside ours and measured in the same run."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Self

import psutil

from benchmarks import filling, paths
from tests.servers.nginx import system_binary
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess, listens
from tests.servers.redis import RedisServer

MODULES = Path("/usr/lib/nginx/modules")
LUA = Path("/usr/share/lua/5.1")

#: The headers of ours that the references send as well.
HEADERS = ("ETag", "Cache-Control", "Repr-Digest", "Link")

#: Requests of one connection, as many as ours takes.
KEEPALIVE = "keepalive_requests 10000;"


class Reference(ServerProcess):
    """A server of one process on a free port."""

    #: What it is called in the report.
    title = ""
    log_name = "error.log"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        return listens(self.port)

    def psutil(self) -> list[psutil.Process]:
        return [psutil.Process(self.running.pid)]


class Nginx(Reference):
    """nginx with this ``location /``, one process that is all of it, and ``modules`` of Debian's packages."""

    modules: tuple[str, ...] = ()
    settings = ""

    def location(self) -> str:
        raise NotImplementedError

    def start(self) -> Self:
        configuration = self.directory / "nginx.conf"
        loaded = "".join(f"load_module {MODULES / module};\n" for module in self.modules)
        temporary = " ".join(
            f"{kind}_temp_path {self.directory}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration.write_text(f"""\
{loaded}daemon off; master_process off; pid {self.directory}/pid;
events {{ worker_connections 1024; }}
http {{
    {temporary}
    access_log off;
    {KEEPALIVE}
    {self.settings}
    server {{
        listen 127.0.0.1:{self.port};
        location / {{
            {self.location()}
        }}
    }}
}}
""")
        self.spawn(
            [system_binary(), "-p", self.directory, "-c", configuration, "-e", self.directory / "error.log"]
        )
        self.wait_until_it_answers()
        return self


class NginxRedirect(Nginx):
    """The same redirect for all, with ``headers`` as long as ours: nothing is looked up."""

    title = "nginx return 302"

    def __init__(self, location: str, headers: dict[str, str]) -> None:
        super().__init__()
        self._location, self._headers = location, headers

    def location(self) -> str:
        added = "".join(f"add_header {name} '{value}' always;\n" for name, value in self._headers.items())
        return f"{added} return 302 {self._location};"


class NginxLua(Nginx):
    """Asks Redis for each path, on connections that are kept, and redirects to the value."""

    title = "nginx + Lua + Redis GET"
    modules = ("ndk_http_module.so", "ngx_http_lua_module.so")
    settings = f"lua_package_path '{LUA}/?.lua;;';"

    def __init__(self, redis: RedisServer, headers: dict[str, str]) -> None:
        super().__init__()
        self._redis, self._headers = redis, headers

    @staticmethod
    def missing() -> str | None:
        """What has to be installed for it."""
        for file, package in (
            (MODULES / "ngx_http_lua_module.so", "libnginx-mod-http-lua"),
            (LUA / "nginx/redis.lua", "lua-nginx-redis"),
        ):
            if not file.exists():
                return package
        return None

    def location(self) -> str:
        added = "".join(f"ngx.header['{name}'] = [[{value}]]\n" for name, value in self._headers.items())
        return f"""
            content_by_lua_block {{
                local redis = require("nginx.redis"):new()
                redis:set_timeout(1000)
                local connected, why = redis:connect("unix:{self._redis.socket}")
                if not connected then error(why) end
                local location = redis:get(ngx.var.uri)
                redis:set_keepalive(60000, 64)
                if not location or location == ngx.null then return ngx.exit(404) end
                {added}
                return ngx.redirect(location, 302)
            }}"""


class LlhttpRedis(Reference):
    """``benchmarks.llhttp_redis``: what Twisted, llhttp and txredisapi do with it at least."""

    title = "llhttp + txredisapi GET"

    def __init__(self, redis: RedisServer, headers: dict[str, str]) -> None:
        super().__init__()
        self._redis, self._headers = redis, headers

    def start(self) -> Self:
        headers = [f"{name}: {value}" for name, value in self._headers.items()]
        root = Path(__file__).parents[1]
        program = [sys.executable, "-m", "benchmarks.llhttp_redis", str(self.port), str(self._redis.socket)]
        self.spawn([*program, *headers], cwd=root)
        self.wait_until_it_answers()
        return self


def fill(redis: RedisServer, files: int, location: str) -> None:
    """Give the references' Redis a Location for each path, as long as ours."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(redis.socket))
        for start in range(0, files, filling.BATCH):
            words = ["MSET"]
            for n in range(start, min(files, start + filling.BATCH)):
                words += [f"/{paths.name(n)}", location.replace(f"{0:040d}", f"{n:040d}")]
            filling.send(str(redis.socket), [tuple(words)], connection)
