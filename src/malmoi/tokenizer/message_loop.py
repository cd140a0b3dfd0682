"""Find the loop over messages in a chat template that writes them one after another and never looks ahead.

With such a template (ours, ChatML and similar ones) the conversation up to any message is a prefix of the whole text,
which is then rendered once, not once per message. The syntax tree decides. If this module does not recognise a
template, encoding is only slower, never wrong.
"""

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

# Functions that may carry state from one message to the next.
_STATEFUL = frozenset({"namespace", "cycler", "joiner", "lipsum"})
_UNKNOWN = (
    nodes.NSRef, nodes.Macro, nodes.Block, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Break,
    nodes.AssignBlock,
)  # fmt: skip
_CONSTANT = (nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Add, nodes.Concat)


class _WithoutDocuments(NodeTransformer):
    def visit_If(self, node: nodes.If) -> nodes.Node | list[nodes.Node]:
        if _is_name(node.test, "documents") and not node.elif_:
            return [self.visit(found) for found in node.else_]
        return self.generic_visit(node)


def without_documents(tree: nodes.Template) -> nodes.Template:
    """The tree without what `{% if documents %}` encloses; it writes the same where no documents are given."""
    changed = _WithoutDocuments().visit(tree)
    assert isinstance(changed, nodes.Template)
    return changed


def find_message_loop(tree: nodes.Template) -> nodes.For | None:
    """The loop over the messages of a template that consists of a beginning, this loop and a constant generation
    prompt; None for any other template."""
    loops = [node for node in tree.body if isinstance(node, nodes.For) and _is_name(node.iter, "messages")]
    if len(loops) != 1 or any(True for _ in tree.find_all(_UNKNOWN)):
        return None
    loop, after = loops[0], tree.body[tree.body.index(loops[0]) + 1 :]
    if loop.test or loop.else_ or loop.recursive:
        return None
    names = [node.name for node in tree.find_all(nodes.Name)]
    n_first = sum(
        _is_name(node.node, "messages") and isinstance(node.arg, nodes.Const) and node.arg.value == 0
        for node in tree.find_all(nodes.Getitem)
    )
    n_backwards = sum(
        _is_name(node.node, "loop") and node.attr in ("first", "index", "index0")
        for node in tree.find_all(nodes.Getattr)
    )
    is_flat = (
        _STATEFUL.isdisjoint(names)
        and names.count("messages") == 1 + n_first
        and names.count("loop") == n_backwards
        and names.count("add_generation_prompt") == len(after) <= 1
        and all(_is_constant_prompt(node, tree) for node in after)
    )
    return loop if is_flat else None


def _is_constant_prompt(node: nodes.Node, tree: nodes.Template) -> bool:
    """Whether a node is `{% if add_generation_prompt %}` with text that does not depend on the messages."""
    if not isinstance(node, nodes.If) or not _is_name(node.test, "add_generation_prompt") or node.elif_ or node.else_:
        return False
    set_names = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
    inside = [found for part in node.body for found in (part, *part.find_all(nodes.Node))]
    return all(
        isinstance(found, _CONSTANT) and not (isinstance(found, nodes.Name) and found.name in set_names)
        for found in inside
    )


def _is_name(node: nodes.Node, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.name == name
