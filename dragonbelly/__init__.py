"""Redirector-based, replicated storage on plain web servers."""

__version__ = "0.1.0"
