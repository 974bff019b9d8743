"""Managed: which prices are in force when?"""

from __future__ import annotations

from gateway.managed import DatedPrice, Managed


def price(model: str, at_ms: int, dollars: float) -> DatedPrice:
    return DatedPrice(
        model=model, effective_from_ms=at_ms, figures={"input_cost_per_token": dollars}
    )


PRICES = Managed(
    prices=(price("p/m", 300, 3.0), price("p/m", 100, 1.0), price("p/n", 200, 2.0)),
)


def dollars(now_ms: int) -> dict[str, float]:
    return {m: f["input_cost_per_token"] for m, f in PRICES.prices_at(now_ms).items()}


def test_a_price_holds_from_its_moment_until_the_next() -> None:
    assert dollars(99) == {}
    assert dollars(100) == {"p/m": 1.0}
    assert dollars(299) == {"p/m": 1.0, "p/n": 2.0}
    assert dollars(300) == {"p/m": 3.0, "p/n": 2.0}


def test_the_next_change_is_the_nearest_moment_ahead() -> None:
    assert PRICES.next_change_ms(0) == 100
    assert PRICES.next_change_ms(100) == 200
    assert PRICES.next_change_ms(299) == 300
    assert PRICES.next_change_ms(300) is None
