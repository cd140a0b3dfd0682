"""From a prompt to an answer.

`engine` decodes all requests together, with `sampling`, the weights of `weights`, and the C code of `native`.
`session` is a conversation; `grounded` answers from what was looked up and checks it, for chat and evaluation alike;
`best` picks the best of several answers. `answer_file` answers a file of prompts.
"""
