"""The SQL that a file is folded by, kept in the file: a build of other versions goes on with it until it is replaced.

What may not live here: the questions. They are the build's, and may not fit the tables of an older one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from projector.session import Session
from schemas.read_models import Fold, ReadModel

TABLES = "CREATE TABLE file_models (model VARCHAR)"


class _Recipe(Struct, frozen=True):
    """A read model without its questions."""

    name: str
    version: int
    tables: str
    fold: tuple[Fold, ...]
    settle: tuple[str, ...]


_decoder = msgspec.json.Decoder(_Recipe)


def write_models(session: Session, models: Sequence[ReadModel]) -> None:
    """Keep the models, in their order, in a file that has none yet."""
    session.execute_once(TABLES)
    for model in models:
        recipe = _Recipe(model.name, model.version, model.tables, model.fold, model.settle)
        session.execute("INSERT INTO file_models VALUES ($1)", [msgspec.json.encode(recipe).decode()])


def read_models(session: Session) -> tuple[ReadModel, ...]:
    """The models that the file is folded by, without their questions."""
    rows = session.execute("SELECT model FROM file_models ORDER BY rowid").fetchall()
    recipes = [_decoder.decode(text) for (text,) in rows]
    return tuple(ReadModel(one.name, one.version, one.tables, one.fold, one.settle) for one in recipes)


def versions_of(models: Sequence[ReadModel]) -> dict[str, int]:
    """The version of each model, by name."""
    return {model.name: model.version for model in models}


def has_risen(own: dict[str, int], found: dict[str, int]) -> bool:
    """Whether a build of versions `own` should replace what was folded by versions `found`: something is newer or added,
    and nothing is older. An older build beside a newer one must not begin to replace back."""
    older = any(own.get(name, version) < version for name, version in found.items())
    newer = any(found.get(name, 0) < version for name, version in own.items())
    return newer and not older
