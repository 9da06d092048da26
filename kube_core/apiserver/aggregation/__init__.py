"""The aggregation layer: groups of the API that other servers serve, as APIService objects say.

`registration` keeps an APIService for every group and version that this server serves itself. `layer` follows those
that name a Service: it checks whether they answer (`availability`), passes requests on to them, and brings what they
serve into discovery (`discovery`) and OpenAPI (`openapi`). Documented under "Kubernetes API Aggregation Layer".
"""
