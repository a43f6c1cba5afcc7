"""The engine on a toy: people live in houses, houses stand in streets, and some people like some streets."""

import random
from dataclasses import dataclass

import pytest

from ovnk.incremental.desired import Delta, Desired
from ovnk.incremental.explain import explain, text
from ovnk.incremental.graph import Graph


@dataclass(frozen=True, slots=True)
class Person:
    key: str
    house: str
    tags: frozenset = frozenset()


@dataclass(frozen=True, slots=True)
class House:
    key: str
    street: str


@dataclass(frozen=True, slots=True)
class Household:
    """Derived: a house that somebody lives in."""

    key: str


@dataclass(frozen=True, slots=True)
class Street:
    """A street in which there are houses."""

    name: str


def household(view, person):
    yield Household(person.house)


def letterbox(view, household):
    house = view.get(House, household.key)
    if house is None:
        return
    names = sorted(person.key for person in view.by(Person, "house", household.key))
    yield (house.street, house.key, tuple(names))


def badge(view, person):
    if "broken" in person.tags:
        raise ValueError("cannot make a badge")
    yield ("badge", person.key, view.get(House, person.house))


def could_move_to(view, house, person):
    if "broken" in person.tags:
        raise ValueError("cannot move")
    yield ("could move", person.key, house.key, view.get(House, person.house))


def sign(view, street):
    yield ("sign", street.name)


class Town:
    def __init__(self, check=True):
        self.graph = Graph(check=check)
        self.people = self.graph.table(Person, house=lambda person: [person.house], likes=lambda person: person.tags)
        self.houses = self.graph.table(House, street=lambda house: [house.street], on=lambda one: [Street(one.street)])
        self.graph.table(Household)
        self.graph.table(Street)
        self.graph.distinct(House, "on", into=Street)
        self.facts = Desired("facts")
        self.graph.derive(Person, household, into=Household)
        self.graph.derive(Household, letterbox, into=self.facts)
        self.graph.derive(Person, badge, into=self.facts)
        self.graph.join((House, "street"), (Person, "likes"), could_move_to, into=self.facts)
        self.graph.derive(Street, sign, into=self.facts)

    def settle(self):
        assert self.graph.settle()
        return self.facts.take()

    def load(self, people, houses):
        self.people.replace(people)
        self.houses.replace(houses)
        self.settle()
        return self


def test_a_missing_referent_yields_nothing_until_it_arrives():
    town = Town()
    town.people.put("ann", Person("ann", "1"))
    assert town.settle().added == {("badge", "ann", None)}
    town.houses.put("1", House("1", "elm"))
    assert ("elm", "1", ("ann",)) in town.settle().added


def test_an_equal_value_wakes_nobody():
    town = Town()
    town.people.put("ann", Person("ann", "1"))
    town.settle()
    before = town.graph.runs.copy()
    town.people.put("ann", Person("ann", "1"))
    assert not town.settle()
    assert town.graph.runs == before


def test_an_equal_derived_value_stops_the_wave():
    town = Town().load({"ann": Person("ann", "1")}, {"1": House("1", "elm")})
    before = town.graph.runs.copy()
    town.people.put("bob", Person("bob", "2"))
    town.settle()
    assert town.graph.runs["test_graph.letterbox"] - before["test_graph.letterbox"] == 1


def test_one_change_costs_the_same_in_a_town_of_any_size():
    costs = []
    for size in (10, 1000):
        people = {str(i): Person(str(i), str(i % 100)) for i in range(size)}
        town = Town(check=False).load(people, {str(i): House(str(i), "elm") for i in range(100)})
        before = town.graph.runs.total()
        town.people.put("new", Person("new", "none"))
        town.settle()
        costs.append(town.graph.runs.total() - before)
    assert costs[0] == costs[1]


def moves(town):
    return sorted(fact[1:3] for fact in town.facts if fact[0] == "could move")


def test_a_join_runs_on_each_pair_and_on_no_other():
    town = Town().load(
        {"ann": Person("ann", "1", frozenset({"elm"}))}, {"2": House("2", "elm"), "3": House("3", "oak")}
    )
    assert moves(town) == [("ann", "2")]
    town.houses.put("4", House("4", "elm"))
    town.people.put("bob", Person("bob", "1", frozenset({"elm", "oak"})))
    town.settle()
    assert moves(town) == [("ann", "2"), ("ann", "4"), ("bob", "2"), ("bob", "3"), ("bob", "4")]
    town.houses.put("2", House("2", "oak"))
    town.people.remove("bob")
    town.settle()
    assert moves(town) == [("ann", "4")]


def test_one_more_of_a_join_costs_its_own_pairs_alone():
    costs = []
    for size in (10, 1000):
        streets = ["elm" if i < 3 else f"street {i}" for i in range(size)]
        houses = {str(i): House(str(i), street) for i, street in enumerate(streets)}
        people = {str(i): Person(str(i), "none", frozenset({street})) for i, street in enumerate(streets)}
        town = Town(check=False).load(people, houses)
        before = town.graph.runs["test_graph.could_move_to"]
        town.houses.put("new", House("new", "elm"))
        town.settle()
        costs.append(town.graph.runs["test_graph.could_move_to"] - before)
    assert costs == [3, 3]


