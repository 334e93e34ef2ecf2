"""Events as lines of JSON, for other programs."""

from __future__ import annotations

import json
from typing import TextIO

from capetune.events import Event, Progress, StepsDone


class Lines:
    """Writes each event as it comes. progress: those too that come many times a minute."""

    def __init__(self, stream: TextIO, progress: bool = True) -> None:
        self.stream = stream
        self.progress = progress

    def hear(self, event: Event) -> None:
        if self.progress or not isinstance(event, Progress | StepsDone):
            print(json.dumps(event.to_json()), file=self.stream, flush=True)
