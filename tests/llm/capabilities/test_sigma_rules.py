"""Sigma rules from outside: bounded before pySigma walks them, converted to three languages, evaluated as the specification says."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llm.alerts import Alert
from llm.capabilities import detection_loop
from llm.capabilities.sigma.convert import Target, convert
from llm.capabilities.sigma.evaluate import CannotEvaluate, flat, matches
from llm.capabilities.sigma.rules import BadRule, read_rule, read_yaml, write_rule

HEAD = "title: t\nlogsource: {category: process_creation, product: windows}\ndetection:\n"


def rule(item: str, condition: str = "sel", head: str = HEAD) -> str:
    return f"{head}  sel:\n    {item}\n  condition: {condition}\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "one Sigma rule"),
        ("[1]", "one Sigma rule"),
        ("title: t", "no detection"),
        (rule("a: b") + "---\n" + rule("a: c"), "one Sigma rule"),
        (rule("a|foo: x"), "Unknown modifier"),
        (rule("a: b", "sel and"), "does not accept"),
        (rule("a: b", "nothing"), "does not accept"),
        (rule("a: b") + "date: 2024-99-99\n", "not valid YAML"),
        (rule("CommandLine|windash|contains: '" + " -a" * 30 + "'"), "windash"),  # 5^30 texts
        (rule("a: b", "not " * 300 + "sel"), "nested deeper"),
        (rule("a|windash|contains: [" + ", ".join(f"' -{n} -b -c'" for n in range(200)) + "]"), "comparisons"),  # 125 texts each
        (rule("a|base64offset: [" + ", ".join(f"k{n}" for n in range(4000)) + "]"), "comparisons"),
        (rule("a: [" + ", ".join(f"k{n}" for n in range(1000)) + "]", " and ".join(["sel"] * 200)), "comparisons"),
        (rule("a: [" + ", ".join(f"k{n}" for n in range(1000)) + "]", " and ".join(["1 of s*"] * 100)), "comparisons"),
        (rule("a: b", "(" * 300 + "sel" + ")" * 300), "nested deeper"),
        (rule("a: b", " and ".join(["sel"] * 600)), "condition is not a text"),
        ("a: &a [x,x]\nb: [*a,*a]\n" + rule("a: b"), "alias"),
        ("!!python/object/apply:os.system ['id']", "not valid YAML"),
        (HEAD + "  sel: " + "[" * 500 + "]" * 500 + "\n  condition: sel", "YAML"),
        (rule("a: b") + "#" * 70_000, "longer"),
        (rule("'x) or (1==1': a"), "not the name of a field"),
        (rule("a: b") + "1: x\n", "not a text"),
        ("title: t\ncorrelation: {type: event_count}", "correlation"),
        (rule("a: 0x" + "f" * 5000), "40 digits"),
        (rule("a|windash|contains: 0x" + "f" * 5000), "40 digits"),
        (rule("a: 1" + ":1" * 2000 + ".5"), "not valid YAML"),  # base 60
        (rule('a: "\\ud800"'), "half a character"),
        (rule("a: b", head='"\\udfff": x\n' + HEAD), "half a character"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(BadRule, match=reason) as refused:
        read_rule(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


MATCHING: list[tuple[str, dict[str, Any], bool]] = [
    ("Image|endswith: '\\a.exe'", {"Image": "C:\\x\\A.EXE"}, True),
    ("Image|endswith|cased: '\\a.exe'", {"Image": "C:\\x\\A.EXE"}, False),
    ("image: x", {"Image": "x"}, True),
    ("a: 'x*y?z'", {"a": "x--y1z"}, True),
    ("a: 'x\\*y'", {"a": "x*y"}, True),
    ("a: 'x\\*y'", {"a": "xzy"}, False),
    ("a: 5", {"a": "5"}, True),
    ("a|gte: 5", {"a": 4}, False),
    ("a|re: '^ab+$'", {"a": "abbb"}, True),
    ("a|re: '(a+)+$'", {"a": "a" * 5000 + "b"}, False),  # linear, whatever the pattern
    ("a|re|i: 'AB'", {"a": "xab"}, True),
    ("a|cidr: 10.0.0.0/8", {"a": "10.9.9.9"}, True),
    ("a|cidr: 10.0.0.0/8", {"a": "host"}, False),
    ("a|exists: true", {"a": ""}, True),
    ("a: null", {}, True),
    ("a|contains|all: [x, y]", {"a": "y x"}, True),
    ("a|contains|all: [x, y]", {"a": "x"}, False),
    ("a|windash|contains: ' -e '", {"a": "p /e x"}, True),
    ("a: [x, y]", {"a": ["q", "y"]}, True),
    ("a: true", {"a": "true"}, True),
    ("a|fieldref: b", {"a": "x", "b": "X"}, True),
    ("'|contains': 'fail*word'", {"m": "it failed password"}, True),
    ("a: 'line*end'", {"a": "line\nend"}, True),
]


@pytest.mark.parametrize(("item", "event", "expected"), MATCHING)
def test_a_rule_matches_as_the_specification_says(item: str, event: dict[str, Any], expected: bool) -> None:
    assert matches(read_rule(rule(item)), event) is expected


@pytest.mark.parametrize("item", ["a|re: '(?=a)b'", "a|expand: '%x%'", "a|hour: 4", "a|re: '((a{500}){500}){500}'"])
def test_what_cannot_be_evaluated_is_said_never_guessed(item: str) -> None:
    with pytest.raises(CannotEvaluate):
        matches(read_rule(rule(item)), {"a": "2024-01-01"})


def test_conditions_combine_with_not_and_quantifiers() -> None:
    found = read_rule(HEAD + "  sel_a: {a: 1}\n  sel_b: {b: 2}\n  filter: {c: 3}\n  condition: 1 of sel_* and not filter\n")
    assert matches(found, {"b": 2})
    assert not matches(found, {"b": 2, "c": 3})


def test_an_event_is_read_with_dotted_names() -> None:
    assert flat({"p": {"n": "a"}, "l": [{"k": 1}, {"k": 2}]}) == {"p.n": "a", "l.k": [1, 2]}


CONVERTED = [
    ("process_creation, product: windows", "Image|endswith: '\\a.exe'", 'DeviceProcessEvents\n| where FolderPath endswith "\\\\a.exe"'),
    ("registry_set, product: windows", "TargetObject|contains: '\\Run\\'", 'DeviceRegistryEvents\n| where RegistryKey contains "\\\\Run"'),
    ("dns_query, product: windows", "QueryName|endswith: .onion", '_Im_Dns\n| where DnsQuery endswith ".onion"'),
    ("x, product: aws, service: cloudtrail", "eventName: CreateUser", 'AWSCloudTrail\n| where EventName =~ "CreateUser"'),
    ("null, product: windows, service: security", "EventID: 4625", "SecurityEvent\n| where EventID == 4625"),
]


@pytest.mark.parametrize(("source", "item", "kql"), CONVERTED)
def test_each_log_source_has_its_microsoft_table(source: str, item: str, kql: str) -> None:
    found = read_rule(rule(item, head=f"title: t\nlogsource: {{category: {source}}}\ndetection:\n"))
    assert convert(found, Target.KQL).query == kql
    assert all(convert(found, target).query for target in Target)


@pytest.mark.parametrize(
    ("item", "source", "target", "note"),
    [
        (
            "Initiated: 'true'\n    DestinationPort: 445",
            "category: network_connection, product: windows",
            Target.KQL,
            "1 of the rule's 2 comparisons",
        ),
        ("a: b", "product: nobody", Target.KQL, "No Microsoft table"),
        ("a|expand: '%x%'", "product: windows", Target.SPL, "Cannot be expressed"),
        ("'|contains': failed", "product: linux, service: sshd", Target.ESQL, "looked for in the field message"),
        ("a: b", "product: okta, service: okta", Target.ESQL, "no ECS mapping"),
    ],
)
def test_what_a_query_leaves_out_is_said(item: str, source: str, target: Target, note: str) -> None:
    found = convert(read_rule(rule(item, head=f"title: t\nlogsource: {{{source}}}\ndetection:\n")), target)
    assert any(note in said for said in found.notes), found


def test_converting_leaves_the_rule_as_it_is() -> None:
    found = read_rule(rule("TargetObject|contains: '\\Run\\'", head="title: t\nlogsource: {category: registry_set, product: windows}\ndetection:\n"))
    first = [convert(found, target) for target in Target]
    assert [convert(found, target) for target in Target] == first
    assert matches(found, {"TargetObject": "HKLM\\Run\\x"})


@pytest.mark.parametrize("hostile", ["x: y\n- z", "'\"\\", "{{ a }}", "*alias", "!!tag", "a\nfilter: {b: c}", "null", "\u2028", "&a", "# c"])
def test_a_written_text_is_read_back_as_the_same_text(hostile: str) -> None:
    assert read_yaml(write_rule({"title": hostile, "detection": {"sel": {"a": [hostile]}}})) == {
        "title": hostile,
        "detection": {"sel": {"a": [hostile]}},
    }


def test_pysigma_is_imported_with_the_first_rule_and_fetches_nothing(tmp_path: Path) -> None:
    script = (
        "import socket, sys; from llm.capabilities.sigma.rules import *; from llm.capabilities.sigma.convert import *\n"
        "def refuse(*a, **k): raise SystemExit('asked the network')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "assert 'sigma' not in sys.modules, 'imported when the process starts'\n"
        f"r = read_rule({rule('Image: x')!r}); print(complaints(r)); [convert(r, t) for t in Target]\n"
        "assert 'requests' not in sys.modules\n"
        "import pathlib; assert not list(pathlib.Path.home().iterdir()), 'wrote into the home directory'\n"
        "from sigma.data import mitre_attack, mitre_d3fend\n"
        "for name, tables in (('mitre_attack_techniques', mitre_attack), ('mitre_d3fend_techniques', mitre_d3fend)):\n"
        "    try: getattr(tables, name); print('loaded')\n"
        "    except RuntimeError: print('nothing to load')\n"
    )
    home = {"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": "."}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env=home)
    assert ran.stdout.splitlines() == ["['Rule has no identifier (UUID)']", "nothing to load", "nothing to load"]


def test_a_rule_and_an_event_that_take_minutes_to_compare_are_refused() -> None:
    """Keywords are looked for in every field: 4,900 in 1,900 fields took ten minutes of a web thread."""
    keywords = read_rule(f"{HEAD}  sel: [{', '.join(f'k{n}' for n in range(4000))}]\n  condition: sel\n")
    for event in ({f"f{n}": "x" for n in range(100)}, {"a": ["x"] * 100}):
        with pytest.raises(CannotEvaluate, match="comparisons"):
            matches(keywords, event)
    assert not matches(keywords, {"a": ["x"] * 5})


def test_an_event_with_one_name_many_times_is_read_in_bounded_time() -> None:
    begun = time.process_time()
    deep = {"a": [{"a": [{"a": [{"a": n} for n in range(100)]} for _ in range(100)]} for _ in range(9)]}
    assert len(flat(deep)["a.a.a.a"]) == 90_000
    assert flat({"a": [{"b": 1}, {"b": [2, 3]}, {"b": 4}]}) == {"a.b": [1, 2, 3, 4]}
    assert time.process_time() - begun < 3


def test_tuning_ends_when_its_evaluations_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection_loop, "MAX_SECONDS", 0.0)
    with pytest.raises(CannotEvaluate, match="seconds"):
        detection_loop.by_rule(rule("a: b"), Alert(raw={"a": "b"}), "", [])


def query(selection: str, target: Target, head: str = HEAD) -> str:
    found = convert(read_rule(rule(selection, head=head)), target)
    return found.query or found.notes[-1]


NETWORK = HEAD.replace("process_creation", "network_connection")
PROXY = "title: t\nlogsource: {category: proxy}\ndetection:\n"
SIGN_IN = "title: t\nlogsource: {product: azure, service: signinlogs}\ndetection:\n"
TRAIL = "title: t\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n"
AUDIT = "title: t\nlogsource: {product: azure, service: auditlogs}\ndetection:\n"


@pytest.mark.parametrize(
    ("head", "selection", "part"),
    [
        (NETWORK, "DestinationPort: [22, 3389]", "RemotePort in (22, 3389)"),  # a number among texts is an error
        (NETWORK, "DestinationPort: '445'", "RemotePort == 445"),
        (NETWORK, "DestinationIp|cidr: ['10.0.0.0/8', 'fe80::/10']", 'ipv6_is_in_range(RemoteIP, "fe80::/10")'),
        (SIGN_IN, "ResultType: 50057", 'ResultType == "50057"'),  # a text is not compared with a number
        (PROXY, "sc-status: 200", 'EventResultDetails == "200"'),
        (PROXY, "c-uri|contains: 'a?b'", 'matches regex "(?i)'),
        (TRAIL, "errorCode: null", "isempty(ErrorCode)"),  # a text is never null
        (AUDIT, "Operation Name: x", "['Operation Name'] =~"),
        (HEAD, "CommandLine|contains: isnull(", '"isnull("'),
    ],
)
def test_a_kql_query_has_the_types_of_its_columns(head: str, selection: str, part: str) -> None:
    assert part in query(selection, Target.KQL, head)


def test_import_hashes_have_no_column_in_defender_and_that_is_said() -> None:
    both = convert(read_rule(rule(f"Hashes|contains: ['IMPHASH={'A' * 32}', 'MD5={'B' * 32}']")), Target.KQL)
    assert both.query is not None
    assert any("Import hashes are left out" in note for note in both.notes)
    alone = convert(read_rule(rule(f"Hashes|contains: 'IMPHASH={'A' * 32}'")), Target.KQL)
    assert alone.query is None
    assert "Cannot be expressed" in alone.notes[0]


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("^cmd.*(a|b@c)$", 'rlike "(cmd.*(a|b\\\\@c))"'),
        ("a(?:b|c)", 'rlike ".*(a(b|c)).*"'),
        ("a\\$[$^]", 'rlike ".*(a\\\\$[$^]).*"'),
        ("(?i)abc", "know no “(?”"),
        ("\\bfoo", "know no “\\b”"),
        ("a$|b", "know no “$”"),
    ],
)
def test_a_regular_expression_is_one_of_lucenes_in_esql(expression: str, part: str) -> None:
    assert part in query(f"CommandLine|re: '{expression}'", Target.ESQL)


def test_esql_names_the_direction_and_the_fields_that_all_sources_have() -> None:
    assert 'network.direction=="egress"' in query("Initiated: 'true'", Target.ESQL, NETWORK)
    assert 'ends_with(process.executable, "' in query("Image|endswith: '\\AnyDesk.exe'", Target.ESQL)


def test_spl_says_that_it_widens_a_wildcard_for_one_character() -> None:
    assert any("that much wider" in note for note in convert(read_rule(rule("a: 'x?y'")), Target.SPL).notes)
