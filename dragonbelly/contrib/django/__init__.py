"""
Dragonbelly in Django (4.2 and newer): a storage, a middleware that guards files, uploads straight from
browsers.

``pip install 'dragonbelly[django]'``
"""

from __future__ import annotations

from dragonbelly.contrib.django.middleware import DragonbellyMiddleware, redirect_to
from dragonbelly.contrib.django.storage import DragonbellyManifestStaticStorage, DragonbellyStorage

__all__ = ("DragonbellyManifestStaticStorage", "DragonbellyMiddleware", "DragonbellyStorage", "redirect_to")
