"""Django's Storage API on Dragonbelly, and a storage of static files."""

from __future__ import annotations

import io
import mimetypes
import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.storage import ManifestFilesMixin
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import Storage
from django.core.signals import setting_changed
from django.utils import timezone
from django.utils.deconstruct import deconstructible

from dragonbelly.client import Client
from dragonbelly.client import File as Stored
from dragonbelly.client.errors import Error, NotFound, NotYet, PreconditionFailed
from dragonbelly.contrib.django.files import DragonbellyFile
from dragonbelly.contrib.django.options import Options
from dragonbelly.errors import BadPath
from dragonbelly.names import SEGMENT_MAX, check_name
from dragonbelly.web.paths import quote_name

#: Names that are tried while others take each of them first.
NAMES = 10

#: Types of files that are packed as a whole, by what ``mimetypes`` calls their encoding.
_PACKED = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}


@deconstructible(path="dragonbelly.contrib.django.DragonbellyStorage")
class DragonbellyStorage(Storage):
    """
    Files of a Dragonbelly domain.  ``options`` are the fields of ``Options``; those not given are taken from
    ``settings.DRAGONBELLY``.  Threads may share one, and so may a process and its forks.

    Names have no slash in front.  There are no directories: only names with slashes.

    :raises SuspiciousFileOperation: from every method: no file of this storage can have that name.
    :raises dragonbelly.client.Error: from every method that asks the server; a missing file is a
        ``FileNotFoundError``, too.
    """

    def __init__(self, **options: Any) -> None:
        self._given = options
        self._options: Options | None = Options.of_settings(options)
        self._connection: tuple[int, Client] | None = None
        setting_changed.connect(self._forget)

    def _forget(self, *, setting: str, **_: Any) -> None:
        # Tests override settings.  The new ones are read when they are needed: an error has no place in here.
        if setting == "DRAGONBELLY":
            self._options = self._connection = None

    @property
    def options(self) -> Options:
        options = self._options
        if options is None:
            options = self._options = Options.of_settings(self._given)
        return options

    @property
    def client(self) -> Client:
        """One for each process: connections do not survive a fork."""
        connection = self._connection
        if connection is None or connection[0] != os.getpid():
            options = self.options
            client = Client(
                options.url,
                token=options.token,
                domain=options.domain,
                timeout=options.timeout,
                retries=options.retries,
            )
            # Two threads may come here at once; then one of the two is used once and forgotten.
            connection = self._connection = (os.getpid(), client)
        return connection[1]

    def path_of(self, name: str) -> str:
        """The path of the file with this name."""
        name = str(name).replace("\\", "/")
        try:
            return check_name(self.options.location + posixpath.normpath(name))
        except BadPath as error:
            raise SuspiciousFileOperation(f"{name!r} is no name of a file: {error}") from None

    def name_of(self, path: str) -> str:
        """The name of the file at this path."""
        return path.removeprefix(self.options.location)

    # --- reading

    def _open(self, name: str, mode: str = "rb") -> DragonbellyFile:
        return DragonbellyFile(self, name, mode)

    def stat(self, name: str) -> Stored:
        """All that is known of the file.  :raises FileNotFoundError:"""
        return self.client.stat(self.path_of(name))

    def exists(self, name: str) -> bool:
        """Whether there is such a file, or a file under this directory: ``collectstatic --clear`` asks that."""
        if _is_root(name):
            return True
        path = self.path_of(name)
        with suppress(NotFound):
            self.client.stat(path)
            return True
        return bool(self.client.page(f"{path}/", limit=1).files)

    def size(self, name: str) -> int:
        return self.stat(name).size or 0

    def get_modified_time(self, name: str) -> datetime:
        created = self.stat(name).created
        return created if settings.USE_TZ else timezone.make_naive(created, timezone.get_default_timezone())

    get_created_time = get_modified_time  # a file that is overwritten is another one

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Directories and files directly under it; of a directory that is none: nothing."""
        prefix = self.options.location if _is_root(path) else f"{self.path_of(path)}/"
        directories, files = [], []
        for item in self.client.list(prefix, "/"):
            if isinstance(item, str):
                directories.append(item.removeprefix(prefix).removesuffix("/"))
            else:
                files.append(item.path.removeprefix(prefix))
        return directories, files

    def url(self, name: str | None) -> str:
        """Where browsers find it; nobody is asked whether it is there.  It is signed, if there is a key."""
        if not name:
            return self.options.base
        # "admin/" of {% static %} is no file and has a URL.
        end = "/" if name.endswith("/") else ""
        path = self.path_of(name)
        if self.options.signer is not None and self.options.base_url is None and not end:
            return self.options.signer(path)
        return self.options.base + quote_name(self.name_of(path)) + end

    # --- writing

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        if self.options.allow_overwrite and (max_length is None or len(name) <= max_length):
            return name
        directory, file = posixpath.split(str(name).replace("\\", "/"))
        if len(file.encode()) > SEGMENT_MAX:
            extension = "".join(PurePosixPath(file).suffixes)
            file = self.get_alternative_name(file.removesuffix(extension), extension)
        return super().get_available_name(posixpath.join(directory, file), max_length)

    def get_alternative_name(self, file_root: str, file_ext: str) -> str:
        """As Django's; what a path may not have in one segment is cut off the root, as ``max_length`` is."""
        name = super().get_alternative_name(file_root, file_ext)
        excess = len(name.encode()) - SEGMENT_MAX
        if excess <= 0:
            return name
        # By bytes, as the limit is; a character that is cut in two goes as a whole.
        root = file_root.encode()[:-excess].decode(errors="ignore")
        return super().get_alternative_name(root, file_ext)

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        """As Django's; when somebody else takes the name meanwhile, under another one."""
        for left in range(NAMES - 1, -1, -1):
            try:
                return super().save(name, content, max_length)
            except PreconditionFailed:
                if not left or not _is_seekable(content):
                    raise
        raise AssertionError("unreachable")

    def _save(self, name: str, content: Any) -> str:
        path = self.path_of(name)
        create = not self.options.allow_overwrite
        try:
            self._put(path, content, create)
        except NotYet:
            if create:  # what save() did not return a name of is nobody's
                with suppress(Error):
                    self.client.delete(path)
            raise
        return self.name_of(path)

    def replace(self, name: str, content: Any) -> None:
        """Save under this very name, in place of the file that may be there."""
        self._put(self.path_of(name), content, create=False)

    def _put(self, path: str, content: Any, create: bool) -> None:
        self.client.put(
            path,
            _rewound(content),
            if_none_match=create,
            wait_copies=self.options.wait_copies,
            **self.asked_of(path, content),
        )

    def asked_of(self, path: str, content: Any = None) -> dict[str, Any]:
        """What is asked for with the file: ``content_type``, ``attributes``, ``copies``, ``policy``."""
        return {
            "content_type": content_type(path, content),
            "attributes": dict(self.options.attributes) if self.options.attributes else None,
            "copies": self.options.copies,
            "policy": self.options.policy,
        }

    def delete(self, name: str) -> None:
        if not name:
            raise ValueError("The name must be given to delete().")
        with suppress(NotFound):
            self.client.delete(self.path_of(name))


