"""Money as integer cents, and the rounding all prices share."""

from decimal import ROUND_HALF_UP, Decimal


def cents(text: str) -> int:
    """Cents of an amount as people write it: `12`, `12.5`, `12.50`."""
    amount = Decimal(text)
    if amount != amount.quantize(Decimal("0.01")):
        raise ValueError(f"{text} has more than two decimals")
    return int(amount * 100)


def show(amount: int) -> str:
    """An amount for people: `12.50`, `-0.05`."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02d}"


def share(amount: int, percent: int | Decimal) -> int:
    """A percentage of an amount, rounded half up to whole cents."""
    exact = Decimal(amount) * Decimal(percent) / 100
    return int(exact.quantize(Decimal("1"), rounding=ROUND_HALF_UP))
