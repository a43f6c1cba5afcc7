"""The engine on a toy: people live in houses, houses stand in streets."""

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


class Town:
    def __init__(self, check=True):
        self.graph = Graph(check=check)
        self.people = self.graph.table(Person, house=lambda person: [person.house])
        self.houses = self.graph.table(House)
        self.graph.table(Household)
        self.facts = Desired("facts")
        self.graph.derive(Person, household, into=Household)
        self.graph.derive(Household, letterbox, into=self.facts)
        self.graph.derive(Person, badge, into=self.facts)

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


@pytest.mark.parametrize("seed", range(20))
def test_any_walk_ends_where_a_fresh_start_does(seed):
    dice = random.Random(seed)
    town = Town(check=False)
    for _ in range(300):
        name = str(dice.randrange(8))
        table, value = dice.choice(
            [
                (town.people, Person(name, str(dice.randrange(5)))),
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
