"""Checks a query against a grammar of its language: the part of each language that this product writes, and nothing beside it.

No maintained parser of the three languages exists for Python, so these grammars are our own, written from the vendors' references. They are a
second opinion on the renderer: a value that broke out of its quotes would be a command that they do not know. They hold no command that
writes, deletes, sends, runs code or reads another source.
"""

from functools import cache
from typing import TYPE_CHECKING, Final

from llm.capabilities.nl_query.render import Dialect

if TYPE_CHECKING:
    from lark import Lark

_TOKENS: Final = r"""
STRING: /"(?:[^"\\\x00-\x1f]|\\["\\])*"/
NUMBER: /[0-9]{1,12}/
%ignore / +/
"""

_ESQL: Final = (
    r"""
start: "FROM" "logs-*" "|" where ("|" stage)*
?stage: where | stats | sort | limit
where: "WHERE" either
stats: "STATS" NAME "=" measure ("BY" group ("," group)*)?
measure: "COUNT(*)" | "COUNT_DISTINCT" "(" FIELD ")"
group: FIELD | NAME "=" "BUCKET" "(" FIELD "," span ")"
sort: "SORT" FIELD ("ASC" | "DESC")
limit: "LIMIT" NUMBER
either: all ("OR" all)*
all: one ("AND" one)*
?one: "NOT" "(" either ")" -> negated
    | "(" either ")"
    | test
test: FIELD "IS" "NOT" "NULL"
    | FIELD ("==" | ">=" | ">" | "<=" | "<") value
    | FIELD "IN" "(" literal ("," literal)* ")"
    | "CIDR_MATCH" "(" FIELD "," STRING ("," STRING)* ")"
    | "TO_LOWER" "(" FIELD ")" "LIKE" STRING
?literal: STRING | NUMBER
?value: literal | moment
moment: "NOW" "(" ")" ("-" span)? | "DATE_TRUNC" "(" span "," moment ")"
span: NUMBER UNIT
UNIT: /(minute|hour|day)s?/
NAME: "count" | "unique" | "bucket"
FIELD: /@timestamp|[a-z_]+(\.[a-z0-9_]+)+|count|unique|bucket/
"""
    + _TOKENS
)

_SPL: Final = (
    r"""
start: "index=*" term+ ("|" stage)*
?stage: bin | stats | where | sort | head
bin: "bin" "_time" "span" "=" SPAN
stats: "stats" ("count" | "dc" "(" FIELD ")" "as" "unique") ("by" FIELD+)?
where: "where" ("count" | "unique") ORDER NUMBER
sort: "sort" ("-" ("count" | "unique") | "0" "_time")
head: "head" NUMBER
?term: "NOT" "(" list ")" -> negated
     | "(" list ")"
     | test
list: term+ ("OR" term+)*
test: TIME | FIELD "=" (STRING | NUMBER | "*" | TAG) | FIELD ORDER NUMBER | FIELD "IN" "(" (STRING | NUMBER) ("," (STRING | NUMBER))* ")"
ORDER: ">=" | "<=" | ">" | "<"
TIME.3: /(earliest|latest)=(-[0-9]{1,4}[mhd](@d)?|@d|[0-9]{1,12})/
SPAN: /1[mhd]/
TAG: "authentication" | "process" | "network" | "dns" | "filesystem" | "registry" | "web" | "email" | "alert" | "account" | "change"
FIELD: /[A-Za-z_][A-Za-z0-9_]*/
"""
    + _TOKENS
)

_KQL: Final = (
    r"""
start: source "|" where ("|" stage)*
source: TABLE | "union" "isfuzzy" "=" "true" TABLE ("," TABLE)*
?stage: where | summarize | top | sort
where: "where" either
summarize: "summarize" MEASURE "=" ("count" "(" ")" | "dcount" "(" column ")") ("by" group ("," group)*)?
?group: column | "bin" "(" COLUMN "," SPAN ")" -> bin
top: "top" NUMBER "by" COLUMN "desc"
sort: "sort" "by" COLUMN "asc"
either: all ("or" all)*
all: one ("and" one)*
?one: "not" "(" either ")" -> negated
    | "(" either ")"
    | test
test: column ("=~" | "==" | ">=" | ">" | "<=" | "<" | "contains" | "startswith" | "endswith") value
    | column ("in~" | "in") "(" value ("," value)* ")"
    | ("ipv4_is_in_range" | "ipv6_is_in_range") "(" column "," STRING ")"
    | "isnotempty" "(" column ")"
?value: STRING | NUMBER | moment
moment: "ago" "(" SPAN ")" | "startofday" "(" ("now" "(" ")" | "ago" "(" SPAN ")") ")" | "datetime" "(" DATE ")"
?column: COLUMN | "toint" "(" COLUMN ")" | "tostring" "(" "geo_info_from_ip_address" "(" COLUMN ")" ".country" ")"
DATE: /[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z/
SPAN: /[0-9]{1,5}[mhd]/
MEASURE: "Count" | "Unique"
TABLE: /[A-Z_][A-Za-z0-9_]*/
COLUMN: /[A-Z][A-Za-z0-9]*/
"""
    + _TOKENS
)


@cache
def _parser(dialect: Dialect) -> "Lark":
    from lark import Lark

    return Lark({Dialect.ESQL: _ESQL, Dialect.SPL: _SPL, Dialect.KQL: _KQL}[dialect], parser="earley", ambiguity="resolve", propagate_positions=False)


def conforms(query: str, dialect: Dialect) -> bool:
    """Whether the whole text is a query of the part of the language that is written here."""
    from lark.exceptions import LarkError

    try:
        _parser(dialect).parse(query)
    except (LarkError, RecursionError):
        return False
    return True
