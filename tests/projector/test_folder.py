from __future__ import annotations

from pathlib import Path

import pytest

from projector.database import FileInUse
from projector.folder import folder_held


def test_a_folder_has_one_projector(tmp_path: Path) -> None:
    with folder_held(tmp_path / "data"):
        with pytest.raises(FileInUse, match="STREAMKIT_DATA_DIR"), folder_held(tmp_path / "data"):
            pass
        with folder_held(tmp_path / "other"):
            pass
    with folder_held(tmp_path / "data"):
        pass


def test_a_folder_keeps_its_name(tmp_path: Path) -> None:
    with folder_held(tmp_path / "data") as first, folder_held(tmp_path / "other") as other:
        assert first != other
    with folder_held(tmp_path / "data") as again:
        assert again == first
