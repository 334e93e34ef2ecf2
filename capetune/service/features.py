"""Kept features as verbs use them: made once, in the run's folder or in one that several runs share."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capetune.cluster.machines import Cluster
from capetune.config import Config
from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.events import Listener, Progress, StepBegan
from capetune.storage.scratch import address_of

FOLDER = "features"


@dataclass(frozen=True)
class Keeping:
    """What is asked for. copies: augmented ones of each train instance, 0: no features are kept. shared: a folder for
    several runs, which stays; None: the run's own. cpus: to compute them with, None: all that this process may use."""

    copies: int
    shared: Path | None
    cpus: int | None = None

    def check(self, config: Config, pack: Pack, keys: Sequence[str] = ()) -> int:
        """The bytes that they will take. keys: those that a search varies. Raises UserError where a training of
        `config` can't use them."""
        if not self.copies:
            if self.shared is not None:
                raise UserError("--features says where kept features lie: give --cache-features COPIES too")
            return 0
        from capetune.training.features import check_features, check_keepable, feature_bytes  # torch: seconds

        check_keepable(config, keys)
        if self.shared is not None and self.shared.is_dir():
            check_features(self.shared, pack, config, self.copies)
            return 0
        return feature_bytes(pack, config, self.copies)

    def check_shared(self, run: Path, cluster: Cluster) -> None:
        """Raises UserError where not all machines of a cluster would see them."""
        if self.copies and self.shared is None and address_of(run) and len(cluster.machines) > 1:
            raise UserError("kept features want a folder that all machines see: give one with --features")

    def make(self, run: Path, config: Config, pack: Pack, listener: Listener) -> Path | None:
        """The folder that holds them, None where none are kept; they are computed unless they are there."""
        if not self.copies:
            return None
        folder = self.shared or run / FOLDER
        if not folder.is_dir():
            from capetune.models.execution import usual_device
            from capetune.training.features import keep_features

            crops = "one crop" if self.copies == 1 else f"{self.copies} crops"
            listener(StepBegan("features", f"{crops} of each train instance"))

            def told(done: int, instances: int) -> None:
                listener(Progress("features", done, instances))

            keep_features(folder, pack, config, self.copies, told, usual_device(self.cpus))
        return folder

    def end(self, run: Path) -> None:
        """Remove the run's own."""
        if self.copies and self.shared is None:
            shutil.rmtree(run / FOLDER)
