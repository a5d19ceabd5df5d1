"""Scenes, the embedded world: images drawn by the project, with boxes, relations, captions and diagnostics."""

from vialign.data.scenes.build import build

__all__ = ["build"]
