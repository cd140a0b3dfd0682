"""How good a model is: every figure has its interval (`interval`).

`evaluate` measures a model folder by itself: tasks (`tasks`, `choice`, `likelihood`, `math_problems`, `ifeval`) and
text (`bits_per_byte`, `heldout`, `quantised`). `natural` and its neighbours ask what people ask, with the look-up.
`reward_*`, `counted_words` and `agreement` judge a reward model; `judged`, `judge_error`, `best_of` and `to_rank` judge
policies by one, and `rank_next` says what people should rank. `demo` and `compare` are what the stages `eval` and
`compare` measure; `watch` looks at a policy while it trains.
"""
