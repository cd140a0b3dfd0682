"""Quantities in words that people read at a glance."""

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def size(n_bytes: float) -> str:
    """Bytes with three digits and a unit: 2.35 MB."""
    rounded = float(f"{n_bytes:.3g}")  # first, so that 999,999 bytes are 1 MB
    unit, name = next(((unit, name) for unit, name in UNITS if rounded >= unit), (1.0, "B"))
    return f"{rounded / unit:.3g} {name}"


def duration(seconds: float) -> str:
    """Minutes and seconds, tenths below a minute: 5 min 12 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
