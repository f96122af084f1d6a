"""Random hierarchies whose every question has a known answer: trees, documents, formulas and programs."""

from groundshift.worlds.hierarchies.cells import CELLS, code, show, stream, structures
from groundshift.worlds.hierarchies.documents import paper, university
from groundshift.worlds.hierarchies.programs import CLASSES, FAMILIES, Program, program, read_class
from groundshift.worlds.hierarchies.reading import from_json, read_tree
from groundshift.worlds.hierarchies.text import FORMS, parse, read_node, render
from groundshift.worlds.hierarchies.trees import Node, Tree, grow, shape
