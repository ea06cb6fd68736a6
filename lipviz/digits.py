"""Numbers in digits that never claim more than is proven: radii rounded down, bounds rounded up, by exact decimals."""

import math
from decimal import ROUND_DOWN, ROUND_FLOOR, ROUND_UP, Context, Decimal

SEVEN = Context(prec=7, rounding=ROUND_FLOOR)
PLAIN = (1e-6, 1e9)  # between these without an exponent


def rounded_down(value: float, digits: int = 3) -> str:
    """A radius in `digits` digits, never more than it is.

    >>> rounded_down(0.35999), rounded_down(1.0), rounded_down(0.000043217), rounded_down(4.8e-9), rounded_down(0.0)
    ('0.359', '1.00', '0.0000432', '4e-9', '0')
    >>> rounded_down(0.28), rounded_down(0.29), rounded_down(1234.5), rounded_down(1e-323)  # 0.29 is below 29/100
    ('0.280', '0.289', '1234', '9e-324')
    """
    if not value > 0:
        return "0"
    if value == math.inf:
        return "inf"
    digits = 1 if value < PLAIN[0] else digits
    return _text(_rounded(Decimal(value), digits, ROUND_DOWN), value)


def rounded_up(value: float, digits: int = 4) -> str:
    """A bound in at most `digits` digits, never less than it is.

    >>> rounded_up(5.85149), rounded_up(1.0), rounded_up(4084.2), rounded_up(0.00012301), rounded_up(1 + 5.5e-12)
    ('5.852', '1', '4085', '0.0001231', '1 + 6e-12')
    """
    if 0 < value - 1 < 1e-6:
        return f"1 + {_rounded(Decimal(value) - 1, 1, ROUND_UP):e}"
    if not 0 < value < math.inf:
        return f"{value}"
    return _text(_rounded(Decimal(value), digits, ROUND_UP).normalize(), value)


def seven_digits(value: float) -> str:
    """Seven digits of the value, and never more than it: a radius that is written down must still be certified.

    >>> seven_digits(0.29999999999), seven_digits(2.0)
    ('0.2999999', '2')
    """
    return str(SEVEN.create_decimal_from_float(value))


def _rounded(exact: Decimal, digits: int, rounding: str) -> Decimal:
    """To that many digits, and where there is no exponent not before the point."""
    last = exact.adjusted() + 1 - digits
    return exact.quantize(Decimal(1).scaleb(last if exact >= PLAIN[1] else min(0, last)), rounding, Context(prec=400))


def _text(number: Decimal, value: float) -> str:
    return f"{number:{'f' if PLAIN[0] <= value < PLAIN[1] else 'e'}}"
