"""Which value each call of a module returns, from the scopes that torch.export records."""

from collections.abc import Mapping

from torch.fx import Graph, Node

from camreel.program.format import ModuleCall
from camreel.program.parsing import is_name


def locate_modules(graph: Graph, values: Mapping[Node, int], prefix: str) -> list[ModuleCall]:
    """The value of each module call, in the order of the calls, names without `prefix`.

    A call returns the value of its scope that is read outside of it. Calls without such a value, or
    with several, have no layer; neither have modules whose names programs cannot hold.
    """
    nodes_by_scope: dict[str, list[Node]] = {}
    paths: dict[str, str] = {}
    for node in graph.nodes:
        for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
            if path.startswith(prefix):
                nodes_by_scope.setdefault(key, []).append(node)
                paths[key] = path.removeprefix(prefix)
    calls: dict[str, int] = {}
    located = []
    for key, nodes in nodes_by_scope.items():
        path = paths[key]
        calls[path] = calls.get(path, 0) + 1
        results = _escaping_values(nodes, values)
        name = path if calls[path] == 1 else f"{path}@{calls[path]}"
        if len(results) == 1 and is_name(name):
            located.append(ModuleCall(name, results.pop()))
    return located


def _escaping_values(nodes: list[Node], values: Mapping[Node, int]) -> set[int]:
    members = set(nodes)
    return {
        values[node]
        for node in nodes
        if node in values and any(user not in members for user in node.users)
    }
