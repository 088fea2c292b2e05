"""This is a project of its own: ``tests/config/test_example_plugin.py`` installs it and runs its tests."""

collect_ignore_glob = ["*"]
