"""People: who they are, what they ask and say, what is learned from it, and the gate. It knows no HTTP.

`accounts`, `sessions`, `settings`: who may do what. `chats`, `service`, `origin`: conversations, and what answers them.
`signals`, `comparing`, `taught`: what people say of answers, and better answers at work. `teaching`, `teach_items`,
`practice`: ranking and writing. `judgements`, `learning`: snapshots to learn from. `contenders`, `gate_comparisons`,
`gate`, `promotion`: blind comparisons of two versions, their verdict, and what follows from it.
"""
