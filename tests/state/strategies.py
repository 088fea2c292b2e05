"""Records at random."""

from hypothesis import strategies as st
from msgspec.structs import replace

from dragonbelly.model import Record, Replica, ReplicaState, Terms, Upload, Version, VersionState

BACKENDS = ["store1", "store2", "störe3"]

replicas = st.builds(
    Replica,
    backend=st.sampled_from(BACKENDS),
    state=st.sampled_from(ReplicaState),
    since=st.integers(0, 1 << 33),
    generation=st.integers(0, 3),
    key=st.none() | st.just("media/adopted"),
)
versions = st.builds(
    Version,
    id=st.sampled_from(["01J00000000000000000000000", "01J00000000000000000000001"]),
    state=st.sampled_from(VersionState),
    since=st.integers(0, 1 << 33),
    size=st.none() | st.integers(0, 1 << 50),
    sha256=st.none() | st.binary(min_size=32, max_size=32),
    replicas=st.lists(replicas, max_size=3, unique_by=lambda replica: replica.backend).map(tuple),
    content_type=st.none() | st.just("image/jpeg"),
    terms=st.none() | st.builds(Terms, st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)),
    upload=st.none() | st.builds(Upload, deadline=st.integers(0, 1 << 33), create_only=st.booleans()),
)


def consistent(some: list[Version]) -> tuple[Version, ...]:
    """At most one is live, and each has what a version in its state has."""
    made: list[Version] = []
    for version in some:
        state, upload, size = version.state, version.upload, version.size
        if state is VersionState.LIVE and any(other.state is state for other in made):
            state = VersionState.SUPERSEDED
        if state in (VersionState.UPLOADING, VersionState.ABANDONED):
            upload = upload or Upload(deadline=5)
        made.append(replace(version, state=state, upload=upload, size=0 if size is None else size))
    return tuple(made)


records = st.builds(
    Record,
    versions=st.lists(versions, max_size=2, unique_by=lambda version: version.id).map(consistent),
    thin_since=st.none() | st.integers(0, 1 << 33),
    tries=st.integers(0, 9),
)
