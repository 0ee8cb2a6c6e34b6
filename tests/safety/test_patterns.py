"""Personal data and secrets are told from other digits and words by their form and checksums."""

import pytest

from tiffin.safety.patterns import personal_data, secrets


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("Write to ana.b+c@mail.example.org today.", "email", "ana.b+c@mail.example.org"),
        ("My card is 4111 1111 1111 1111, thanks", "card", "4111 1111 1111 1111"),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "iban", "DE89 3704 0044 0532 0130 00"),
        ("SSN 123-45-6789.", "ssn", "123-45-6789"),
        ("Call +49 30 901820 or", "phone", "+49 30 901820"),
        ("Call (212) 555-0123 now", "phone", "(212) 555-0123"),
    ],
)
def test_personal_data_is_found_with_its_span(text: str, kind: str, found: str) -> None:
    (match,) = personal_data(text)
    assert (match.kind, text[match.start : match.end]) == (kind, found)


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 fails its check digit",
        "DE89 3704 0044 0532 0130 01 fails modulo 97",
        "The order 1234567890123 of 2026-11-28 is 324.50",
        "Use pytest -n0 @ home, v1.2.3, 192.168.0.1",
        "0000 0000 0000 0000",
        "000-12-3456",
    ],
)
def test_other_digits_are_not_personal_data(text: str) -> None:
    assert personal_data(text) == []


KEY = "sk-" + "aB3dE5gH7jK9mN1pQ3sT"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"key: {KEY}", "api_key"),
        ("AKIA" + "ABCDEFGHIJKLMNOP in the log", "aws_key"),
        ("token ghp_" + "a1B2" * 9, "github_token"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "private_key"),
        ("password = 'x9Qf!72kLmZp'", "assigned"),
    ],
)
def test_secrets_are_found(text: str, kind: str) -> None:
    assert [match.kind for match in secrets(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "password: aaaaaaaaaaaa",
        "How do I reset my password?",
        "the token: a piece of text that a model reads",
        "sk-aaaaaaaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_placeholders_are_not_secrets(text: str) -> None:
    assert secrets(text) == []
