"""The words of a question and what they stand for by their form: an address, a program, a country. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

from llm.capabilities.nl_query import words
from llm.capabilities.nl_query.query import ADDRESSES, HASHES, BadQuery, Field, Op, Test

TOKEN: Final = re.compile(r"(?i:h(?:tt|xx)ps?://[^\s\"'<>]+)|\"[^\"]*\"|'[^']*'|“[^”]*”|>=|<=|==|!=|[<>=()]|,|[^\s,()\"“<>=]+")
COUNTRIES: Final = frozenset(
    words.split("""afghanistan argentina australia austria belarus belgium brazil bulgaria canada chile china colombia croatia cuba cyprus denmark egypt
    estonia finland france germany greece hungary iceland india indonesia iran iraq ireland israel italy japan kazakhstan kenya latvia lithuania
    luxembourg malaysia mexico moldova morocco netherlands nigeria norway pakistan peru philippines poland portugal romania russia serbia
    singapore slovakia slovenia spain sweden switzerland syria taiwan thailand turkey ukraine venezuela vietnam""")
) | frozenset(
    (
        "united states", "united kingdom", "united arab emirates", "north korea", "south korea", "saudi arabia", "south africa", "new zealand",
        "costa rica", "sri lanka", "hong kong", "czech republic",
    )
)  # fmt: skip
TOOLS: Final[Mapping[str, str]] = {
    "powershell": "powershell.exe",
    "cmd": "cmd.exe",
    "mimikatz": "mimikatz.exe",
    "psexec": "psexec.exe",
    "rundll32": "rundll32.exe",
    "regsvr32": "regsvr32.exe",
    "certutil": "certutil.exe",
    "mshta": "mshta.exe",
    "wscript": "wscript.exe",
    "cscript": "cscript.exe",
    "winword": "winword.exe",
    "excel": "excel.exe",
    "wmic": "wmic.exe",
    "bitsadmin": "bitsadmin.exe",
    "schtasks": "schtasks.exe",
    "whoami": "whoami.exe",
    "vssadmin": "vssadmin.exe",
}


@dataclass(frozen=True, slots=True)
class Word:
    """One token of a question, and whether it stood in quotation marks."""

    text: str
    quoted: bool

    @property
    def low(self) -> str:
        return self.text.lower()


def refanged(text: str) -> str:
    """A name or URL as it was before somebody made it harmless: hxxp, [.]"""
    return re.sub(r"(?i)\[\.\]|\(\.\)|\[dot\]", ".", re.sub(r"(?i)^hxxp", "http", text))


def word_of(text: str) -> Word:
    if len(text) > 1 and text[0] in "\"'“" and text[-1] in "\"'”":
        return Word(text[1:-1], True)
    if text in (">=", "<=", "==", "!=", "<", ">", "=", "(", ")", ","):
        return Word(text, False)
    return Word(refanged(text.rstrip("?.!;:,)" if "://" in text else "?.!;:")) if text != ":" else text, False)


def with_countries(found: list[Word]) -> list[Word]:
    """The words, those of a country's name as one."""
    joined: list[Word] = []
    while found:
        length = next(
            (many for many in (3, 2) if " ".join(word.low for word in found[:many] if not word.quoted) in COUNTRIES and len(found) >= many), 1
        )
        joined.append(Word(" ".join(word.text for word in found[:length]), found[0].quoted))
        found = found[length:]
    return joined


def is_program(text: str) -> bool:
    return re.fullmatch(r"[\w.+-]{1,100}\.(?:exe|dll|ps1|bat|cmd|vbs|js|sh|py|msi|scr)", text, re.IGNORECASE) is not None


def shape_of(text: str) -> str | None:
    """What a value's form tells: an address, a hash, a program and so on."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        pass
    else:
        return "address" if not text.isdigit() else None
    if re.fullmatch(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}", text):
        return "hash"
    if re.match(r"(?i)https?://", text):
        return "url"
    if re.match(r"(?i)(?:HKLM|HKCU|HKU|HKCR|HKEY_\w+)\\", text):
        return "registry"
    if re.match(r"[A-Za-z]:\\|/[\w.-]+/|\\\\", text):
        return "path"
    if re.fullmatch(r"[^@\s]+@[\w.-]+\.\w+", text):
        return "mailbox"
    if is_program(text):
        return "program"
    if re.fullmatch(r"(?:[\w*-]+\.)+[a-z]{2,24}", text, re.IGNORECASE):
        return "domain"
    return None


def value_of(name: Field, word: Word) -> str:
    if name in (Field.PROCESS, Field.PARENT) and not word.quoted and word.low in TOOLS:
        return TOOLS[word.low]
    if name is Field.SEVERITY or name in HASHES.values():
        return word.low
    if name is Field.COUNTRY and not word.quoted:
        return word.text.title()
    if name is Field.METHOD and not word.quoted:
        return word.text.upper()
    return word.text


def comparison(name: Field, operator: Op, text: str) -> Test:
    """One comparison; `*` at a value's ends is a wildcard. Raises BadQuery."""
    if name is Field.HASH and operator is Op.IS and "*" not in text:
        if len(text) not in HASHES:
            raise BadQuery(f"{text!r} is no MD5, SHA-1 or SHA-256.")
        name = HASHES[len(text)]
    if operator in (Op.IS, Op.WITHIN) and name in ADDRESSES:
        try:
            ip_address(text)
        except ValueError:
            return Test(name, Op.WITHIN, (text,))
        return Test(name, Op.IS, (text,))
    if operator is Op.IS and "*" in text:
        plain = text.strip("*")
        if "*" in plain or not plain:
            raise BadQuery("A wildcard inside a value is not read.")
        operator = Op.CONTAINS if text[0] == text[-1] == "*" else Op.STARTS if text[-1] == "*" else Op.ENDS
        text = plain
    return Test(name, operator, (text,))
