"""The parameters of the API's operations, by name, with a word on what each does.

They are the same for every kind; only log, exec, attach, port-forward and proxy have some of their own. Which operation
takes which is said in `operations`.
"""

from __future__ import annotations

import attrs

__all__ = [
    "ATTACH",
    "DELETE",
    "EXEC",
    "LIST",
    "LOG",
    "NAME",
    "NAMESPACE",
    "PATCH",
    "PORT_FORWARD",
    "PRETTY",
    "PROXY_PATH",
    "SELECT",
    "WATCH",
    "WRITE",
    "Parameter",
    "path_query",
]


@attrs.frozen
class Parameter:
    """`place` is `path` or `query`; `type` is that of JSON Schema."""

    name: str
    description: str
    type: str = "string"
    place: str = "query"


NAME = Parameter("name", "The object's name.", place="path")
NAMESPACE = Parameter("namespace", "The namespace of the objects.", place="path")
PROXY_PATH = Parameter("path", "The path to ask for at the other end.", place="path")
PRETTY = Parameter("pretty", "'true' indents the answer.")

_CONTINUE = Parameter("continue", "The token of the answer before, to get what follows it in a list.")
_FIELD_SELECTOR = Parameter("fieldSelector", "Only objects whose fields have these values.")
_LABEL_SELECTOR = Parameter("labelSelector", "Only objects whose labels match.")
_LIMIT = Parameter("limit", "The most items to answer at once; more are got with 'continue'.", "integer")
_RESOURCE_VERSION = Parameter("resourceVersion", "How recent the answer must be, or where a watch starts.")
_RESOURCE_VERSION_MATCH = Parameter("resourceVersionMatch", "'NotOlderThan' or 'Exact': how resourceVersion is meant.")
_SEND_INITIAL_EVENTS = Parameter("sendInitialEvents", "Start a watch with what there is, then a bookmark.", "boolean")
_SHARD_SELECTOR = Parameter("shardSelector", "Only the part of the objects that this shard is for.")
_TIMEOUT = Parameter("timeoutSeconds", "End the call after so many seconds, whatever happens.", "integer")
_DRY_RUN = Parameter("dryRun", "'All': do everything but store the change.")
_FIELD_MANAGER = Parameter("fieldManager", "Who changes the object; its fields are recorded as this manager's.")
_FIELD_VALIDATION = Parameter(
    "fieldValidation", "'Ignore', 'Warn' or 'Strict': what happens with unknown and repeated fields."
)
_CONTAINER = Parameter("container", "Which of the pod's containers; needed where there are several.")

LIST = (
    Parameter("allowWatchBookmarks", "Let a watch tell, with bookmarks, how far it has come.", "boolean"),
    _CONTINUE,
    _FIELD_SELECTOR,
    _LABEL_SELECTOR,
    _LIMIT,
    _RESOURCE_VERSION,
    _RESOURCE_VERSION_MATCH,
    _SEND_INITIAL_EVENTS,
    _SHARD_SELECTOR,
    _TIMEOUT,
    Parameter("watch", "Answer with a stream of changes instead of a list.", "boolean"),
)
WATCH = LIST
WRITE = (_DRY_RUN, _FIELD_MANAGER, _FIELD_VALIDATION)
PATCH = (*WRITE, Parameter("force", "Apply: take over fields that other managers own.", "boolean"))
DELETE = (
    _DRY_RUN,
    Parameter("gracePeriodSeconds", "How long the object may take to end; 0 deletes at once.", "integer"),
    Parameter(
        "ignoreStoreReadErrorWithClusterBreakingPotential", "Delete an object that cannot be read anymore.", "boolean"
    ),
    Parameter("orphanDependents", "Deprecated by propagationPolicy: keep what the object owns.", "boolean"),
    Parameter("propagationPolicy", "'Orphan', 'Background' or 'Foreground': what becomes of dependents."),
)
#: Of the parameters of a deletion of many, those that choose them.
SELECT = (
    _CONTINUE,
    _FIELD_SELECTOR,
    _LABEL_SELECTOR,
    _LIMIT,
    _RESOURCE_VERSION,
    _RESOURCE_VERSION_MATCH,
    _SEND_INITIAL_EVENTS,
    _SHARD_SELECTOR,
    _TIMEOUT,
)
LOG = (
    _CONTAINER,
    Parameter("follow", "Keep the answer open and send what is logged from now on.", "boolean"),
    Parameter("insecureSkipTLSVerifyBackend", "Do not check the node's certificate.", "boolean"),
    Parameter("limitBytes", "The most bytes to answer.", "integer"),
    Parameter("previous", "The log of the instance that ended before this one.", "boolean"),
    Parameter("sinceSeconds", "Only what was logged in the last so many seconds.", "integer"),
    Parameter("stream", "'All', 'Stdout' or 'Stderr'."),
    Parameter("tailLines", "Only the last so many lines.", "integer"),
    Parameter("timestamps", "Begin every line with its time.", "boolean"),
)
_STREAMS = (
    Parameter("stderr", "Connect the standard error.", "boolean"),
    Parameter("stdin", "Connect the standard input.", "boolean"),
    Parameter("stdout", "Connect the standard output.", "boolean"),
    Parameter("tty", "Give the process a terminal.", "boolean"),
)
ATTACH = (_CONTAINER, *_STREAMS)
EXEC = (Parameter("command", "The command and its arguments, one each; no shell."), *ATTACH)
PORT_FORWARD = (Parameter("ports", "The ports to connect, needed with WebSockets.", "integer"),)


def path_query(kind: str) -> Parameter:
    """The query form of a proxied path."""
    return Parameter("path", f"The path of the URL to ask the {kind} for.")
