"""Tables of personal data as people write it, and of figures and names that are nobody's. Nothing here is anybody's:
numbers are drawn, check digits computed, and where a country keeps numbers free for films those are the near misses.
"""

from __future__ import annotations

import pytest

from checking import demo, of_row, pair, raw, talk, thumb, user
from workbench import checks
from workbench.domain.chats import Turn
from workbench.domain.examples import Content


def luhn(digits: str) -> str:
    """The digits and the check digit that makes them a card's number."""
    doubled = [int(d) * (2 if n % 2 == 0 else 1) for n, d in enumerate(reversed(digits))]
    return digits + str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


def iban(country: str, account: str) -> str:
    """The account with its check digits (ISO 7064, modulo 97)."""
    number = "".join(str(int(c, 36)) for c in account + country + "00")
    return f"{country}{98 - int(number) % 97:02}{account}"


def grouped(digits: str, *sizes: int, sign: str = " ") -> str:
    """The digits in groups of these sizes."""
    groups = []
    for size in sizes:
        groups, digits = [*groups, digits[:size]], digits[size:]
    return sign.join([*groups, digits] if digits else groups)


VISA, AMEX, JCB = luhn("471690112345678"), luhn("37828224631937"), luhn("353011133399876")
UNIONPAY = luhn("621094000000345")
IMEI = luhn("35674108213459")
GERMAN, BRITISH, MALTESE = (
    iban("DE", "512108001245126199"),
    iban("GB", "BARC20038417264951"),
    iban("MT", "MALT011000012345MTLCAST001X"),
)
MIXED = "ZxQwErTyUiOpAsDfGhJkLzXcVbNmQwErTq"
PAT = "github_pat_" + "11ABCDE0I0k9Rq2ZtVb7XnLw4JmHd8CsYf3PgTa6EuWi1oKk9Rq2ZtVb7XnLw4JmHd8CsYf"

