"""The built-in kinds of backends and policies, declared as any plugin declares its own."""

from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from dragonbelly.backends.dav import DavFactory
from dragonbelly.backends.node import NodeFactory
from dragonbelly.policies.copies import CopiesFactory

dav = DavFactory()
alsoProvides(dav, IPlugin)

node = NodeFactory()
alsoProvides(node, IPlugin)

copies = CopiesFactory()
alsoProvides(copies, IPlugin)
