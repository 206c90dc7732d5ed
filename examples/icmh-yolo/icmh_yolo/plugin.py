"""What icmh-plugins finds through the entry point: names and import strings, nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator

from icmh_plugins import PluginInfo, TaskSpec, hookimpl


@hookimpl
def plugin_info() -> PluginInfo:
    """Describe the plug-in."""
    return PluginInfo("A frozen YOLOv8n-seg graph as task network", hook_api=1)


@hookimpl
def register_tasks() -> Iterator[TaskSpec]:
    """Offer the task."""
    yield TaskSpec(
        "yolo-segmentation",
        "icmh_yolo.task:YoloSegmentation",
        "Detection and instance segmentation by a frozen YOLOv8n-seg graph",
        requires=("pycocotools>=2.0.7", "torchvision"),
    )
