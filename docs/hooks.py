"""What the documentation takes from the library when it is built: navigation, API reference and docstrings.

MkDocs calls the functions; `Docstrings` is an extension of mkdocstrings' reader.
"""

import re
from importlib.util import find_spec
from pkgutil import iter_modules

from griffe import Extension
from mkdocs.structure.files import File

from groundshift.lab.registry import CATEGORIES, systems

FOUNDATIONS = ("tables", "worlds", "shifts", "measures", "models")
LABORATORY = ("study", "claims", "driver", "runs", "summary", "registry", "site", "store")
"""What a study of one's own needs; the rest of the laboratory is its machinery."""


def pages_of_systems():
    """The navigation's section of systems: by category, in the order of use."""
    groups = {}
    for item in systems().values():
        groups.setdefault(item.category, []).append({item.slug: f"systems/{item.slug}.md"})
    return [{"All systems": "systems/index.md"}, *({name: pages} for name, pages in groups.items())]


def modules_of_category(category):
    """The modules of a category that carry the name of a system, in the order of use."""
    names = [f"groundshift.{category}.{slug.replace('-', '_')}" for slug in systems()]
    return [name for name in names if find_spec(name) is not None]


def modules_of_package(name):
    """A package and the modules in it."""
    inside = iter_modules(find_spec(f"groundshift.{name}").submodule_search_locations)
    return [f"groundshift.{name}", *(f"groundshift.{name}.{module.name}" for module in inside)]


def reference():
    """The pages of the API reference: title, path and modules."""
    pages = {category: modules_of_category(category) for category in CATEGORIES}
    pages |= {name: modules_of_package(name) for name in FOUNDATIONS}
    pages["laboratory"] = ["groundshift.lab", *(f"groundshift.lab.{name}" for name in LABORATORY)]
    pages["errors"] = ["groundshift.errors"]
    return {title: (f"reference/{title}.md", modules) for title, modules in pages.items() if modules}


def on_config(config):
    """Fill the sections Systems and API reference of the navigation."""
    filled = {
        "Systems": pages_of_systems(),
        "API reference": [{title: path} for title, (path, _) in reference().items()],
    }
    config.nav = [
        {title: filled.get(title, pages) for title, pages in section.items()} for section in config.nav
    ]
    return config


def on_files(files, config):
    """Write the pages of the API reference, each a list of what mkdocstrings is to show."""
    for title, (path, modules) in reference().items():
        text = f"# {title}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"
        files.append(File.generated(config, path, content=text))
    return files


class Docstrings(Extension):
    """Read ``name : what it is`` on one line, where a numpy docstring has the type and the text on the next."""

    def on_object(self, *, obj, **_):
        """Move the text of each entry to a line of its own."""
        if obj.docstring is not None:
            obj.docstring.value = with_text_below(obj.docstring.value)


SECTION = re.compile(r"((?:Parameters|Attributes)\n-+\n)(.*?)(?=\n\n\S[^\n]*\n-{3,}\n|\Z)", re.S)


def with_text_below(docstring):
    """The docstring with the text of each parameter and attribute below its name."""
    entry = re.compile(r"^([*\w][\w*, `]*?) : (.+)$", re.M)
    return SECTION.sub(lambda match: match[1] + entry.sub(r"\1\n    \2", match[2]), docstring)
