"""When copies give way to uploads."""

from __future__ import annotations

from dragonbelly.replication.haste import EXPECTED, Haste


def test_without_patience_there_is_always_haste():
    haste = Haste(0)
    haste.upload_began(10)
    haste.claimed(10, more=True)
    assert haste.at(10)


def test_it_gives_way_to_an_upload_and_those_expected_after_it():
    haste = Haste(30)
    assert haste.at(10)
    haste.upload_began(10)
    assert not haste.at(10)
    assert not haste.at(10 + EXPECTED - 0.01)
    assert haste.at(10 + EXPECTED)


def test_it_gives_way_for_so_long_at_a_time():
    haste = Haste(30)
    for now in range(100, 130):
        haste.upload_began(now)
        haste.claimed(now, more=True)
        assert not haste.at(now)
    haste.upload_began(130)
    assert haste.at(130)
    # Until all that waited is done.
    haste.claimed(131, more=False)
    haste.upload_began(131)
    assert not haste.at(131)


def test_a_clock_that_was_set_back_gives_no_way():
    haste = Haste(30)
    haste.upload_began(1000)
    assert haste.at(10)
    haste.claimed(1000, more=True)
    haste.upload_began(10)
    assert haste.at(10)
