"""
Signed URLs as nginx' ``secure_link`` checks them.

Which of them it asks for is in ``etc/nginx-storage.conf``; how it checks them::

    secure_link      $arg_md5,$arg_expires;
    secure_link_md5  "$secure_link_expires$signed_method$uri SECRET";

``$uri`` is the decoded path; ``$signed_method`` is the method, with GET for HEAD: whoever may read an object
may ask how large it is, and one link serves both.  MD5 is what the module has; the secret is at the end of
the message, so that nothing can be appended.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode


def signed(secret: str, method: str, path: str, expires: int) -> str:
    """The query that lets ``method`` be done to the decoded ``path`` (``/…``) until ``expires`` (unix s)."""
    verb = "GET" if method == "HEAD" else method
    message = f"{expires}{verb}{path} {secret}".encode()
    digest = urlsafe_b64encode(hashlib.md5(message, usedforsecurity=False).digest()).rstrip(b"=")
    return f"md5={digest.decode('ascii')}&expires={expires}"
