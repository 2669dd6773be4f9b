"""Keeps what the student says of each training sample in every epoch, where a run wants it; see `stores.epochs`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fnkd_core.data import Samples
from fnkd_core.kd.outputs import Outputs
from fnkd_core.stores.epochs import forget_after, row_type, unseen, write_epoch, write_samples
from fnkd_core.training.augmented import Batch
from fnkd_core.training.setup import Setup


class Recorder:
    """Notes each batch's outputs as its step computes them, and writes an epoch's when it ends.

    The values of all samples stay on the device until then: 12 bytes a sample, and nothing waits for it. Of several
    processes each notes its own parts, and the first writes. Without a folder, and in a run that does not want it, it
    does nothing. done: epochs that are finished; later ones, of a session that was stopped, are let go.
    """

    def __init__(self, setup: Setup, train: Samples, folder: Path | None, done: int) -> None:
        self._folder = folder if setup.resolved.config.keep_epochs else None
        self._group, self._num_classes = setup.group, len(setup.resolved.info.classes)
        if folder is not None and setup.group.leads:
            forget_after(folder, done)
            if self._folder is not None:
                write_samples(folder, train.keys, train.labels.numpy())
        count = 0 if self._folder is None else len(train)
        # Norm, p_label and prediction + 1, which is exact to 2^24; all 0 of a sample that was not seen.
        self._values = torch.zeros(count, 3, device=setup.device)

    def add(self, batch: Batch, student: Outputs) -> None:
        """Note what the student says of a batch, before its step."""
        if self._folder is None:
            return
        with torch.no_grad():
            self._values.index_copy_(0, batch.index, values_of(student, batch.labels))

    def end_epoch(self, epoch: int) -> None:
        """Write the epoch, counted from 1; before it is saved, so that no finished one is without."""
        if self._folder is None:
            return
        # Each sample is one process's alone: the others have zeros there.
        values, self._values = self._group.total(self._values), torch.zeros_like(self._values)
        if not self._group.leads:
            return
        norms, p_label, numbers = values.cpu().numpy().T
        nobody, kind = unseen(self._num_classes), row_type(self._num_classes)["prediction"]
        seen = numbers > 0
        predictions = np.where(seen, numbers - 1, nobody).astype(kind)
        write_epoch(self._folder, epoch, np.where(seen, norms, np.nan), np.where(seen, p_label, np.nan), predictions)


def values_of(student: Outputs, labels: Tensor) -> Tensor:
    """(n, 3) float32 of a batch: ||f||, the probability of the label at temperature 1, and the prediction + 1."""
    logits = student.logits.float()
    p_label = (logits.gather(1, labels[:, None])[:, 0] - logits.logsumexp(1)).exp()
    return torch.stack([student.norms.float(), p_label, logits.argmax(1) + 1.0], 1)
