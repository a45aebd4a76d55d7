"""Settings: one mapping in, one struct or all mistakes out; `.env`; the page that documents them."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from schemas.errors import BadSettings
from streamkit.declared_settings import SETTINGS
from streamkit.dotenv import parse_dotenv
from streamkit.settings import Settings, check_listen, load_settings, read_texts, unknown_names

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _pem(key: PrivateKeyTypes) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def test_the_defaults(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    assert settings.data_dir == tmp_path / "data"
    assert settings.snapshot_dir == tmp_path / "data" / "snapshots"
    assert (settings.log_url, settings.host, settings.port) == ("sqlite:", "127.0.0.1", None)
    assert (settings.rate_limit, settings.cors_origins) == (50.0, ("*",))
    assert (settings.spool_max_bytes, settings.dead_letter_max_bytes) == (4 << 30, 1 << 30)
    assert settings.generations_kept == 2
    assert settings.timezone.key == "UTC"
    assert settings.projector_urls == ()
    assert settings.secret_key is None
    assert not settings.sandbox
    assert settings.twitch_eventsub_ws_url == "wss://eventsub.wss.twitch.tv/ws"


def test_every_declaration_has_its_field_and_every_field_its_declaration() -> None:
    assert [setting.field for setting in SETTINGS] == sorted(
        Settings.__struct_fields__, key=[setting.field for setting in SETTINGS].index
    )
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("STREAMKIT_LOG_URL", "kafka://k1:9092,k2:9093", "kafka://k1:9092,k2:9093"),
        ("STREAMKIT_LOG_URL", "kafka://[::1]:9092", "kafka://[::1]:9092"),
        ("STREAMKIT_PARTITIONS", " 8 ", 8),
        ("STREAMKIT_PORT", "0", 0),
        ("STREAMKIT_HOST", "::1", "::1"),
        ("STREAMKIT_PROJECTOR_URLS", "http://a:1/, http://b:2", ("http://a:1", "http://b:2")),
        ("STREAMKIT_RATE_LIMIT", "0", 0.0),
        ("STREAMKIT_RATE_LIMIT", "2.5", 2.5),
        (
            "STREAMKIT_CORS_ORIGINS",
            "https://a.example, http://localhost:3000",
            ("https://a.example", "http://localhost:3000"),
        ),
        ("STREAMKIT_SPOOL_MAX_BYTES", "1048576", 1 << 20),
        ("STREAMKIT_DEAD_LETTER_MAX_BYTES", "512mib", 512 << 20),
        ("STREAMKIT_REDIS_URL", "redis://:pw@r:6379/0", "redis://:pw@r:6379/0"),
        ("STREAMKIT_TWITCH_WEBHOOK_SECRET", "s" * 10, b"s" * 10),
        ("STREAMKIT_TWITCH_WEBHOOK_SECRET", "spaces count ", b"spaces count "),
        ("STREAMKIT_SANDBOX", "true", True),
        ("STREAMKIT_LOG_LEVEL", "debug", "DEBUG"),
        ("STREAMKIT_PORT", "", None),
    ],
)
def test_good_values(tmp_path: Path, name: str, text: str, value: object) -> None:
    field = name.removeprefix("STREAMKIT_").lower()
    assert getattr(load_settings({name: text}, tmp_path), field) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("STREAMKIT_LOG_URL", "kafka://host"),
        ("STREAMKIT_LOG_URL", "kafka://"),
        ("STREAMKIT_LOG_URL", "kafka://h:99999"),
        ("STREAMKIT_LOG_URL", "postgres://x:1"),
        ("STREAMKIT_PARTITIONS", "0"),
        ("STREAMKIT_PARTITIONS", "٣"),
        ("STREAMKIT_PORT", "65536"),
        ("STREAMKIT_PORT", "-1"),
        ("STREAMKIT_HOST", "a b"),
        ("STREAMKIT_PROJECTOR_URLS", "http://a:1,b:2"),
        ("STREAMKIT_PROJECTOR_URLS", "http://a:port"),
        ("STREAMKIT_REDIS_URL", "http://r"),
        ("STREAMKIT_RATE_LIMIT", "nan"),
        ("STREAMKIT_RATE_LIMIT", "inf"),
        ("STREAMKIT_RATE_LIMIT", "-1"),
        ("STREAMKIT_CORS_ORIGINS", "https://a.example/path"),
        ("STREAMKIT_CORS_ORIGINS", "*, https://a.example"),
        ("STREAMKIT_TIMEZONE", "Mars/Olympus"),
        ("STREAMKIT_TIMEZONE", "../etc/passwd"),
        ("STREAMKIT_TIMEZONE", "America"),
        ("STREAMKIT_SECRET_KEY", base64.b64encode(b"x" * 31).decode()),
        ("STREAMKIT_SECRET_KEY", "not base64 at all, however long it may be ....."),
        ("STREAMKIT_TWITCH_WEBHOOK_SECRET", "s" * 9),
        ("STREAMKIT_TWITCH_WEBHOOK_SECRET", "s" * 101),
        ("STREAMKIT_TWITCH_WEBHOOK_SECRET", "ß" * 12),
        ("STREAMKIT_KICK_WEBHOOK_TOKEN", "a/b"),
        ("STREAMKIT_SPOOL_MAX_BYTES", "4 GB"),
        ("STREAMKIT_GENERATIONS_KEPT", "0"),
        ("STREAMKIT_KICK_API_URL", "api.kick.com"),
        ("STREAMKIT_TWITCH_EVENTSUB_WS_URL", "https://x"),
        ("STREAMKIT_SANDBOX", "maybe"),
        ("STREAMKIT_LOG_LEVEL", "LOUD"),
    ],
)
def test_bad_values_are_named_with_what_is_allowed(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(BadSettings, match=f"^{name} must be ") as caught:
        load_settings({name: text}, tmp_path)
    secret = next(setting.secret for setting in SETTINGS if setting.name == name)
    assert (text in str(caught.value)) is not secret


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    bad = {"STREAMKIT_PORT": "x", "STREAMKIT_TIMEZONE": "Mars", "STREAMKIT_SECRET_KEY": "short"}
    with pytest.raises(BadSettings) as caught:
        load_settings(bad, tmp_path)
    assert all(name in str(caught.value) for name in bad)
    assert "short" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_secret_key_in_either_alphabet_with_or_without_padding(tmp_path: Path) -> None:
    key = bytes([251, 255] * 16) + b"!"
    for text in (base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()):
        for form in (text, text.rstrip("=")):
            assert load_settings({"STREAMKIT_SECRET_KEY": form}, tmp_path).secret_key == key


def test_the_kick_key_as_text_escaped_text_or_file(tmp_path: Path) -> None:
    pem = _pem(rsa.generate_private_key(65537, 2048))
    (tmp_path / "kick.pem").write_text(pem)
    for text in (pem, pem.replace("\n", "\\n"), "kick.pem", str(tmp_path / "kick.pem")):
        found = load_settings({"STREAMKIT_KICK_PUBLIC_KEY": text}, tmp_path).kick_public_key
        assert found is not None
        assert found.strip() == pem.strip()


def test_a_kick_key_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ec.pem").write_text(_pem(ec.generate_private_key(ec.SECP256R1())))
    for text in ("absent.pem", "ec.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"):
        with pytest.raises(BadSettings, match="RSA public key"):
            load_settings({"STREAMKIT_KICK_PUBLIC_KEY": text}, tmp_path)


def test_the_sandbox_listens_on_loopback_only(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost"):
        settings = load_settings({"STREAMKIT_SANDBOX": "1", "STREAMKIT_HOST": host}, tmp_path)
        check_listen(settings, host)
        with pytest.raises(BadSettings):
            check_listen(settings, "0.0.0.0")
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org"):
        with pytest.raises(BadSettings, match="STREAMKIT_SANDBOX"):
            load_settings({"STREAMKIT_SANDBOX": "1", "STREAMKIT_HOST": host}, tmp_path)
    check_listen(load_settings({}, tmp_path), "0.0.0.0")


def test_the_environment_wins_over_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STREAMKIT_PORT=1111\nSTREAMKIT_HOST=::1\nSTREAMKIT_LOG_LEVEL=ERROR\n")
    environ = {"STREAMKIT_PORT": "2222", "STREAMKIT_LOG_LEVEL": ""}
    settings = load_settings(environ, tmp_path)
    assert (settings.port, settings.host, settings.log_level) == (2222, "::1", "INFO")
    texts = read_texts(environ, tmp_path)
    assert texts["STREAMKIT_PORT"].source == "environment"
    assert texts["STREAMKIT_HOST"].source == ".env"
    assert texts["STREAMKIT_LOG_LEVEL"].source == "default"


def test_dotenv_quotes_comments_and_lines() -> None:
    found = parse_dotenv(
        "# a comment\n"
        "export STREAMKIT_A = plain value # with a comment\r\n"
        "STREAMKIT_B='as it is \\n # no comment' # one\n"
        'STREAMKIT_C="escapes: \\n \\" \\\\" \n'
        "STREAMKIT_D=a#b\n"
        'STREAMKIT_E="over\nlines"\n'
        "STREAMKIT_F=\n"
        "OTHER=${not: ours\n"
        "STREAMKIT_A2=last\nSTREAMKIT_A2=wins\n"
        "STREAMKIT_G=no newline at the end"
    )
    assert found.mistakes == []
    assert found.values == {
        "STREAMKIT_A": "plain value",
        "STREAMKIT_B": "as it is \\n # no comment",
        "STREAMKIT_C": 'escapes: \n " \\',
        "STREAMKIT_D": "a#b",
        "STREAMKIT_E": "over\nlines",
        "STREAMKIT_F": "",
        "STREAMKIT_A2": "wins",
        "STREAMKIT_G": "no newline at the end",
    }


def test_dotenv_mistakes_name_their_line(tmp_path: Path) -> None:
    text = "STREAMKIT_HOST=::1\n\nSTREAMKIT_PORT\nSTREAMKIT_A='open\nSTREAMKIT_B='x' y\nSTREAMKIT_RATE_LIMIT=7\n"
    found = parse_dotenv(text)
    assert [re.search(r"line (\d+)", mistake)[1] for mistake in found.mistakes] == ["3", "4", "5"]  # type: ignore[index]
    (tmp_path / ".env").write_text(text)
    with pytest.raises(BadSettings, match=r"line 3 of \.env") as caught:
        load_settings({"STREAMKIT_PARTITIONS": "x"}, tmp_path)
    assert "STREAMKIT_PARTITIONS must be" in str(caught.value)


def test_a_dotenv_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"STREAMKIT_HOST=\xff\xfe")
    with pytest.raises(BadSettings, match="UTF-8"):
        load_settings({}, tmp_path)


def test_unknown_names_are_pointed_at(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STREAMKIT_DATADIR=x\n")
    sentences = unknown_names({"STREAMKIT_PRT": "1", "STREAMKIT_PORT": "1", "HOME": "/", "STREAMKIT_": ""}, tmp_path)
    assert len(sentences) == 3
    assert "STREAMKIT_DATA_DIR" in sentences[1]
    assert "STREAMKIT_PORT?" in sentences[2]


def test_no_secret_in_the_repr(tmp_path: Path) -> None:
    settings = load_settings({"STREAMKIT_TWITCH_WEBHOOK_SECRET": "very-secret-indeed"}, tmp_path)
    assert "very-secret" not in f"{settings!r} {settings}"


def test_the_page_lists_exactly_the_settings() -> None:
    page = (DOCS / "settings.md").read_text()
    rows = [
        f"| `{setting.name}` | {setting.unit} | {setting.default_shown} | {setting.help}{' (secret)' if setting.secret else ''} |"
        for setting in SETTINGS
    ]
    assert [line for line in page.splitlines() if line.startswith("| `STREAMKIT_")] == rows
    assert set(re.findall(r"STREAMKIT_[A-Z_]+[A-Z]", page)) <= {setting.name for setting in SETTINGS}


def test_a_setting_that_nothing_reads_says_so() -> None:
    rooms = (room for name in ("streamkit", "ingest", "projector", "api") for room in (ROOT / name).rglob("*.py"))
    code = "\n".join(file.read_text() for file in rooms if file != ROOT / "streamkit" / "settings.py")
    unread = {setting.name for setting in SETTINGS if re.search(rf"settings\.{setting.field}\b", code) is None}
    assert unread == {setting.name for setting in SETTINGS if setting.help.startswith("Not used yet: ")}
