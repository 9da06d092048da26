"""Requests that the server itself sends: to backends of the aggregation layer, to what `proxy` leads to, to nodes.

`client` sends one request and gives its answer as it comes; `passing` carries a client's request there and the answer
back; `rewriting` makes an answer's links lead through the server again. Where a request is to go is decided elsewhere.
"""
