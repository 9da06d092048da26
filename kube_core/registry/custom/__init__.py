"""Custom resources: what a CustomResourceDefinition says, carried out.

    pruning.py       what the schema does not know is dropped
    embedded.py      whole objects within: their metadata, and what they say they are
    defaulting.py    defaults filled in, nulls that may not be dropped
    validation.py    values checked, in upstream's words; formats.py and patterns.py: texts
    counterparts.py  which old item a new one is compared with
    list_types.py    sets without doubles, maps with unique keys
    rules.py         rules in CEL; rule_costs.py: what they may cost
    descriptors.py   from a definition to what the server serves
    strategy.py      what is particular to custom resources in the generic registry
    registry.py      that registry: reads by the schema, shows every version, stores one

All but `registry.py` is pure: documents in, documents and errors out. The definitions themselves, as objects, are in
`kube_core.registry.kinds.definitions`; the loop that puts them into the catalogue is the API server's.
"""
