"""The progress bar of airgap.progress, under the name that this app's commands know it by."""

from airgap.progress import progress as progress
