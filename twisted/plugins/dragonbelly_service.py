"""``twistd dragonbelly``, declared."""

from twisted.application.service import ServiceMaker

dragonbelly = ServiceMaker(
    "dragonbelly",
    "dragonbelly.service",
    "Redirector-based, replicated storage on plain web servers.",
    "dragonbelly",
)
