"""What several processes count is shown as one."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from dragonbelly.metrics import Metrics, total


def shown(text: bytes) -> dict[tuple[str, str], float]:
    """By name and labels; each of them once."""
    samples = [s for family in text_string_to_metric_families(text.decode()) for s in family.samples]
    found = {(s.name, ",".join(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value for s in samples}
    assert len(found) == len(samples)
    return found


def counted(redirects: dict[str, int], seconds: list[float], busy: int = 0) -> Metrics:
    metrics = Metrics()
    for backend, number in redirects.items():
        metrics.redirects.labels(backend).inc(number)
    for value in seconds:
        metrics.redis.labels("GET").observe(value)
    metrics.busy.set(busy)
    return metrics


def test_counters_and_histograms_are_summed() -> None:
    one = counted({"a": 2}, [0.001, 0.3], busy=1)
    other = counted({"a": 3, "b": 4}, [0.001], busy=5)
    sums = shown(one.render([other.render()]))
    assert sums["dragonbelly_redirects_total", "backend=a"] == 5
    assert sums["dragonbelly_redirects_total", "backend=b"] == 4
    assert sums["dragonbelly_redis_seconds_count", "command=GET"] == 3
    assert sums["dragonbelly_redis_seconds_bucket", "command=GET,le=0.001"] == 2
    assert sums["dragonbelly_redis_seconds_bucket", "command=GET,le=+Inf"] == 3
    # What is so now is ours to say.
    assert sums["dragonbelly_replicator_busy", ""] == 1
    alone = shown(one.render())
    assert {name for name, _ in sums} == {name for name, _ in alone}


def test_a_sum_is_a_text_like_any_other() -> None:
    texts = [counted({"a": n}, [0.001]).render() for n in range(4)]
    past = b""
    for text in texts:
        past = total([past, text])
    assert shown(past)["dragonbelly_redirects_total", "backend=a"] == 6
    assert ("dragonbelly_replicator_busy", "") not in shown(past)
    assert shown(total([past, b""])) == shown(past)
    assert shown(Metrics().render([past]))["dragonbelly_redis_seconds_count", "command=GET"] == 4


def test_a_backend_that_is_gone_is_not_shown() -> None:
    from tests.web.world import World

    world = World()
    world.metrics.set_cluster(world.daemon.cluster.view)
    view = {name: view for name, view in world.daemon.cluster.view.items() if name != "s1"}
    world.metrics.set_cluster(view)
    labels = {labels for name, labels in shown(world.metrics.render()) if name == "dragonbelly_backend_state"}
    assert labels
    assert not [one for one in labels if "backend=s1" in one]
    world.close()
