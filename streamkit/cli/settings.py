"""`streamkit settings`: every setting with its unit, default and present value, secrets hidden."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any

import click

from schemas.errors import BadSettings
from streamkit.cli.common import EXIT_NOT_DONE, EXIT_USAGE, emit, fail, json_option, table
from streamkit.declared_settings import SETTINGS, Setting
from streamkit.keys import SECRET_KEY_FILE, Keys, load_secret_key
from streamkit.settings import Text, load_settings, nearest_name, read_texts, unknown_names

HIDDEN = "(hidden)"

_PASSWORD = re.compile(r"(://[^/@:]*:)[^/@]*@")


@click.command()
@click.option("--show", metavar="NAME", help="Print one value in the clear, a secret too.")
@json_option
def settings(show: str | None, as_json: bool) -> None:
    """Every setting: name, unit, default, current value. Exit 2 when one is wrong.

    \b
    Example:
      streamkit settings --show STREAMKIT_INTERNAL_TOKEN
    """
    try:
        texts = read_texts(os.environ)
    except BadSettings as error:
        fail(str(error), EXIT_USAGE, as_json=as_json)
    if show is not None:
        _show(show, texts, as_json=as_json)
        return
    rows = [_row(setting, texts) for setting in SETTINGS]
    cells = [(row["name"], row["unit"], row["default"], row["current"], row["source"]) for row in rows]
    emit(rows, table(("NAME", "UNIT", "DEFAULT", "CURRENT", "FROM"), cells), as_json=as_json)
    for sentence in unknown_names(os.environ):
        click.echo(f"streamkit: {sentence}", err=True)
    try:
        load_settings(os.environ)
    except BadSettings as error:
        fail(str(error), EXIT_USAGE, as_json=False)


def _row(setting: Setting, texts: dict[str, Text]) -> dict[str, Any]:
    text = texts[setting.name]
    current = text.text
    if current is not None:
        current = HIDDEN if setting.secret else _PASSWORD.sub(r"\1…@", current)
    else:
        current = _stands_in(setting.name, texts)
    return {
        "name": setting.name,
        "unit": setting.unit,
        "default": setting.default_shown,
        "current": current,
        "source": text.source,
        "secret": setting.secret,
        "help": setting.help,
    }


def _stands_in(name: str, texts: dict[str, Text]) -> str | None:
    """In a word what holds where nothing is set; None: nothing does."""
    if name == "STREAMKIT_PARTITIONS":
        return "1" if texts["STREAMKIT_LOG_URL"].text == "sqlite:" else "4"
    if name not in {"STREAMKIT_SECRET_KEY", "STREAMKIT_INTERNAL_TOKEN"}:
        return None
    folder = Path(texts["STREAMKIT_DATA_DIR"].text or "").expanduser()
    generated = (folder / SECRET_KEY_FILE).exists()
    if name == "STREAMKIT_SECRET_KEY":
        return "generated" if generated else None
    return "derived" if generated or texts["STREAMKIT_SECRET_KEY"].text else None


def _show(name: str, texts: dict[str, Text], *, as_json: bool) -> None:
    if name not in texts:
        near = nearest_name(name)
        hint = f"did you mean {near}?" if near else "`streamkit settings` lists them all."
        fail(f"There is no setting {name}; {hint}", EXIT_USAGE, as_json=as_json)
    value = texts[name].text or _derived(name, as_json=as_json)
    if value is None:
        fail(f"{name} is not set.", EXIT_NOT_DONE, as_json=as_json)
    emit({"name": name, "value": value}, value, as_json=as_json)


def _derived(name: str, *, as_json: bool) -> str | None:
    """What stands in for a setting that is not set: the generated secret key and the token derived from it."""
    if name not in {"STREAMKIT_SECRET_KEY", "STREAMKIT_INTERNAL_TOKEN"}:
        return None
    try:
        loaded = load_settings(os.environ)
        key = loaded.secret_key or load_secret_key(loaded.data_dir)
    except BadSettings as error:
        fail(str(error), EXIT_USAGE, as_json=as_json)
    if key is None:
        return None
    return base64.b64encode(key).decode() if name == "STREAMKIT_SECRET_KEY" else Keys.derive(key).internal_token
