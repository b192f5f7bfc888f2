"""Secrets are taken out by their shape, their name or their value; what only resembles one stays."""

from __future__ import annotations

import json

import pytest

from agents.redaction import looks_drawn, redacted

HEX40 = "9fceb02d0ae598e95dc970b74767f19372d61af8"
LOT = "q7Zk2mN9xR4tV8wB3cY6"
# put together here, so that no scanner of this repository takes them for real ones
GITHUB = "ghp_" + "a1B2c3D4e5" * 4
OPENAI = "sk-" + "proj-Ab3dE6gH9jK2mN5pQ8sT"
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N"
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nxyz+/=\n-----END RSA " + "PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"export GH={GITHUB}\n", "export GH=[redacted: GitHub token]\n"),
        (f"key {OPENAI}, and", "key [redacted: API key], and"),
        (f"id={AWS}", "id=[redacted: AWS access key]"),
        (f"cookie: {JWT};", "cookie: [redacted: JWT];"),
        (f"a\n{PEM}\nb", "a\n[redacted: private key]\nb"),
        (PEM.partition("\nx")[0], "[redacted: private key]"),
        (PEM.partition("\nx")[0] + "\n[300 left out]", "[redacted: private key]\n[300 left out]"),
        (json.dumps({"a": PEM}), '{"a": "[redacted: private key]"}'),
        ("cmk_" + "A1b2C3d4e5" * 4 + "xyz", "[redacted: CompyMac token]"),
        ("AIza" + "Ab1_-" * 7, "[redacted: Google key]"),
        ("xoxb" + "-123456789012-abcdef", "[redacted: Slack token]"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer [redacted: header]"),
        ('-H "authorization: Basic dXNlcjpwYXNz"', '-H "authorization: Basic [redacted: header]"'),
        ("postgres://app:s3cr3t-9@db:5432/x", "postgres://app:[redacted: password]@db:5432/x"),
        ("redis://:hunter22@127.0.0.1/0", "redis://:[redacted: password]@127.0.0.1/0"),
        (f"DB_PASSWORD={LOT}", "DB_PASSWORD=[redacted: secret]"),
        (f'"client_secret": "{LOT}",', '"client_secret": "[redacted: secret]",'),
        (f"X-Api-Key: {LOT}", "X-Api-Key: [redacted: secret]"),
        (f"apikey => '{LOT}'", "apikey => '[redacted: secret]'"),
        (f"?token={HEX40}&x=1", "?token=[redacted: secret]&x=1"),
    ],
)
def test_what_is_a_secret_is_taken_out_and_says_what_it_was(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown, "once more changes nothing"


@pytest.mark.parametrize(
    "text",
    [
        f"commit {HEX40}",
        "sha256:" + "ab12" * 16,
        "id: 3c5930c7-1f6e-4f3b-9d55-0a6f0f0c9b11",
        "token = get_token_from_request(request)",
        "password = settings.OAUTH2.client_password_field",
        'password: "correct horse battery staple"',
        "secret_key = os.environ['SECRET_KEY']",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        "max_tokens=1000000000000000",
        "tokenizer=tokenizer_of_the_model_v2",
        "task-management-system-of-2024",
        "risk-Assessment-number-1-of-the-year",
        "postgres://postgres:postgres@localhost/x",
        "https://user:${PASSWORD}@host/",
        "http://localhost:8000/@user",
        "git@github.com:org/repo.git",
        "AKIA is a prefix",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "",
    ],
)
def test_what_only_resembles_one_stays(text: str) -> None:
    assert redacted(text) == text


def test_values_of_our_own_go_wherever_they_stand_and_whatever_they_look_like() -> None:
    own = ("correct-horse", "short")
    assert redacted("xcorrect-horsex short", own) == "x[redacted: a secret of this installation]x short"


@pytest.mark.parametrize(
    ("value", "drawn"),
    [(LOT, True), (HEX40, True), ("a" * 20 + "1", False), ("only-words-here", False), ("oauth2.client_v2", False)],
)
def test_what_looks_drawn_by_lot(value: str, drawn: bool) -> None:
    assert looks_drawn(value) is drawn


@pytest.mark.parametrize(
    "text",
    [
        "://" * 20_000,
        "token=" * 20_000,
        "a" * 100_000,
        "sk-" + "a" * 60_000,
        "-----BEGIN " * 10_000,
        "eyJ" + "a" * 50_000,
        "password" + " " * 60_000,
    ],
)
def test_a_long_text_made_to_be_slow_is_done(text: str) -> None:
    assert redacted(text) == text, "a search that goes back and forth would not end in minutes"
