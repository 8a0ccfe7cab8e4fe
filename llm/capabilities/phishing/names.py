"""What a host name tells: the brand it is, pretends to be, or carries where it does not belong. Pure, no look-ups.

Registrable names come from the Public Suffix List in publicsuffixlist, look-alike characters from Unicode's table (UTS 39) in
confusable-homoglyphs; both are data in their packages.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

from llm.capabilities.phishing.reasons import Reason, reason
from llm.capabilities.phishing.tables import tables

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

_SHORT: Final = frozenset(
    {"ups", "irs", "dhl", "aol", "okta", "zoom", "ebay", "hsbc"}
)  # too short to be looked for inside of words, or two steps away


@cache
def _suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True)


def registrable(host: str) -> str:
    """The name that somebody registered: `a.b.example.co.uk` is `example.co.uk`; the host itself where there is none."""
    return _suffixes().privatesuffix(host.lower().rstrip(".")) or host.lower().rstrip(".")


def skeleton(text: str) -> str:
    """The name as the eye reads it: look-alikes from other scripts, and digits and pairs that pass for letters, become Latin letters."""
    from confusable_homoglyphs import confusables

    letters = []
    for character in text.lower():
        if character.isascii():
            letters.append(character)
            continue
        found = confusables.is_confusable(character, greedy=True, preferred_aliases=["latin"])
        likes = [one["c"] for entry in found or () for one in entry["homoglyphs"] if one["c"].isascii()]
        letters.append(likes[0] if likes else character)
    plain = "".join(letters).lower()
    for looks, means in (("rn", "m"), ("vv", "w"), ("cl", "d")):
        plain = plain.replace(looks, means)
    return plain.translate(str.maketrans("01345$|", "oleassl"))


def pretended(host: str, protected: tuple[str, ...] = ()) -> tuple[str, str] | None:
    """Which brand, or protected name, a host looks like, and how: ("paypal", "lookalike"). None for the brand's own and for unlike names."""
    name = registrable(host)
    if name in tables().owned or name in protected:
        return None
    label = name.split(".")[0]
    words = [word for word in re.split(r"[-.]", label) if word]
    seen = skeleton(label)
    if label in tables().brands and len(name.rsplit(".", 1)[-1]) == 2 and name.rsplit(".", 1)[-1] not in tables().cheap:
        return (label, "other_suffix")  # of a country: brands have many, and this table few of them
    own = {protected_name.split(".")[0]: protected_name for protected_name in protected}
    for brand in (*tables().brands, *own):
        eye = skeleton(brand)
        if seen == eye or (len(brand) > 4 and brand not in _SHORT and _near(seen, eye)) or (label != brand and seen.replace("-", "") == eye):
            return (own.get(brand, brand), "lookalike")
        parts = [skeleton(word) for word in words]
        if len(words) > 1 and any(part == eye or (brand not in _SHORT and len(brand) > 5 and _near(part, eye)) for part in parts):
            return (own.get(brand, brand), "lookalike")
        if (
            brand not in _SHORT
            and len(brand) > 4
            and eye in seen
            and (len(seen) - len(eye) >= 3)
            and tables().lures.search("-" + seen.replace(eye, "-", 1))
        ):
            return (own.get(brand, brand), "lookalike")
    before = host[: -len(name)].rstrip(".")
    for brand in tables().brands:
        if brand in re.split(r"[-.]", before) or (brand not in _SHORT and any(brand in part and part != label for part in before.split(".") if part)):
            return (brand, "carried")
    return None


def host_reasons(host: str, where: str, protected: tuple[str, ...] = ()) -> Iterator[Reason]:
    """What the name alone tells. where: "link" or "sender"."""
    from idna import IDNAError
    from idna import decode as decoded

    shown = host
    if "xn--" in host:
        try:
            shown = decoded(host)
        except (IDNAError, UnicodeError):
            shown = host
    found = pretended(shown, protected)
    name = registrable(host)
    if found and found[1] == "lookalike":
        yield reason(f"{where}_lookalike" if where == "sender" else "link_lookalike", f"{host} looks like {found[0]} and is not its name.")
        if not shown.isascii():
            yield reason("link_homograph", f"{host} is written {shown}, with letters of another script.")
    elif found and found[1] == "other_suffix":
        yield reason("brand_other_suffix", f"{name} is {found[0]}'s name under a suffix that is not known to be {found[0]}'s.")
    elif found:
        yield reason("link_brand_outside_domain", f"{host} carries {found[0]} in front of {name}, which is not {found[0]}'s.")
    elif not shown.isascii() and _mixed(shown):
        yield reason("link_homograph", f"{host} mixes scripts: {shown}.")
    label = name.split(".")[0]
    if name.rsplit(".", 1)[-1] in tables().cheap:
        yield reason("link_cheap_suffix", f"{name} is under a suffix that costs next to nothing.")
    if any(host == platform or host.endswith(f".{platform}") for platform in tables().platforms):
        yield reason("link_hosting_platform", f"{host} is a page on a platform where anybody gets one.")
    if name in tables().shorteners:
        yield reason("link_shortener", f"{name} hides where the link goes.")
    if host.count(".") >= 4 + name.count(".") - 1:
        yield reason("link_many_labels", f"{host} has {host.count('.') + 1} labels.")
    if tables().lures.search(label) and name not in tables().owned:
        yield reason("link_credential_path", f"{name} names log-in or account matters in the domain itself.")
    if len(label) >= 12 and _random(label):
        yield reason("random_name", f"{label} looks generated.")


def _mixed(text: str) -> bool:
    label = max(text.split("."), key=len)
    return any(character.isascii() and character.isalpha() for character in label) and any(not character.isascii() for character in label)


def _random(label: str) -> bool:
    counts = Counter(label)
    entropy = -sum(count / len(label) * math.log2(count / len(label)) for count in counts.values())
    vowels = sum(label.count(vowel) for vowel in "aeiouy")
    digits = sum(character.isdigit() for character in label)
    return entropy > 3.0 and (vowels / len(label) < 0.2 or digits / len(label) > 0.3)


def _near(one: str, other: str) -> bool:
    """One letter wrong, missing, too many, or two swapped."""
    if one == other:
        return False
    if len(one) == len(other):
        wrong = [place for place in range(len(one)) if one[place] != other[place]]
        if len(wrong) == 1:
            return True
        return len(wrong) == 2 and wrong[1] == wrong[0] + 1 and one[wrong[0]] == other[wrong[1]] and one[wrong[1]] == other[wrong[0]]
    shorter, longer = sorted((one, other), key=len)
    return len(longer) == len(shorter) + 1 and any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))
