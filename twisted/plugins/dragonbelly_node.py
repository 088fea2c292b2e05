"""``twistd dragonbelly-node``, declared."""

from twisted.application.service import ServiceMaker

dragonbelly_node = ServiceMaker(
    "dragonbelly-node",
    "dragonbelly.node.service",
    "A small storage server: files by HTTP, with signed uploads.",
    "dragonbelly-node",
)
