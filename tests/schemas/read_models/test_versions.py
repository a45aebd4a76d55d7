"""Law 6: changing a read model's tables or fold without raising its version fails here.

After raising VERSION: `python -m tests.schemas.read_models.test_versions` stores the new digests.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from schemas.read_models import READ_MODELS, ReadModel

STORED = Path(__file__).with_name("versions.json")


def digest(model: ReadModel) -> str:
    """Of everything that decides the rows; white space does not."""
    parts = [model.tables, *(f"{fold.into}:{fold.sql}{fold.together}" for fold in model.fold), *model.settle]
    text = "\n--\n".join(" ".join(part.split()) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def now() -> dict[str, tuple[int, str]]:
    return {model.name: (model.version, digest(model)) for model in READ_MODELS}


@pytest.mark.parametrize("model", READ_MODELS, ids=lambda model: model.name)
def test_a_changed_fold_has_a_new_version(model: ReadModel) -> None:
    version, of_version = msgspec.json.decode(STORED.read_bytes(), type=dict[str, tuple[int, str]])[model.name]
    assert model.version > version or digest(model) == of_version, (
        f"the tables or the fold of {model.name} changed: raise its version above {version}, or files that were folded"
        " before are read as if they had been folded so"
    )


def test_the_stored_digests_are_of_these_versions() -> None:
    assert msgspec.json.decode(STORED.read_bytes(), type=dict[str, tuple[int, str]]) == now(), (
        "the versions are raised; now run `python -m tests.schemas.read_models.test_versions`"
    )


if __name__ == "__main__":
    STORED.write_bytes(msgspec.json.format(msgspec.json.encode(now())) + b"\n")
