"""What damaged and hostile input is made of, and what may come of it."""

import json

from hypothesis import strategies as st

from sslbench.core.errors import UserError

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [10**30, -1, 0, 1e400, "a/b", "../x", "=1+1", "<script>", "\x1b[2J", "x" * 99]
    )
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def accepted(call, *arguments):
    """Return what a call gives, or None where it is refused in one printable line."""
    try:
        return call(*arguments)
    except UserError as error:
        check_line(error)
        return None


def check_line(error):
    """Assert that a refusal is one line that a terminal prints and does not obey."""
    assert str(error).isprintable()


@st.composite
def damaged(draw, content):
    """Bytes of a sound file, cut short, or with some of them changed, left out or put in."""
    kind = draw(st.sampled_from(["cut", "change", "change", "change", "insert", "drop"]))
    at = draw(st.integers(0, max(len(content) - 1, 0)))
    if kind == "cut":
        return content[:at]
    if kind == "insert":
        return content[:at] + draw(st.binary(min_size=1, max_size=20)) + content[at:]
    if kind == "drop":
        return content[:at] + content[at + draw(st.integers(1, 20)) :]
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, len(content) - 1))
        made[place] = draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
    return bytes(made)


@st.composite
def mutated(draw, content):
    """A JSON document with one place in it, however deep, replaced, left out or added."""
    made = json.loads(json.dumps(content))
    node, steps = made, draw(st.integers(1, 5))
    for _ in range(steps):
        if isinstance(node, dict) and node:
            key = draw(st.sampled_from(sorted(node)))
        elif isinstance(node, list) and node:
            key = draw(st.integers(0, len(node) - 1))
        else:
            break
        inner = node[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
            node[key] = draw(ANYTHING)
            if isinstance(node, dict) and draw(st.booleans()):
                node.pop(key)
            break
        node = inner
    return made
