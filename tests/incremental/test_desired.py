"""Facts are counted by their owners, and the set never depends on the way there."""

from hypothesis import given
from hypothesis import strategies as st

from ovnk.incremental.desired import Delta, Desired


def by_first(fact):
    """A fact here is a pair: what it is about, and what it says of it."""
    return fact[0]


def test_a_fact_of_two_owners_goes_with_the_last():
    desired = Desired("facts")
    desired.update(("a", 1), {"x"}, ())
    desired.update(("b", 1), {"x"}, ())
    assert desired.take() == Delta(frozenset({"x"}), frozenset())
    desired.update(("a", 1), (), {"x"})
    assert not desired.take()
    desired.update(("b", 1), (), {"x"})
    assert desired.take() == Delta(frozenset(), frozenset({"x"}))
    assert len(desired) == 0


def test_what_comes_and_goes_between_two_takes_is_no_change():
    desired = Desired("facts")
    desired.update(("a", 1), {"x"}, ())
    desired.update(("a", 1), (), {"x"})
    assert not desired.take()


def test_a_changed_fact_is_in_both_halves_of_the_delta():
    desired = Desired("rows", by_first)
    desired.update(("a", 1), {("row", 1)}, ())
    desired.take()
    desired.update(("a", 1), {("row", 2)}, {("row", 1)})
    assert desired.take() == Delta(frozenset({("row", 2)}), frozenset({("row", 1)}))
    assert desired.contradictions() == []


def test_a_row_that_moves_between_owners_is_no_contradiction():
    desired = Desired("rows", by_first)
    desired.update(("a", 1), {("row", 1)}, ())
    desired.update(("b", 1), {("row", 2)}, ())
    desired.update(("a", 1), (), {("row", 1)})
    desired.take()
    assert desired.contradictions() == []
    assert desired.about("row") == ("row", 2)


def test_two_facts_of_one_identity_are_a_contradiction_and_one_stands():
    desired = Desired("rows", by_first)
    desired.update(("b", 1), {("row", 2)}, ())
    desired.take()
    desired.update(("a", 1), {("row", 1)}, ())
    assert desired.take() == Delta(frozenset({("row", 1)}), frozenset({("row", 2)}))
    (found,) = desired.contradictions()
    assert found.kept == ("row", 1)
    assert found.refused == {("row", 2)}
    assert found.owners == {("a", 1), ("b", 1)}
    desired.update(("a", 1), (), {("row", 1)})
    assert desired.take() == Delta(frozenset({("row", 2)}), frozenset({("row", 1)}))
    assert desired.contradictions() == []


owners = st.integers(0, 3)
outputs = st.frozensets(st.tuples(st.sampled_from("pqr"), st.integers(0, 2)), max_size=4)


@given(st.lists(st.tuples(owners, outputs, st.booleans()), max_size=30))
def test_any_history_ends_where_a_fresh_start_does(history):
    """The deltas taken on the way add up to the set, and the set is what the owners' last outputs give."""
    desired, now, added_up = Desired("rows", by_first), {}, set()
    for owner, output, take in history:
        before = now.get(owner, frozenset())
        desired.update(("rule", owner), output - before, before - output)
        now[owner] = output
        if take:
            delta = desired.take()
            assert delta.removed <= added_up
            assert not delta.added & (added_up - delta.removed)
            added_up = (added_up - delta.removed) | delta.added
    delta = desired.take()
    added_up = (added_up - delta.removed) | delta.added
    fresh = Desired("rows", by_first)
    for owner, output in now.items():
        fresh.update(("rule", owner), output, ())
    fresh.take()
    assert set(desired) == set(fresh) == added_up
    assert len(desired) == len(added_up)
    assert {found.identity for found in desired.contradictions()} == {
        found.identity for found in fresh.contradictions()
    }
