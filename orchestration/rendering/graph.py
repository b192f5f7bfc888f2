"""A plan as a drawing: boxes in layers, lines behind them. The list of its steps says the same."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .text import one_line

WIDTH, HEIGHT, ACROSS, DOWN, EDGE = 184, 48, 16, 38, 4
LABEL = 23  # characters that fit into a box
MOST = 200  # steps that are drawn; more of them are a list only


@dataclass(frozen=True, slots=True)
class Vertex:
    """A step as the drawing needs it. `status` is that of its live run, where it has one."""

    index: int
    title: str
    status: str
    below: str = ""
    href: str = ""
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    index: int
    x: int
    y: int
    status: str
    label: str
    sub: str
    title: str
    href: str

    @property
    def icon_x(self) -> int:
        return self.x + 11

    @property
    def icon_y(self) -> int:
        return self.y + 16

    @property
    def text_x(self) -> int:
        return self.x + 36

    @property
    def label_y(self) -> int:
        return self.y + 20

    @property
    def sub_y(self) -> int:
        return self.y + 37


@dataclass(frozen=True, slots=True)
class Edge:
    path: str
    kind: str  # done, live, wait


@dataclass(frozen=True, slots=True)
class Graph:
    """`cycle` names the steps that wait for each other: then, and above MOST steps, there is no drawing."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    width: int = 0
    height: int = 0
    cycle: tuple[int, ...] = ()
    too_many: bool = False


def draw(vertices: Sequence[Vertex]) -> Graph:
    if len(vertices) > MOST:
        return Graph(too_many=True)
    known = {vertex.index: vertex for vertex in vertices}
    after = {vertex.index: [d for d in vertex.after if d in known] for vertex in vertices}
    try:
        order = tuple(graphlib.TopologicalSorter(after).static_order())
    except graphlib.CycleError as error:
        return Graph(cycle=tuple(error.args[1]))
    layers = _layers(order, after)
    widest = max((len(layer) for layer in layers), default=0)
    width = max(widest * (WIDTH + ACROSS) - ACROSS, 3 * WIDTH) + 2 * EDGE
    places = {
        index: (_left(n, len(layer), width), EDGE + level * (HEIGHT + DOWN))
        for level, layer in enumerate(layers)
        for n, index in enumerate(layer)
    }
    nodes = tuple(_node(known[index], *places[index]) for layer in layers for index in layer)
    edges = tuple(_edge(places[d], places[i], known[d], known[i]) for i in sorted(after) for d in after[i])
    return Graph(nodes, edges, width, len(layers) * (HEIGHT + DOWN) - DOWN + 2 * EDGE if layers else 0)


def _layers(order: Sequence[int], after: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """A step's layer is its longest way from the start; within a layer it stands below the middle of what it waits for."""
    level: dict[int, int] = {}
    for index in order:
        level[index] = 1 + max((level[d] for d in after[index]), default=-1)
    layers: list[list[int]] = [[] for _ in range(1 + max(level.values(), default=-1))]
    for index in sorted(level):
        layers[level[index]].append(index)
    place: dict[int, float] = {}
    for layer in layers:
        middle = {i: sum(place[d] for d in after[i]) / len(after[i]) if after[i] else i for i in layer}
        layer.sort(key=lambda i, middle=middle: (middle[i], i))  # type: ignore[misc]
        place |= {index: n - (len(layer) - 1) / 2 for n, index in enumerate(layer)}
    return layers


def _left(n: int, of: int, width: int) -> int:
    used = of * (WIDTH + ACROSS) - ACROSS
    return (width - used) // 2 + n * (WIDTH + ACROSS)


def _node(vertex: Vertex, x: int, y: int) -> Node:
    label = one_line(f"{vertex.index} {vertex.title}", LABEL)
    title = one_line(f"Step {vertex.index}: {vertex.title}. {vertex.below}", 300)
    return Node(vertex.index, x, y, vertex.status, label, one_line(vertex.below, LABEL + 3), title, vertex.href)


def _edge(start: tuple[int, int], end: tuple[int, int], before: Vertex, then: Vertex) -> Edge:
    x1, y1, x2, y2 = start[0] + WIDTH // 2, start[1] + HEIGHT, end[0] + WIDTH // 2, end[1]
    half = (y1 + y2) // 2
    if then.status in {"pending", "cancelled"} or before.status not in {"succeeded", "skipped"}:
        kind = "wait"
    else:
        kind = "live" if then.status == "running" else "done"
    return Edge(f"M{x1} {y1}C{x1} {half} {x2} {half} {x2} {y2}", kind)
