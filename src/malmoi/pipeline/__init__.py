"""Recipe -> stages -> runs.

`recipe` reads a recipe, `plan` finds what each stage reads, `run` runs the stages and tells a `watcher`; `log` writes
a run's log. `doctor`, `estimate` and `memory` say whether a recipe can be run here, and how long it takes. `improve`
makes a recipe of what people said, and `work` runs such jobs. `standalone` trains one algorithm without a recipe.
"""
