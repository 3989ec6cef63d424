"""The formats other tools keep autoencoders in, and what is written for them.

`load.load` reads any of them, from disk or the Hugging Face Hub; `saelens`, `sparsify` and `dictionary_learning` are formats,
each with `save`, `load` and `origin`. `hub` and `card` publish, `neuronpedia` writes the import files of feature dashboards.
"""
