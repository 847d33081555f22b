"""Personal data and secrets: e-mail, telephone, payment card, IBAN, IP address, keys and passwords of services.

Recognised by libraries where a library knows the rules: ``phonenumbers`` (Google's), ``stdnum`` for check digits,
``ipaddress``, and the patterns of ``detect-secrets``. What is made up on purpose (example.com, 555 numbers, the cards
that payment services give for tests, documentation addresses) is passed over.

Redaction puts a name in brackets where the thing stood; the original is kept until the example is exported.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from workbench.domain.chats import Turn
from workbench.domain.checks import Finding, Fix, FixKind, RowCheck, Severity, Text
from workbench.domain.examples import Content

_EMAIL = re.compile(r"(?<![\w.%+/@-])[^\W_][\w.%+-]{0,63}@(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.)+[^\W\d_]{2,24}\b(?![@(])")
# Names of files, not of the net: icon@2x.png.
_FILE_ENDINGS = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|ico|m?js|ts|css|json|xml|html?|txt|pdf|csv|exe|dll|whl|jar)$", re.I
)
# RFC 2606 and 6761 names, and the ones that examples are written with.
_MADE_UP_DOMAINS = re.compile(
    r"(?:^|\.)(?:example|test|invalid|localhost|local)$|(?:^|\.)(?:(?:my)?(?:example|domain|company|email|mail|website|site|"
    r"yourdomain|yourcompany|mydomain|abc|xyz|test|sample|acme|foo|bar|example-[a-z0-9-]+)\.[a-z.]+)$",
    re.IGNORECASE,
)
_MADE_UP_NAMES = re.compile(
    r"^(?:your|user|username|name|email|someone|you|example|me|test|first\.?last|git|abc|(?:john|jane)[._]?(?:q[._]?)?doe)\w*$",
    re.I,
)
_CARD = re.compile(r"(?<![\w.,-])(?:\d[ \u00a0\u202f-]?){12,18}\d(?![\w-]|[.,]\d)")
# Each issuer with its own number of figures: a telephone's serial number (IMEI) begins like a card and is shorter.
_CARD_PREFIX = re.compile(
    r"^(?:4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|(?:36|38|30[0-5]\d)\d{10,12}"
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12}|62\d{14,17}|35(?:2[89]|[3-8]\d)\d{12})$"
)
# Given out by payment services for tests.
_TEST_CARDS = re.compile(
    r"^(?:4242424242424242|4111111111111111|4012888888881881|4222222222222|4000056655665556|5555555555554444"
    r"|5105105105105100|5200828282828210|2223003122003222|378282246310005|371449635398431|378734493671000"
    r"|6011111111111117|6011000990139424|30569309025904|38520000023237|3530111333300000|3566002020360505"
    r"|(\d)\1+)$"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ \u00a0]?[A-Z0-9]{4}){2,7}(?:[ \u00a0]?[A-Z0-9]{1,4})?\b")
# Those of the registry's own examples and of encyclopedias.
_DOCUMENTED_IBANS = {
    *("GB82WEST12345698765432", "GB33BUKB20201555555555", "DE89370400440532013000", "GB29NWBK60161331926819"),
    *("FR1420041010050500013M02606", "ES9121000418450200051332", "NL91ABNA0417164300", "CH9300762011623852957"),
    *("IT60X0542811101000000123456", "BE68539007547034", "AT611904300234573201", "PL61109010140000071219812874"),
    *("SE4550000000058398257466", "NO9386011117947", "DK5000400440116243", "IE29AIBK93115212345678"),
}
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4})?(?:::?[0-9A-Fa-f]{1,4})*(?![\w:])")
_WELL_KNOWN_IPS = {"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "1.2.3.4", "208.67.222.222", "4.4.4.4"}
_VERSION = re.compile(
    r"(?:\bv(?:er(?:sion)?)?|version|release|build|firmware|driver|kernel|patch|update|upgrade|section|chapter|clause"
    r"|article|figure|table|§|python|java|ios|android|chrome|firefox|[A-Za-z]/|[=<>~^]=?)(?: to)?[ .:]*$",
    re.IGNORECASE,
)
_ABROAD = re.compile(r"\+[1-9][\d ().\-/]{6,18}\d")
_AMERICAN = re.compile(r"\(\d{3}\)[ \-]?\d{3}[ .\-]\d{4}|\b\d{3}[.\-]\d{3}[.\-]\d{4}\b")
# As people write numbers of their own country: an area code, then groups.
_NATIONAL = re.compile(
    r"(?<![A-Za-z0-9_.,:/+$€£#-])(?:8[ -])?(?:\(0?\d{1,5}\) ?|\d{2,6}(?:[ .\-/]|\u00a0| [-/] ))"
    r"\d{2,8}(?:[ .\-/\u00a0]\d{2,8}){0,4}(?![A-Za-z0-9_%-]|[.,:/]\d)"
    r"|(?<![A-Za-z0-9_.,:/+$€£#-])\d{8,13}(?![A-Za-z0-9_%-]|[.,:/]\d)"
)
_PHONE_WORDS = re.compile(
    r"(?:\b(?:tel|telefon\w*|tele?fono|teléfono|télé?phone|tél|phone|telephone|mobile|mobil|cell|cellphone|fax|whatsapp"
    r"|handy\w*|mobilnummer|rufnummer|anrufen|rufen|appele[rz]|appel|joindre|portable|llam[ae]\w*|móvil|celular"
    r"|chiam\w+|cellulare|bel|bellen|gsm|dzwoń|zadzwoń|komórk\w*|lig(?:ar|ue)|telemóvel|ring"
    r"|call(?: me| us| him| her)?(?: at| on)?|reach (?:me|us|him|her) (?:at|on)|text me(?: at| on)?"
    r"|mein\w* nummer|mon numéro|mi número|my number)\b"
    r"|тел\w*|звон\w*|моб\w*|电话|手机|電話|携帯|전화\w*|연락처|휴대폰|☎|📞|📱)[^\d\n]{0,25}\Z",
    re.IGNORECASE,
)
_REGIONS = (
    *("US", "DE", "GB", "FR", "ES", "IT", "NL", "BE", "CH", "AT", "PL", "SE", "DK", "NO", "FI", "PT", "IE", "GR", "CZ"),
    *("BR", "MX", "AR", "AU", "NZ", "IN", "JP", "KR", "CN", "RU", "UA", "TR", "ZA", "IL", "AE", "ID", "VN", "PH"),
)
# 555 in America, and what the regulators of other countries keep free for films and books.
_FICTIONAL_PHONE = re.compile(
    r"^\+?1?(?:\d{3})?555(?:01\d\d|\d{4})$|(\d)\1{6}|1234567|7654321"
    r"|^(?:44)?0?(?:2079460|1[1-6]1496|1632960|7700900)\d{3}$|^(?:33|0)(?:[1-5]99|639|6399)\d{6,7}$"
    r"|^(?:61|0)(?:[2378]5550|491570)\d+$|^(?:49|0)(?:3023125|6990009|4066969|2214710|8999998|1713920|15228817)\d+$"
)
_DETECTORS = (
    *("aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector", "discord.DiscordBotTokenDetector"),
    *("github_token.GitHubTokenDetector", "gitlab_token.GitLabTokenDetector", "jwt.JwtTokenDetector"),
    *("mailchimp.MailchimpDetector", "npm.NpmDetector", "openai.OpenAIDetector", "pypi_token.PypiTokenDetector"),
    *("sendgrid.SendGridDetector", "slack.SlackDetector", "square_oauth.SquareOAuthDetector"),
    *("stripe.StripeDetector", "telegram_token.TelegramBotTokenDetector", "twilio.TwilioKeyDetector"),
)
# One of these stands in everything that the detectors match; the library takes a quarter of a second to import.
_SECRET_WORDS = (
    *("AKIA", "ASIA", "ABIA", "ACCA", "A3T", "aws", "AWS", "AccountKey=", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    *("glpat-", "gldt-", "glft-", "glrt-", "glsoat-", "glcbt-", "glptt-", "gloas-", "glagent-", "GR1348941", "eyJ"),
    *("hf_", "sk-ant-", "AIza", "://", "github_pat_", "gsk_", "xai-", "dop_v1_", "npm_", "sk-or-", "sk-proj-", "r8_"),
    *("-us", "_authToken", "T3BlbkFJ", "pypi-", "SG.", "xox", "hooks.slack", "sq0csp", "k_live_", ":AA"),
)
# Of services that the library does not know, and passwords inside addresses.
_MORE_SECRETS = (
    re.compile(r"\bhf_[A-Za-z0-9]{30,40}\b"),
    re.compile(r"\bsk-ant-[\w-]{20,}"),
    re.compile(r"\bgithub_pat_[A-Za-z0-9_]{50,}\b"),
    re.compile(r"\b(?:gsk|xai|dop_v1|npm|sk-or-v1|sk-proj|r8)[_-][A-Za-z0-9_-]{30,}"),
    re.compile(r"\bAIza[\w-]{35}(?![\w-])"),
    re.compile(r"\b[a-z][a-z0-9+]{1,20}://([^\s/:@]{1,64}:[^\s/:@]{6,64})@"),
)
_SHORTEST_BARE_SECRET = 34
_SHORTEST_SECRET = 16
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_DATA_IN_KEY = re.compile(r"[A-Za-z0-9+/]{40}")


@dataclass(frozen=True, slots=True, order=True)
class Recognised:
    """Something personal or secret in a text, by characters, and the name that takes its place."""

    start: int
    end: int
    name: str


def look(content: Content) -> Iterator[Finding]:
    """Findings for every text, and for the arguments of tool calls."""
    for text in _texts(content):
        for found in recognise(text.text):
            severity, what = _KINDS[found.name]
            yield Finding(severity, f"{what} stands in the text", text.place(found.start, found.end), fixable=True)


def redacted(content: Content) -> Content:
    """The content with the name of what stood there (``[EMAIL]``) in the place of everything recognised."""
    return replace(
        content,
        prompt=tuple(map(_redacted_turn, content.prompt)),
        chosen=tuple(map(_redacted_turn, content.chosen)),
        rejected=tuple(map(_redacted_turn, content.rejected)),
    )


def recognise(text: str) -> list[Recognised]:
    """Everything personal or secret in a text, in order, without overlaps: the longer one wins."""
    raw = text.encode("utf-8", "replace")
    figures = len(raw) - len(raw.translate(None, b"0123456789"))
    recognisers = [recogniser for least, recogniser in _RECOGNISERS if figures >= least]
    found = sorted((r for recogniser in recognisers for r in recogniser(text)), key=lambda r: (r.start, -r.end))
    apart: list[Recognised] = []
    for one in found:
        if not apart or one.start >= apart[-1].end:
            apart.append(one)
    return apart


def _texts(content: Content) -> Iterator[Text]:
    for part in ("prompt", "chosen", "rejected"):
        for number, turn in enumerate(getattr(content, part)):
            yield Text(part, number, turn.role, turn.content)
            if turn.extra:
                yield Text(part, number, turn.role, turn.extra)


def _redacted_turn(turn: Turn) -> Turn:
    return replace(turn, content=_redacted(turn.content), extra=_redacted(turn.extra))


def _redacted(text: str) -> str:
    for found in reversed(recognise(text)):
        text = f"{text[: found.start]}[{found.name}]{text[found.end :]}"
    return text


def _emails(text: str) -> Iterator[Recognised]:
    if "@" not in text:
        return
    for found in _EMAIL.finditer(text):
        name, _, domain = found[0].partition("@")
        if not (_MADE_UP_DOMAINS.search(domain) or _MADE_UP_NAMES.match(name) or _FILE_ENDINGS.search(domain)):
            yield Recognised(found.start(), found.end(), "EMAIL")


def _phones(text: str) -> Iterator[Recognised]:
    abroad, american = _ABROAD.search(text), _AMERICAN.search(text)
    national = [found for found in _NATIONAL.finditer(text) if _may_be_national(text, found)]
    if not (abroad or american or national):
        return
    import phonenumbers  # 30 ms

    # Without a country only +44 ... is a number; the American grouping is known everywhere by its look.
    ways: list[tuple[str | None, int]] = [(None, phonenumbers.Leniency.VALID)] if abroad else []
    ways += [("US", phonenumbers.Leniency.EXACT_GROUPING)] if american else []
    for region, leniency in ways:
        for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=leniency):
            if region and match.raw_string.isdigit():
                continue
            if _is_somebodys(match.raw_string) and not _is_public(match.number):
                yield Recognised(match.start, match.end, "PHONE")
    for found in national:
        if _is_national(text, found):
            yield Recognised(found.start(), found.end(), "PHONE")


def _is_somebodys(number: str) -> bool:
    digits = re.sub(r"\D", "", number)
    return not _FICTIONAL_PHONE.search(digits) and len(set(digits)) > 3


def _may_be_national(text: str, found: re.Match[str]) -> bool:
    """True for what is written like a number of some country, or stands behind a word for one."""
    groups = re.findall(r"\d+", found[0])
    if not 8 <= sum(map(len, groups)) <= 13 or not _is_somebodys(found[0]):
        return False
    if _is_called_a_phone(text, found):
        return True
    # Five twos may be drawn numbers, two groups an order: only three and more that begin as area codes do.
    return found[0][0] in "0(" and len(groups) >= 3 and any(len(group) != 2 for group in groups)


def _is_called_a_phone(text: str, found: re.Match[str]) -> bool:
    return _PHONE_WORDS.search(text, max(0, found.start() - 50), found.start()) is not None


def _is_national(text: str, found: re.Match[str]) -> bool:
    """True when it is a valid number somewhere; grouped as there, unless a word before it says what it is."""
    import phonenumbers

    written = re.findall(r"\d+", found[0])
    is_called = _is_called_a_phone(text, found)
    ways: list[tuple[str, str | None]] = [(found[0], region) for region in _REGIONS]
    if written[0].startswith("00"):
        ways = [("+" + "".join(written)[2:], None)]
    for number, region in ways:
        try:
            parsed = phonenumbers.parse(number, region)
        except phonenumbers.NumberParseException:
            continue
        if not phonenumbers.is_valid_number(parsed) or _is_public(parsed):
            continue
        usual = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
        if is_called or region is None or re.findall(r"\d+", usual) == written:
            return True
    return False


def _is_public(number: Any) -> bool:
    """True for hotlines: free of charge, dear, or shared, they are nobody's own."""
    from phonenumbers import PhoneNumberType, number_type

    return number_type(number) in {
        *(PhoneNumberType.TOLL_FREE, PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.UAN),
    }


