"""The training loop (`loop`), what it is given (`job`), and its parts: `optim`, `checkpoint`, `hooks`, `parallel`.

`rollouts` and `policy_maths` are what algorithms share that learn from their own answers. `probe` fits a reward model
without the loop: it reads `features`, turns them (`coordinates`) and fits a regression (`bayes`).
"""