PHONES = [
    *("Call +49 30 901820 now.", "+44 20 7183 8750", "+33 (0)1 42 68 53 00", "Call (780) 800-7092.", "780-800-7092"),
    *(
        "780.800.7092",
        "my number is 780 800 7092",
        "call me at 7808007092",
        "tel. 0049 30 901820",
        "0049 30 9018-20 is it",
    ),
    *("Tel.: 030 901820", "Telefon: 030/901820", "Handy 0171 5837261", "Ruf mich an, Handy: 0171-583 72 61"),
    *("Call 020 7183 8750 today.", "Ring me on 07911 253746.", "phone 0161 834 5729"),
    *("Tél. 01 42 68 53 00", "Appelez le 06 14 25 38 97.", "Mon numéro : 06.14.25.38.97"),
    *("Llámame al móvil 612 48 37 59", "Teléfono: 915 31 48 62", "Chiamami: 06 6982 4567", "cellulare 347 615 2839"),
    *("Bel 020 624 1536", "Ruf an: Tel. 044 668 18 00", "Zadzwoń: 22 695 59 00", "Telefone: (11) 98273-6415"),
    *("(11) 98273-6415 é dela", "電話 03-3581-5111", "090-6381-2745 に", "전화 010-3827-6145", "010-3827-6145 로"),
    *("手机13861527394", "电话：010-66412583", "Тел. 8 (495) 625-35-81", "звоните 8-916-384-27-15"),
    *("mobile 98273 64158", "Phone: 02 6277 7138", "044 668 18 27 is hers."),
]
OTHERS = {
    "Write to ann.meyer@firma-meyer.de today.": "EMAIL",
    "<joe+news@mail.uni-bonn.de>": "EMAIL",
    "mailto:o.neill_77@sub.firma-meyer.co.uk": "EMAIL",
    "jörg@bäckerei-weiß.de": "EMAIL",
    "E-Mail:ann@meyer.museum,": "EMAIL",
    "почта: anna@пример-фирма.рф": "EMAIL",
    f"My card is {grouped(VISA, 4, 4, 4)}.": "CARD",
    f"Card {VISA}.": "CARD",
    f"{grouped(VISA, 4, 4, 4, sign='-')}": "CARD",
    f"Amex {grouped(AMEX, 4, 6)}": "CARD",
    f"JCB {JCB}, valid": "CARD",
    f"UnionPay {grouped(UNIONPAY, 4, 4, 4)}": "CARD",
    f"Karte {grouped(VISA, 4, 4, 4, sign=chr(0xA0))}": "CARD",
    f"Pay to {GERMAN}.": "IBAN",
    f"IBAN {grouped(GERMAN, 4, 4, 4, 4, 4)}": "IBAN",
    f"IBAN {grouped(BRITISH, 4, 4, 4, 4, 4)} BIC FOLLOWS": "IBAN",
    f"{MALTESE}": "IBAN",
    "It came from 81.169.145.66 at noon.": "IP",
    "http://81.169.145.66:8080/x": "IP",
    "It came from 2a01:238:20a:202:1145::1 at noon.": "IP",
    "key = " + "AKIA" + "Q3EGRIPM7UOZ5VNW": "SECRET",
    "token " + "ghp_" + "k9Rq2ZtVb7XnLw4JmHd8CsYf3PgTa6EuWi1o" + " works": "SECRET",
    f"HF_TOKEN=hf_{MIXED[:34]}": "SECRET",
    f"key sk-ant-api03-{MIXED} works": "SECRET",
    f"key=AIza{MIXED[:33]}-9": "SECRET",
    f"GROQ=gsk_{MIXED}{MIXED[:10]}": "SECRET",
    f"pat {PAT}": "SECRET",
    "postgres://ann:S3cr3tPw9x@db.firma-meyer.de/x": "SECRET",
    "xoxb-" + "317294857361-417294857362-" + MIXED[:24]: "SECRET",
}
QUIET = [
    *("Write to you@example.com or name@yourcompany.com.", "jane.doe@gmail.com", "git@github.com:owner/name.git"),
    *("A decorator is @property; a handle is @ann.", "icon@2x.png and logo@3x.jpg", "npm i react@18.2.0 @types/node"),
    *(
        "mail a@b",
        "ann @ home . de",
        "pip install x @ https://x.org/y.whl",
        "John.Doe-123%+@example-domain.com is valid.",
    ),
    *("Order 4716901123456789012345 of 2024-05-12", "Call 555-0123 or (212) 555-0187.", "Call 1-800-273-8255."),
    *("Hotline: 0800 111 0 111", "Ring 020 7946 0958.", "Tel. 030 23125 000", "Tél. 01 99 00 12 34"),
    *(
        "Lotto: 07 11 15 33 42",
        "Take 01 02 03 04 05 in order.",
        "Dates 01-02-2024 and 03/04/2021",
        "2023-01-15 10:30:00",
    ),
    *("ISBN 978-3-16-148410-0 and 0-306-40615-2", "Order 030 901820 is on its way.", "It took 10 000 000 000 years."),
    *(
        "Pi is 3.14159265358979323846 and c 299792458.",
        "0.577 215 664 901",
        "Call 911 or 112.",
        "Room 020, floor 3, 7 pm",
    ),
    *("1700000000000 milliseconds, order 37267", "call the function 3 times in 2024", "GPS 52.520008, 13.404954"),
    *(
        "The test card is 4242 4242 4242 4242.",
        f"One digit off: {VISA[:-1]}{(int(VISA[-1]) + 1) % 10}",
        "1234567890123456",
    ),
    *(f"IMEI {IMEI}", f"0x{VISA}", f"id-{VISA}", "4716 9011 2345", f"{VISA}.{VISA}"),
    *("DE12345678901234567890 has wrong check digits", "DE89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19"),
    *("Version 1.2.3.4 and v10.11.12.13 are out.", "127.0.0.1, 192.168.1.20, 10.0.0.7, 203.0.113.9 and 8.8.8.8"),
    *("pip install torch==2.13.0.1", "nginx/1.25.3.1 and Firefox/115.0.2.3", "section 3.2.1.1", "OID 1.3.6.1.4.1"),
    *("12:34:56 and ratio 1:2:3, Foo::Bar::baz", "MAC 00:1A:2B:3C:4D:5E", "2001:db8::1 is for documents", "fe80::1"),
    *(
        "AKIAIOSFODNN7EXAMPLE is in the manual",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "hf_your_token_here, hf_hub_download",
    ),
    *("sk-ant-your-key and sk-learn", "https://user:password@example.com/x", "http://localhost:8080/a@b"),
    *(
        "task-management, desk-jockey, risk-averse",
        "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----",
    ),
]
EVERYTHING = dict.fromkeys(PHONES, "PHONE") | OTHERS


def fixed(content: Content) -> Content:
    fix = checks.get("personal_data").fix
    assert fix is not None and fix.edit is not None
    return fix.edit(content)


@pytest.mark.parametrize("text", EVERYTHING)
def test_it_is_found_where_it_stands_and_redacted_once(text: str) -> None:
    (found,) = of_row("personal_data", demo(text))
    name = EVERYTHING[text]
    assert (found.severity.value, found.fixable) == ("warning" if name in {"EMAIL", "PHONE", "IP"} else "error", True)
    mended = fixed(demo(text))
    assert mended.chosen[0].content.count("[") == 1 and f"[{name}]" in mended.chosen[0].content
    assert of_row("personal_data", mended) == []


@pytest.mark.parametrize("text", QUIET)
def test_what_is_nobodys_is_left_alone(text: str) -> None:
    assert of_row("personal_data", demo(text)) == []


def test_every_turn_of_every_kind_is_looked_at_and_its_calls_too() -> None:
    text = "ann.meyer@firma-meyer.de"
    extra = f'{{"tool_calls":[{{"function":{{"arguments":{{"to":"{text}"}},"name":"mail"}},"type":"function"}}]}}'
    contents = (
        *(demo("So.", text), demo("So.", system=text), pair("So.", text), raw(text), thumb(text, False)),
        *(
            talk(user(), Turn("assistant", "", extra)),
            talk(user(), Turn("assistant", "brew()"), Turn("tool", text), user()),
        ),
    )
    for content in contents:
        assert len(of_row("personal_data", content)) == 1
        assert text not in str(fixed(content))