class DragonbellyManifestStaticStorage(ManifestFilesMixin, DragonbellyStorage):  # type: ignore[misc]
    """
    Static files with a digest in their names, as ``ManifestStaticFilesStorage``, under ``static/``.  Their URLs
    are not signed: they stand in style sheets, which stay.
    """

    def __init__(self, *, manifest_storage: Storage | None = None, **options: Any) -> None:
        defaults = {"location": "static/", "allow_overwrite": True, "signing_key": None}
        self._is_collecting = False
        super().__init__(manifest_storage=manifest_storage, **{**defaults, **options})

    def post_process(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """
        As Django's, which deletes the files and the manifest before it saves each under the same name: here
        they are replaced, and a site that is being deployed finds what it shows all the time.
        """
        self._is_collecting = self.options.allow_overwrite
        try:
            yield from super().post_process(*args, **kwargs)
        finally:
            self._is_collecting = False

    def delete(self, name: str) -> None:
        if not self._is_collecting:
            super().delete(name)


def content_type(name: str, content: Any = None) -> str | None:
    """
    By the name's extension, as nginx tells it: what the uploading browser says is worth nothing where the
    extension was checked.  Else what the file says of itself.
    """
    guessed, encoding = mimetypes.guess_type(name)
    if encoding is not None:
        return _PACKED.get(encoding, "application/octet-stream")
    return guessed or getattr(content, "content_type", None) or None


def _is_root(name: str) -> bool:
    return posixpath.normpath(str(name)) == "."


def _is_seekable(content: Any) -> bool:
    try:
        return bool(content.seekable())
    except AttributeError:
        return False


def _rewound(content: Any) -> Any:
    """What the client takes, from its beginning: a binary file, or chunks."""
    if _is_seekable(content):
        content.seek(0)
        if isinstance(content.read(0), bytes):
            return content
        return io.BytesIO("".join(_all(content.read)).encode())
    return (chunk.encode() if isinstance(chunk, str) else chunk for chunk in content.chunks())


def _all(read: Callable[[int], str]) -> Iterator[str]:
    while chunk := read(File.DEFAULT_CHUNK_SIZE):
        yield chunk