def _cards(text: str) -> Iterator[Recognised]:
    for found in _CARD.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        if not _CARD_PREFIX.match(digits) or _TEST_CARDS.match(digits) or not _is_grouped_like_a_card(found[0]):
            continue
        from stdnum import luhn

        if luhn.is_valid(digits):
            yield Recognised(found.start(), found.end(), "CARD")


def _is_grouped_like_a_card(text: str) -> bool:
    groups = [len(group) for group in re.split(r"[ \u00a0\u202f-]", text)]
    return groups in ([14], [15], [16], [19], [4, 4, 4, 4], [4, 6, 5], [4, 6, 4], [4, 4, 4, 4, 3])


def _ibans(text: str) -> Iterator[Recognised]:
    for found in _IBAN.finditer(text):
        from stdnum import iban  # 15 ms

        # A word in capitals may follow without being part of it: the longest prefix with right check digits.
        words = re.split(r"([ \u00a0])", found[0])
        for count in range(len(words), 0, -2):
            candidate = "".join(words[:count])
            plain = candidate.replace("\u00a0", " ")
            if len(candidate) >= 15 and iban.is_valid(plain):
                if iban.compact(plain) not in _DOCUMENTED_IBANS:
                    yield Recognised(found.start(), found.start() + len(candidate), "IBAN")
                break


