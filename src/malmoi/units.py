"""Quantities in words that people read at a glance."""


def size(n_bytes: float) -> str:
    """Bytes with three digits and a unit: 2.35 MB."""
    unit, name = next(((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if n_bytes >= u), (1.0, "B"))
    return f"{n_bytes / unit:.3g} {name}"


def duration(seconds: float) -> str:
    """Minutes and seconds, tenths below a minute: 5 min 12 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
