"""
``dragonbelly://`` for fsspec, and so for pandas, pyarrow, dask and all that read and write by its file systems.

``pip install 'dragonbelly[fsspec]'``; fsspec finds it by itself.
"""

from dragonbelly.contrib.fsspec.filesystem import DragonbellyFileSystem

__all__ = ("DragonbellyFileSystem",)
