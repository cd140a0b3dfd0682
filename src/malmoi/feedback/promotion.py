"""Put a version in service, go back, refuse one: decisions that the gate's verdict allows, and the ledger keeps."""

from malmoi.feedback.gate_comparisons import verdict_of
from malmoi.feedback.refusals import RefusedError
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.versions import Version, earlier_version, find_version, in_service, record_act


def promote(ledger: Ledger, name: str, *, knowingly: bool = False, person_id: str | None = None) -> Version:
    """Put a version in service. knowingly: though it is not known whether it is better

    Raises RefusedError if it is worse than the version in service, if that is not known and `knowingly` is false, or
    if its weights are gone.
    """
    version, serving = find_version(ledger, name), in_service(ledger)
    _check_there(version)
    if serving is not None and serving.number == version.number:
        return version
    found = verdict_of(ledger, version, serving) if serving is not None else None
    verdict = found.to_row() if found is not None else None
    if verdict is not None and serving is not None:
        if verdict["outcome"] == "worse":
            raise RefusedError(
                "worse", f"{version.name}: people find its answers worse than those of {serving.name} "
                f"({_rate(verdict)}); it is not put in service", verdict=verdict,
            )  # fmt: skip
        if verdict["regression"]["fell"]:
            lost = verdict["regression"]
            raise RefusedError(
                "regressed", f"{version.name}: answers {lost['candidate']} of {lost['n']} pinned questions correctly, "
                f"and {serving.name} {lost['in_service']}; it is not put in service", verdict=verdict,
            )  # fmt: skip
        if verdict["outcome"] == "not known yet" and not knowingly:
            raise RefusedError(
                "not_known_yet", f"{version.name}: it is not known yet whether it is better than {serving.name}"
                f"{_rest(verdict)}; malmoi versions compare {version.name}, or --knowingly", verdict=verdict,
            )  # fmt: skip
    is_unknown = verdict is not None and verdict["outcome"] == "not known yet"
    record_act(
        ledger, "promote", version.number, instead_of=_number(serving), person_id=person_id,
        knowingly=is_unknown, verdict=found.to_record() if found is not None else None,
    )  # fmt: skip
    return find_version(ledger, name)


def rollback(ledger: Ledger, to: str | None = None, *, person_id: str | None = None) -> Version:
    """Go back to the version that was in service before, or to an earlier one. Raises RefusedError if there is none."""
    serving, before = in_service(ledger), earlier_version(ledger)
    if to is None and before is None:
        raise RefusedError("nothing_earlier", "no version was in service before; there is nothing to go back to")
    version = find_version(ledger, to or f"v{before}")
    if version.state == "in_service":
        return version
    if version.state in ("candidate", "refused") and not any(act["act"] != "refuse" for act in version.history):
        raise RefusedError(
            "nothing_earlier", f"{version.name}: was never in service; malmoi versions promote {version.name}"
        )
    _check_there(version)
    record_act(ledger, "rollback", version.number, instead_of=_number(serving), person_id=person_id)
    return find_version(ledger, version.name)


def refuse(ledger: Ledger, name: str, *, person_id: str | None = None) -> Version:
    """Decide against a version. Raises RefusedError for the version in service."""
    version, serving = find_version(ledger, name), in_service(ledger)
    if version.state == "in_service":
        raise RefusedError("in_service", f"{version.name}: is in service; go back first: malmoi versions rollback")
    if version.state != "refused":
        verdict = verdict_of(ledger, version, serving).to_record() if serving is not None else None
        record_act(
            ledger, "refuse", version.number, instead_of=_number(serving), person_id=person_id,
            verdict=verdict,
        )  # fmt: skip
    return find_version(ledger, name)


def _check_there(version: Version) -> None:
    if version.missing:
        raise RefusedError("missing", f"{version.name}: {version.missing}; it cannot be put in service")


def _number(version: Version | None) -> int | None:
    return None if version is None else version.number


def _rate(verdict: dict[str, float]) -> str:
    return f"wins {verdict['win_rate']:.0%} of {verdict['n']} prompts [{verdict['low']:.0%}, {verdict['high']:.0%}]"


def _rest(verdict: dict[str, int | None]) -> str:
    n_more = verdict["n_more"]
    return f": about {n_more:,} more comparisons would settle it" if n_more else ""
