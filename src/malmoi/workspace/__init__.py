"""A team's workspace: its folder, its locks, its database, and how models come in and go out.

`folder` and `locks`: the layout, and which process may do what. `schema`, `database`, `migrations`, `ledger`, `runs`,
`claims`: the records, and whose work a run is. `hashes`: the SHA-256 of files. `models`, `transfer`, `hub`, `wheel`,
`download`, `known`: models by name, and where they come from. `versions`, `jobs`: what is in service, and the work that
makes candidates. `indexes`, `answers`, `answer_lineage`, `version_lineage`: what is looked up in, and
where an answer or a version came from. `heldout`: text that was kept out of training.
"""
