"""What who leads sees of the teaching: one figure of how far people agree."""

from collections import defaultdict
from itertools import combinations
from typing import Any

from sqlalchemy import select

from malmoi.evals.agreement import pairwise_agreement
from malmoi.evals.interval import bootstrap
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import Lease, TeachItem


def people_agree(ledger: Ledger) -> dict[str, Any] | None:
    """The share of pairs of answers that two people order alike, with its interval over prompts; None without pairs.

    A tie agrees with a tie only. {"pairs", "share", "low", "high", "people"}
    """
    query = select(Lease.item_id, Lease.person_id, Lease.shown, Lease.said).join(
        TeachItem, TeachItem.id == Lease.item_id
    )
    by_item: dict[str, list[dict[str, int]]] = defaultdict(list)
    people = set()
    with ledger.engine.connect() as connection:
        for row in connection.execute(query.where(Lease.status == "saved", TeachItem.kind == "rank")):
            if row.said["ranks"]:
                by_item[row.item_id].append(dict(zip(row.shown, row.said["ranks"], strict=True)))
                people.add(row.person_id)
    shares: list[float] = []
    weights: list[float] = []
    groups: list[str] = []
    for item, rankings in by_item.items():
        for one, other in combinations(rankings, 2):
            both = sorted(one)
            found = pairwise_agreement([one[id] for id in both], [other[id] for id in both])
            shares.append(found.with_ties)
            weights.append(found.n_pairs)
            groups.append(item)
    if not shares:
        return None
    interval = bootstrap(shares, groups, weights=weights)
    figures = {"share": interval.mean, "low": interval.low, "high": interval.high}
    return {"pairs": int(sum(weights)), **figures, "people": len(people)}