def _ips(text: str) -> Iterator[Recognised]:
    if text.count(".") >= 3:
        yield from _addresses(text, _IPV4)
    if text.count(":") >= 2:
        yield from _addresses(text, _IPV6)


def _addresses(text: str, pattern: re.Pattern[str]) -> Iterator[Recognised]:
    for found in pattern.finditer(text):
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:
            continue
        is_version = _VERSION.search(text[max(0, found.start() - 16) : found.start()])
        is_short = address.version == 6 and len(found[0]) < 12
        if address.is_global and found[0] not in _WELL_KNOWN_IPS and not is_version and not is_short:
            yield Recognised(found.start(), found.end(), "IP")


def _secrets(text: str) -> Iterator[Recognised]:
    for found in _PRIVATE_KEY.finditer(text) if "PRIVATE KEY" in text else ():
        if _DATA_IN_KEY.search(found[0]):
            yield Recognised(found.start(), found.end(), "SECRET")
    is_marked = any(word in text for word in _SECRET_WORDS)
    if not is_marked and not any(len(word) >= _SHORTEST_BARE_SECRET for word in text.split()):
        return
    for pattern in _MORE_SECRETS:
        for found in pattern.finditer(text):
            start, end = found.span(found.lastindex or 0)
            if _looks_random(text[start:end]):
                yield Recognised(start, end, "SECRET")
    for pattern in _secret_patterns():
        for found in pattern.finditer(text):
            start, end = found.span(found.lastindex or 0)
            if end - start < _SHORTEST_SECRET:  # the group was only the kind of token
                start, end = found.span()
            if _looks_random(text[start:end]):
                yield Recognised(start, end, "SECRET")


