"""Write CRI as .proto: python scripts/generate_cri.py FIELDS (a table of names, numbers and types, in JSON).

Run scripts/generate_grpc.py afterwards, which compiles it. A table has, by message and field, `[number, type]` with
`repeated` as a third entry where it is; by service and call, `[request, response]`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "drivers" / "kube_drivers" / "runtime" / "cri" / "cri.proto"
HEADER = """// The Container Runtime Interface, version 1. Made by scripts/generate_cri.py; do not edit.
syntax = "proto3";

package {package};
"""


def field(name: str, number: int, kind: str, *labels: str) -> str:
    kind = re.sub(r"map<(\w+),\s*(\w+)>", r"map<\1, \2>", kind)
    return f"{' '.join((*labels, kind))} {name} = {number};"


def enum(name: str, values: dict[str, int]) -> list[str]:
    lines = [f"  {value} = {number};" for value, number in values.items()]
    alias = ["  option allow_alias = true;"] if len(set(values.values())) < len(values) else []
    return [f"enum {name} {{", *alias, *lines, "}"]


def message(name: str, table: dict[str, Any]) -> list[str]:
    lines = [f"message {name.rpartition('.')[2]} {{"]
    for inner, values in table["enums"].items():
        if inner.rpartition(".")[0] == name:
            lines += ["  " + line for line in enum(inner.rpartition(".")[2], values)]
    for inner in table["messages"]:
        if inner.rpartition(".")[0] == name:
            lines += ["  " + line for line in message(inner, table)]
    lines += ["  " + field(key, *described) for key, described in table["messages"][name].items()]
    return [*lines, "}"]


def text(table: dict[str, Any]) -> str:
    blocks = [enum(name, values) for name, values in table["enums"].items() if "." not in name]
    blocks += [message(name, table) for name in table["messages"] if "." not in name]
    for service, calls in table["services"].items():
        lines = [
            f"  rpc {call}({' '.join(asked.split())}) returns ({' '.join(answered.split())});"
            for call, (asked, answered) in calls.items()
        ]
        blocks.append([f"service {service} {{", *lines, "}"])
    return HEADER.format(package=table["package"]) + "".join("\n" + "\n".join(block) + "\n" for block in blocks)


def main() -> int:
    TARGET.write_text(text(json.loads(Path(sys.argv[1]).read_text())["cri"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
