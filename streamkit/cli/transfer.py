"""`streamkit log export` and `log import`: the log as files, and files as a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import click

from streamkit.addresses import announced_processes
from streamkit.cli.common import emit, json_option, opened_log, run, table
from streamkit.cli.progress import progress_of
from streamkit.settings import Settings
from streamkit.transfer.appear import appearing
from streamkit.transfer.exporting import export_log
from streamkit.transfer.importing import import_log
from streamkit.transfer.ndjson import COMPRESSED, PLAIN, NdjsonSink, NdjsonSource
from streamkit.transfer.portable import NotTransferred, Sink, Source
from streamkit.transfer.unfinished import taken

APPEND_TIMEOUT_S = 30.0
"""An import has nobody who waits for an answer: meanwhile a broker may start again."""

_OTHER_FILES = (".csv", ".gz", ".json", ".jsonl", ".zip", ".zst")

OpenSink = Callable[[Path], Sink]
OpenSource = Callable[[Path], Source]


def export_command(parquet_sink: OpenSink) -> click.Command:
    """The command; `parquet_sink` writes Parquet files into a folder that is there."""

    @click.command("export")
    @click.option("--to", "path", type=click.Path(path_type=Path), required=True, help="A name that is free.")
    @json_option
    def export(path: Path, as_json: bool) -> None:
        """The whole log, written to NAME.ndjson or NAME.ndjson.zst (one record a line), or a folder of Parquet files.

        \b
        Services may run: it holds what the log held when it began. Until it is whole it is called PATH.partial;
        a command that was killed is begun again.
        Example:
          streamkit log export --to backup.ndjson.zst
        """
        kind = _kind(path)

        async def work(settings: Settings) -> dict[str, Any]:
            began_at = time.monotonic()
            with _os_errors(path), appearing(path, folder=kind == "parquet") as partial:
                sink = parquet_sink(partial) if kind == "parquet" else NdjsonSink(partial, compressed=kind == "zst")
                with closing(sink), progress_of("records") as progress:
                    async with opened_log(settings, create=False) as log:
                        topics, log_id = await export_log(log, sink, progress), log.log_id
                if not any(topics.values()):  # a backup of nothing, by the wrong folder's name, is none
                    raise NotTransferred(
                        f"The log of {settings.data_dir} holds no record; if it is elsewhere, set STREAMKIT_DATA_DIR."
                    )
            return {"log_id": log_id, "to": str(path), **_told(topics, began_at)}

        done = run(work, as_json=as_json)
        done["bytes"] = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
        text = f"{done['to']} holds {done['records']:,} records in {done['bytes']:,} bytes, exported in {done['took_s']} s."
        emit(done, f"{_topics(done['topics'])}\n{text}", as_json=as_json)

    return export


def import_command(parquet_source: OpenSource) -> click.Command:
    """The command; `parquet_source` reads a folder of Parquet files."""

    @click.command("import")
    @click.option("--from", "path", type=click.Path(path_type=Path), required=True, help="What `log export` wrote.")
    @json_option
    def import_(path: Path, as_json: bool) -> None:
        """An exported log, taken into an empty one: of SQLite or Kafka, with any number of partitions.

        \b
        Nothing else may use the log meanwhile. An import that was interrupted or killed goes on where it was when the
        same command is run again, and no room starts on its log before it is whole.
        Example:
          STREAMKIT_DATA_DIR=./copy streamkit log import --from backup.ndjson.zst
        """
        kind, source_exists = _kind(path), path.exists()

        async def work(settings: Settings) -> dict[str, Any]:
            began_at = time.monotonic()
            if not source_exists:
                raise NotTransferred(f"There is nothing at {path}.")
            for process in announced_processes(settings.data_dir):
                raise NotTransferred(
                    f"StreamKit serves {settings.data_dir} at {process.url}, and an import is alone on its log: stop it first."
                )
            source = parquet_source(path) if kind == "parquet" else NdjsonSource(path, compressed=kind == "zst")
            with _os_errors(path), progress_of("records") as progress, taken(settings.data_dir) as note:
                async with opened_log(settings, append_timeout_s=APPEND_TIMEOUT_S) as log:
                    done, log_id = await import_log(log, source, str(path), note, progress), log.log_id
            return {
                "log_id": log_id,
                "from": str(path),
                **_told(done.records, began_at),
                "appended": done.appended,
            }

        done = run(work, as_json=as_json)
        before = done["records"] - done["appended"]
        text = f"The log {done['log_id']} holds the {done['records']:,} records of {done['from']}, imported in {done['took_s']} s"
        text += f"; {before:,} of them were there already." if before else "."
        emit(done, f"{_topics(done['topics'])}\n{text}", as_json=as_json)

    return import_


def _kind(path: Path) -> Literal["ndjson", "zst", "parquet"]:
    if path.name.endswith(PLAIN):
        return "ndjson"
    if path.name.endswith(COMPRESSED):
        return "zst"
    if path.suffix in _OTHER_FILES and not path.is_dir():
        raise click.UsageError(f"{path} is none of NAME{PLAIN}, NAME{COMPRESSED} and a folder for Parquet files.")
    return "parquet"


def _told(topics: Mapping[str, int], began_at: float) -> dict[str, Any]:
    records, took_s = sum(topics.values()), time.monotonic() - began_at
    return {
        "records": records,
        "topics": topics,
        "took_s": round(took_s, 2),
        "records_per_s": round(records / max(took_s, 0.001)),
    }


def _topics(records: Mapping[str, int]) -> str:
    return table(("TOPIC", "RECORDS"), list(records.items()))


@contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    """What the disk refuses, as a sentence."""
    try:
        yield
    except OSError as error:
        raise NotTransferred(f"{error.filename or path}: {error.strerror or error}.") from error