def _looks_random(text: str) -> bool:
    """False for what stands in a manual: ``ghp_xxxxxxxx``, ``AKIAIOSFODNN7EXAMPLE``, ``sk-1234567890``."""
    lower = text.lower()
    made_up = (
        "example",
        "your",
        "xxxx",
        "test",
        "abcdef",
        "123456",
        "dummy",
        "sample",
        "password",
        "placeholder",
        "0000",
        "...",
    )
    return len(set(text)) >= 8 and not any(word in lower for word in made_up)


@cache
def _secret_patterns() -> tuple[re.Pattern[str], ...]:
    import importlib

    patterns: list[re.Pattern[str]] = []
    for reference in _DETECTORS:
        module, _, name = reference.partition(".")
        patterns += getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name).denylist
    return tuple(patterns)


_KINDS: dict[str, tuple[Severity, str]] = {
    "EMAIL": (Severity.WARNING, "an e-mail address"),
    "PHONE": (Severity.WARNING, "a telephone number"),
    "IP": (Severity.WARNING, "an IP address"),
    "CARD": (Severity.ERROR, "the number of a payment card"),
    "IBAN": (Severity.ERROR, "the number of a bank account (IBAN)"),
    "SECRET": (Severity.ERROR, "a key or password of a service"),
}
# With the fewest figures that the thing has: counting them is nearly free, looking for it is not.
_RECOGNISERS: tuple[tuple[int, Callable[[str], Iterator[Recognised]]], ...] = (
    (0, _secrets),
    (0, _emails),
    (14, _cards),
    (11, _ibans),
    (7, _phones),
    (4, _ips),
)

CHECK = RowCheck(
    "personal_data",
    title="Personal data and secrets",
    summary="e-mail and IP addresses, telephone, card and account numbers, keys of services",
    look=look,
    cheap=False,
    fix=Fix(FixKind.REDACT, "put [EMAIL], [PHONE] … in its place", redacted),
)
