"""A small OVN for ACLs: what rows of facts do with a packet, by ovn-nb(5) and ovn-sb(5). Knows nothing of policies."""

import re
from ipaddress import ip_address, ip_network
from typing import Any

from ovnk.northbound.facts import Fact, Member, Row

_TOKEN = re.compile(r"\s*(&&|\|\||==|>=|<=|[(){},]|[!@$]?[\w.:/-]+)")


class Acls:
    """The ACLs of a northbound with the port groups, switches and address sets that they stand in or name."""

    def __init__(self, facts: frozenset[Fact]) -> None:
        rows = {(one.table, one.key): dict(one.columns) for one in facts if isinstance(one, Row)}
        self.rows: dict[tuple[str, str], dict[str, Any]] = rows
        self.members: dict[tuple[str, str, str], set[Any]] = {}
        for one in facts:
            if isinstance(one, Member):
                element = getattr(one.element, "key", one.element)
                self.members.setdefault((one.table, one.key, one.column), set()).add(element)
                assert (one.table, one.key) in rows, f"{one} is of no row"

    def passes(self, source: str, target: str, packet: dict[str, Any]) -> bool:
        """Whether the first packet of a connection gets through; ports by name, "" for the outside."""
        return all(
            not port or self._verdict(direction, side, port, packet) != "drop"
            for direction, side, port in (("from-lport", "inport", source), ("to-lport", "outport", target))
        )

    def _verdict(self, direction: str, side: str, port: str, packet: dict[str, Any]) -> str:
        found = []
        switch = self._switch(port)
        for (table, key, column), elements in self.members.items():
            # An ACL of a port group concerns every switch that has a port of the group: its match says which ports.
            if column != "acls" or (table == "Logical_Switch" and port not in self._ports(table, key)):
                continue
            found += [
                (acl.get("tier", 0), -acl["priority"], acl["action"])
                for acl in (self.rows["ACL", element] for element in elements)
                if acl["direction"] == direction
                and self._is_made(acl["match"], switch)
                and self._holds(acl["match"], {**packet, side: port})
            ]
        while found:
            first = min(found)[:2]
            actions = {action for tier, priority, action in found if (tier, priority) == first}
            assert len(actions) == 1, f"{actions} at one priority"
            if (action := str(actions.pop())) != "pass":
                return action
            # ovn-nb(5), ACL action: "skip to the next tier of ACLs", in the last one as if nothing had matched.
            found = [one for one in found if one[0] > first[0]]
        return "allow"

    def _switch(self, port: str) -> set[str]:
        """All ports of the switch that this one is on."""
        switches = (key for table, key in self.rows if table == "Logical_Switch")
        return next(ports for ports in (self._ports("Logical_Switch", key) for key in switches) if port in ports)

    def _is_made(self, match: str, switch: set[str]) -> bool:
        """Whether ovn-controller makes flows of it: not where a group that it names has no port on the switch.

        "Syntax error at `@…' expecting port group name", since ports of a group are known by switch (OVN 23.03).
        """
        return all(self._ports("Port_Group", group) & switch for group in re.findall(r"@(\w+)", match))

    def _ports(self, table: str, key: str) -> set[str]:
        return self.members.get((table, key, "ports"), set())

    def _holds(self, match: str, packet: dict[str, Any]) -> bool:
        tokens = _TOKEN.findall(match)
        assert "".join(tokens) == match.replace(" ", ""), match
        value, rest = self._either(tokens, packet)
        assert not rest, f"{match}: {rest}"
        return value

    def _either(self, tokens: list[str], packet: dict[str, Any]) -> tuple[bool, list[str]]:
        value, tokens = self._term(tokens, packet)
        operator = tokens[0] if tokens and tokens[0] in ("&&", "||") else ""
        while tokens and tokens[0] == operator:
            more, tokens = self._term(tokens[1:], packet)
            value = (value and more) if operator == "&&" else (value or more)
        # ovn-sb(5): && and || may not be mixed without parentheses.
        assert not tokens or tokens[0] not in ("&&", "||"), "mixes && and ||"
        return value, tokens

    def _term(self, tokens: list[str], packet: dict[str, Any]) -> tuple[bool, list[str]]:
        if tokens[0] == "(":
            value, rest = self._either(tokens[1:], packet)
            assert rest[0] == ")"
            return value, rest[1:]
        name, rest = tokens[0], tokens[1:]
        # ovn-sb(5): a protocol is nominal, and so never negated.
        assert not name.startswith("!"), f"{name} is not an expression of OVN's"
        if not rest or rest[0] not in ("==", ">=", "<="):
            return bool(packet.get(name)), rest
        operator, rest = rest[0], rest[1:]
        wanted = [rest[0]]
        if rest[0] == "{":
            end = rest.index("}")
            wanted, rest = [one for one in rest[1:end] if one != ","], rest[end:]
        has = packet.get(name)
        return has is not None and any(self._compare(has, operator, one) for one in wanted), rest[1:]

    def _compare(self, has: Any, operator: str, wanted: str) -> bool:
        if wanted.startswith("@"):
            assert ("Port_Group", wanted[1:]) in self.rows, f"{wanted} does not exist"
            return has in self._ports("Port_Group", wanted[1:])
        if wanted.startswith("$"):
            return any(ip_address(has) in ip_network(one) for one in self._addresses(wanted[1:]))
        if isinstance(has, int):
            return {"==": has == int(wanted), ">=": has >= int(wanted), "<=": has <= int(wanted)}[operator]
        return ip_address(has) in ip_network(wanted)

    def _addresses(self, name: str) -> set[str]:
        if ("Address_Set", name) in self.rows:
            return {
                *self.rows["Address_Set", name].get("addresses", ()),
                *self.members.get(("Address_Set", name, "addresses"), ()),
            }
        group, _, family = name.rpartition("_ip")
        assert ("Port_Group", group) in self.rows, f"${name} does not exist"
        ports = [self.rows["Logical_Switch_Port", port] for port in self._ports("Port_Group", group)]
        addresses = [text for port in ports for one in port["addresses"] for text in one.split()[1:]]
        return {text for text in addresses if (":" in text) == (family == "6")}
