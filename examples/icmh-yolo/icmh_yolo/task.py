"""The task: everything but the network is that of icmh-plugins' instance segmentation."""

from __future__ import annotations

from typing import ClassVar, Literal

from icmh_plugins.tasks.detection_config import InstanceSegmentationConfig
from icmh_plugins.tasks.instance_segmentation import InstanceSegmentation
from icmh_yolo.graph import SCORES, YoloGraph
from icmh_yolo.network import YoloSegmenter


class YoloConfig(InstanceSegmentationConfig):
    """Options of the task.

    Attributes:
        folder: Where the weights and their ``graph_reader.py`` are. The reader is imported: take it from people you
            trust.
        graph: File of the graph below `folder`.
        loss: Feature distillation only.
        normalise: As in the built-in task; here relative, because the levels differ in scale.
        scale: As in the built-in task; here 1, which goes with random crops.
        levels: As in the built-in task, of "p3", "p4", "p5"; and "scores", the class scores of all candidates, which
            say what the detector finds, where its neck says all that it sees.
    """

    folder: str
    graph: str = "detect/yolov8n_seg_int8.pth"
    network: Literal["yolov8n-seg"] = "yolov8n-seg"
    loss: Literal["features"] = "features"
    normalise: Literal["paper", "relative"] = "relative"
    scale: float | None = 1.0


class YoloSegmentation(InstanceSegmentation):
    """Keep what YOLOv8n-seg needs.

    Levels to compare: "p3", "p4", "p5", the outputs of its neck, and "scores". Metrics: "box-AP", "mask-AP", ...
    """

    Config = YoloConfig
    live: ClassVar = ()
    paper: ClassVar = "Jocher et al., Ultralytics YOLOv8, 2023"

    def __init__(self, config: YoloConfig) -> None:
        """Read the graph and freeze it.

        Raises:
            ConfigError: Unknown levels.
            DataError: Weights or reader are missing, or the graph has another form.
        """
        graph = YoloGraph(config.folder, config.graph)
        super().__init__(config, YoloSegmenter(graph, scores=SCORES in (config.levels or ())))
        self.config = config
