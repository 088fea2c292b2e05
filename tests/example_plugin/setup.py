from setuptools import setup

setup(
    name="example-directory",
    version="1.0",
    description="An example of a plugin for Dragonbelly",
    # Twisted owns the package twisted.plugins: it is listed, and has no __init__.py here.
    packages=["example_directory", "twisted.plugins"],
    install_requires=["dragonbelly"],
)