def test_a_join_that_raises_holds_what_it_had():
    town = Town().load({"ann": Person("ann", "1", frozenset({"elm"}))}, {"2": House("2", "elm")})
    town.people.put("ann", Person("ann", "1", frozenset({"elm", "broken"})))
    town.settle()
    assert moves(town) == [("ann", "2")]
    failure = town.graph.failures["test_graph.could_move_to", ("2", "ann")]
    assert (failure.kind, failure.key) == (Person, "ann")
    town.people.remove("ann")
    town.settle()
    assert moves(town) == []
    assert town.graph.failures == {}


def test_a_distinct_value_is_there_while_anything_is_filed_under_it():
    town = Town().load({}, {"1": House("1", "elm"), "2": House("2", "elm")})
    assert ("sign", "elm") in town.facts
    town.houses.remove("1")
    assert not town.settle()
    town.houses.put("2", House("2", "oak"))
    assert town.settle() == Delta(frozenset({("sign", "oak")}), frozenset({("sign", "elm")}))


def test_nothing_is_kept_of_what_was_read_and_is_read_no_more():
    """Places are the engine's memory of reads: they must not pile up as keys come and go."""
    town = Town()
    for number in range(50):
        town.people.put("ann", Person("ann", str(number)))
        town.settle()
    town.people.remove("ann")
    town.settle()
    assert all(not places for table in town.graph.tables.values() for places in table._places.values())
    assert all(not rule.derivations for rule in town.graph.rules)


def test_a_function_that_raises_holds_what_it_had_and_says_so():
    town = Town().load({"ann": Person("ann", "1")}, {})
    town.people.put("ann", Person("ann", "2", frozenset({"broken"})))
    town.settle()
    assert ("badge", "ann", None) in town.facts
    (failure,) = town.graph.failures.values()
    assert (failure.rule, failure.kind, failure.key) == ("test_graph.badge", Person, "ann")
    town.people.put("ann", Person("ann", "2"))
    town.settle()
    assert town.graph.failures == {}


def test_a_function_that_raises_lets_go_when_its_value_is_gone():
    town = Town().load({"ann": Person("ann", "1")}, {})
    town.people.put("ann", Person("ann", "1", frozenset({"broken"})))
    town.settle()
    town.people.remove("ann")
    assert town.settle().removed == {("badge", "ann", None)}
    assert town.graph.failures == {}


def test_a_function_that_is_not_pure_is_found():
    graph, facts = Graph(check=True), Desired("facts")
    graph.table(House)
    graph.derive(House, lambda view, house: [random.random()], into=facts)
    graph.tables[House].put("1", House("1", "elm"))
    graph.settle()
    (failure,) = graph.failures.values()
    assert "not a pure function" in str(failure.error)


def test_settling_can_be_done_in_slices():
    town = Town()
    town.people.replace({str(i): Person(str(i), str(i)) for i in range(10)})
    slices = 0
    while not town.graph.settle(limit=3):
        slices += 1
    assert slices >= 6
    assert len(town.facts) == 10


def test_a_rule_made_late_runs_on_what_is_there():
    town = Town().load({}, {"1": House("1", "elm")})

    def street(view, house):
        yield house.street

    town.graph.derive(House, street, into=town.facts)
    assert town.settle() == Delta(frozenset({"elm"}), frozenset())


def test_wiring_mistakes_are_refused():
    town = Town()
    with pytest.raises(ValueError, match="wired already"):
        town.graph.derive(Person, badge, into=town.facts)
    with pytest.raises(ValueError, match="table of House already"):
        town.graph.table(House)


def test_explain_leads_from_a_fact_to_the_inputs():
    town = Town().load({"ann": Person("ann", "1")}, {"1": House("1", "elm")})
    assert text(explain(town.graph, town.facts, ("elm", "1", ("ann",)))).splitlines() == [
        "test_graph.letterbox on Household 1",
        "  test_graph.household on Person ann",
        "  read House 1",
        "  read Person by house 1",
    ]
    assert explain(town.graph, town.facts, "no such fact") == ()


def test_explain_names_both_sides_of_a_join():
    town = Town().load({"ann": Person("ann", "1", frozenset({"elm"}))}, {"2": House("2", "elm")})
    assert text(explain(town.graph, town.facts, ("could move", "ann", "2", None))).splitlines() == [
        "test_graph.could_move_to on House 2, Person ann",
        "  read House 1 (absent)",
    ]


@pytest.mark.parametrize("seed", range(20))
def test_any_walk_ends_where_a_fresh_start_does(seed):
    dice = random.Random(seed)
    town = Town(check=False)
    for _ in range(300):
        name = str(dice.randrange(8))
        table, value = dice.choice(
            [
                (
                    town.people,
                    Person(name, str(dice.randrange(5)), frozenset(dice.sample(["elm", "oak"], dice.randrange(3)))),
                ),
                (town.houses, House(name, dice.choice(["elm", "oak"]))),
            ]
        )
        if dice.random() < 0.4:
            table.remove(name)
        else:
            table.put(name, value)
        if dice.random() < 0.5:
            town.settle()
    town.settle()
    people = {key: town.people.get(key) for key in town.people}
    houses = {key: town.houses.get(key) for key in town.houses}
    assert set(town.facts) == set(Town().load(people, houses).facts)
