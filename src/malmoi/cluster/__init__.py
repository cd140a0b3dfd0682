"""Work on other machines: functions of Malmoi as tasks of a Ray cluster, which runs in a process of its own here.

`client` is what the rest of Malmoi uses. `agent` is the process that speaks to Ray: Ray ends a process whose cluster
has gone away, and that must not be the one that holds the ledger. `worker` runs on the other machines.
"""
