"""The steps from the web's archives to text, one file each: plain functions, and every drop has a reason that counts.

`malmoi.corpus.build` runs them in their order: archive, extract, language, quality, near, contamination, personal.
"""
