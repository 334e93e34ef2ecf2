"""Events as lines of JSON, for other programs."""

from __future__ import annotations

import json
from typing import TextIO

from capetune.events import Event


class Lines:
    """Writes each event as it comes."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def hear(self, event: Event) -> None:
        print(json.dumps(event.to_json()), file=self.stream, flush=True)
