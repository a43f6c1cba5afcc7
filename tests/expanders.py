"""Felix's five expanders: one sequence of cluster states becomes many, all of which must end alike.

A state is a tuple of inputs, everything there is at one moment; a sequence is a list of states. The result of a state
depends on the state alone, so whatever path leads there must give the same.
"""

from itertools import pairwise

from ovnk.translate import key_of


def place(value):
    """Where an input goes: its kind and key."""
    return type(value), key_of(value)


def expansions(sequence):
    """The sequence itself and every variation of it, each with its name."""
    yield "as given", sequence
    yield "values reversed", [tuple(reversed(state)) for state in sequence]
    yield "states reversed", list(reversed(sequence))
    yield "empties inserted", [one for state in sequence for one in (state, ())]
    yield "states split", [part for state in sequence for part in _split(state)]
    yield "states squashed", _squash(sequence)


def steps(sequence):
    """The sequence as puts (place, value) and removals (place, None), one list a state, and the state they lead to."""
    for before, after in pairwise([(), *sequence]):
        wanted = {place(value): value for value in after}
        gone = [(where, None) for where in map(place, before) if where not in wanted]
        came = [(where, value) for where, value in wanted.items() if value not in before]
        # Which comes first is up to the order of the values: reversed states remove last.
        yield (gone + came if len(before) % 2 else came + gone), after


def _split(state):
    """Half of the state first, then all of it."""
    return [state[: len(state) // 2], state] if len(state) > 1 else [state]


def _squash(sequence):
    """Every second state only, and the last."""
    squashed = sequence[::2]
    return squashed if squashed[-1] == sequence[-1] else [*squashed, sequence[-1]]
