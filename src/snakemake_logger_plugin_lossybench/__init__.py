"""`snakemake --logger lossybench`: a line for each stage of the study in place of Snakemake's messages.

A package of its own, because Snakemake finds its plugins by their names. Snakemake imports it at every start, so it
imports LossyBench only when a run begins: by then the Snakefile has said which LossyBench that is.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

if TYPE_CHECKING:
    from lossybench.tools.progress import Board, Screen

EVERY = {True: 1.0, False: 60.0}  # seconds from one drawing to the next, on a terminal and elsewhere
# What Snakemake says beside its events that readers want to see all the same.
TOLD = ("Nothing to be done", "Complete log", "Elapsed time")


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """There are none."""


class LogHandler(LogHandlerBase):
    """Shows a `Board` of the run that the Snakefile has announced in `lossybench.tools.progress.current`."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = False  # what is not about a job reads as Snakemake writes it
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.board: Board | None = None
        self.screen: Screen | None = None
        self.said: dict[str, object] = {}
        self.closed = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Bring the board up to date with what Snakemake reports, and show what is new."""
        try:
            self._take(record)
        except Exception:  # as all handlers do: a fault here must not end the run
            self.handleError(record)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self.closed.set()
        if self.board and self.screen:
            self._show(last=True)
            self.board = None
        super().close()

    def _take(self, record: logging.LogRecord) -> None:
        if self.screen is None:
            from lossybench.tools import progress

            self.screen = progress.Screen()
        said = vars(record)
        event = said.get("event")
        if event == LogEvent.JOB_INFO and self.board is None:
            self._begin()
        if self.common_settings.dryrun or (event is None and self._worth(record)):
            if text := self.format(record):
                self.screen.say(text)
        elif self.board is None:
            if record.levelno >= logging.WARNING:
                self.screen.say(self.format(record))
            return
        elif event == LogEvent.JOB_INFO:
            self.board.start(said["jobid"])
        elif event == LogEvent.JOB_FINISHED:
            self.board.end(said["job_id"])
        elif event == LogEvent.JOB_ERROR:
            if text := self.board.fail(said["jobid"]):
                self.screen.say(text)
        elif record.levelno >= logging.WARNING and "CalledProcessError in file" not in str(record.msg):
            self.screen.say(self.format(record))  # but not that a job's command failed, of which its log says why
        else:
            return
        self._show()

    def _worth(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or str(record.msg).startswith(TOLD)

    def _begin(self) -> None:
        from lossybench.tools import progress

        if progress.current is not None:
            self.board = progress.Board(progress.current)
            threading.Thread(target=self._go_on, daemon=True).start()

    def _go_on(self) -> None:
        assert self.screen
        while not self.closed.wait(EVERY[self.screen.terminal]):
            self.acquire()
            try:
                self._show(tick=True)
            finally:
                self.release()

    def _show(self, tick: bool = False, last: bool = False) -> None:
        """Draw the board; where nothing can be redrawn, print the lines that have something new to say.

        tick: whether time alone has passed. last: whether nothing will change any more.
        """
        if not (self.board and self.screen):
            return
        if self.screen.terminal:
            self.screen.draw(self.board.lines())
            return
        if tick or last:
            text = "; ".join([self.board.line(), *self.board.bars()])
            if self.said.get("") != text:
                self.said[""] = text
                self.screen.say(f"{time.strftime('%H:%M:%S')} {text}")
            return
        for stage in self.board.stages:
            state = self.board.state(stage)
            if self.said.get(stage, (False, False, 0)) != state:
                self.said[stage] = state
                self.screen.say(f"{time.strftime('%H:%M:%S')} {self.board.line(stage)}")
