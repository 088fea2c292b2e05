"""Records at random."""

from hypothesis import strategies as st

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
    replicas=st.lists(replicas, max_size=3).map(tuple),
    content_type=st.none() | st.just("image/jpeg"),
    terms=st.none() | st.builds(Terms, st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)),
    upload=st.none() | st.builds(Upload, deadline=st.integers(0, 1 << 33), create_only=st.booleans()),
)
records = st.builds(
    Record,
    versions=st.lists(versions, max_size=3).map(tuple),
    thin_since=st.none() | st.integers(0, 1 << 33),
    tries=st.integers(0, 9),
)
