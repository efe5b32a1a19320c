"""Limits and bans: counted by fixed intervals, told in headers, refused as documented."""

import pytest

from bot4.adapters.exchange.limit import BAN_AFTER, FIRST_BAN_S, AddressLimit, Limits, OrderLimit
from bot4.adapters.exchange.refusal import Refused

NOON = 1_760_011_200.0


def refused(action, *arguments):
    with pytest.raises(Refused) as found:
        action(*arguments)
    return found.value


def test_weight_is_refused_until_the_minute_is_over():
    limit = AddressLimit(Limits(request_weight_1m=100))
    limit.take(NOON + 10, 60)
    limit.take(NOON + 11, 40)
    error = refused(limit.take, NOON + 12, 1)
    assert (error.status, error.code, error.retry_after_s) == (429, -1003, 48)
    assert "100 request weight per 1 MINUTE" in error.text
    limit.take(NOON + 60, 100)


def test_who_goes_on_is_banned_longer_each_time():
    limit = AddressLimit(Limits(request_weight_1m=10))
    limit.take(NOON, 10)
    for _ in range(BAN_AFTER):
        assert refused(limit.take, NOON + 1, 1).status == 429
    error = refused(limit.take, NOON + 1, 1)
    assert (error.status, error.code, error.retry_after_s) == (418, -1003, FIRST_BAN_S + 1)
    assert str(int((NOON + 1 + FIRST_BAN_S) * 1000)) in error.text
    assert refused(limit.check_ban, NOON + FIRST_BAN_S).status == 418
    later = NOON + FIRST_BAN_S + 2
    limit.take(later, 10)
    for _ in range(BAN_AFTER):
        assert refused(limit.take, later, 1).status == 429
    assert refused(limit.take, later, 1).retry_after_s == 2 * FIRST_BAN_S + 1


def test_patience_is_forgotten_with_the_interval():
    limit = AddressLimit(Limits(request_weight_1m=10))
    for minute in range(3):
        limit.take(NOON + 60 * minute, 10)
        for _ in range(BAN_AFTER):
            assert refused(limit.take, NOON + 60 * minute + 1, 1).status == 429


def test_raw_requests_count_whatever_they_weigh():
    limit = AddressLimit(Limits(raw_requests_5m=3))
    for _ in range(3):
        limit.take(NOON, 1)
    assert refused(limit.take, NOON, 1).status == 429
    limit.take(NOON + 300, 1)


def test_orders_by_ten_seconds_and_by_day():
    limit = OrderLimit(Limits(orders_10s=3, orders_1d=5))
    limit.take(NOON, 3)
    error = refused(limit.take, NOON + 9)
    assert (error.status, error.code, error.retry_after_s) == (429, -1015, 1)
    assert "3 orders per 10 SECOND" in error.text
    limit.take(NOON + 10, 2)
    assert "5 orders per 1 DAY" in refused(limit.take, NOON + 20).text
    assert [count.used for count in limit.counts] == [0, 5], "a refused order counts nowhere"
    limit.take(NOON + 43_200)


def test_what_is_refused_within_has_not_been_sent():
    limit = OrderLimit(Limits(orders_10s=3))
    with limit.of(NOON, 2):
        pass
    with pytest.raises(Refused), limit.of(NOON):
        raise Refused(-2010, "no")
    assert [count.used for count in limit.counts] == [2, 2]
    limit.give_back(NOON, 5)
    assert [count.used for count in limit.counts] == [0, 0], "no credit below none"
    limit.take(NOON, 3)
    limit.give_back(NOON + 10, 1)
    assert [count.used for count in limit.counts] == [0, 2], "of the intervals that run now"


def test_orders_of_a_list_count_together_or_not_at_all():
    limit = OrderLimit(Limits(orders_10s=3))
    limit.take(NOON, 2)
    assert refused(limit.take, NOON, 2).code == -1015
    limit.take(NOON, 1)
