"""Class activation maps of stored epochs: resolve, compute, record, then render.

- `resolve`: a client's query becomes a `MapRequest`, in one read transaction.
- `compute`: a `MapRequest` becomes a `ClassMap`; networks and maps are cached by content hash.
- `record`: the metadata of computed maps is stored, for counts and shared color scales.
- `pictures`, `atlas`, `blanks`, `scores`, `evaluation` and `export` compose these steps. Each
  returns a `Deferred`: an identity that costs no torch, and the computation behind it.
"""
