"""Our own adapters, tasks, codec profiles and commands, through the same hooks as everybody's."""

from __future__ import annotations

from collections.abc import Iterator

from icmh_plugins.registry.hookspecs import HOOK_API, hookimpl
from icmh_plugins.registry.specs import AdapterSpec, CodecProfileSpec, CommandSpec, PluginInfo, TaskSpec

_ADAPT_ICMH = "Li et al., Image Compression for Machine and Human Vision with Spatial-Frequency Adaptation, ECCV 2024"
_DYNAMIC = "Zhu et al., Learned Image Compression for Both Humans and Machines via Dynamic Adaptation, ICIP 2024"


@hookimpl
def plugin_info() -> PluginInfo:
    """Describe the built-ins."""
    return PluginInfo("Built-in adapters, tasks, codec profiles and commands", hook_api=HOOK_API)


@hookimpl
def register_adapters() -> Iterator[AdapterSpec]:
    """Offer the built-in adapters."""
    yield AdapterSpec(
        "sfma",
        "icmh_plugins.adapters.sfma:SFMA",
        "Spatial-frequency modulation of analysis and synthesis stages",
        paper=_ADAPT_ICMH,
    )
    yield AdapterSpec(
        "bottleneck",
        "icmh_plugins.adapters.bottleneck:Bottleneck",
        "Residual 1x1 bottleneck, the plain adapter to compare with",
        paper="After Houlsby et al., Parameter-Efficient Transfer Learning for NLP, ICML 2019",
    )
    yield AdapterSpec(
        "conv-lora",
        "icmh_plugins.adapters.conv_lora:ConvLoRA",
        "Low-rank update of convolutions; merges into their weights",
        paper="After Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022",
    )
    yield AdapterSpec(
        "channel-gate",
        "icmh_plugins.adapters.channel_gate:ChannelGate",
        "Gate of every channel from the means over the picture",
        paper="After Hu et al., Squeeze-and-Excitation Networks, CVPR 2018",
    )
    yield AdapterSpec(
        "scale",
        "icmh_plugins.adapters.scale:Scale",
        "Scale and shift of every channel",
        paper="After Lian et al., Scaling & Shifting Your Features, NeurIPS 2022",
    )
    for name, summary in (("dynamic", "Pixel network after the decoder; bits unchanged"), ("dan", "Same as dynamic")):
        yield AdapterSpec(name, "icmh_plugins.adapters.dynamic:Dynamic", summary, paper=_DYNAMIC)
    yield AdapterSpec(
        "ll-icm",
        "icmh_plugins.adapters.ll_icm:LLICM",
        "Restoration behind the decoder, conditioned by CLIP or DA-CLIP",
        paper="After Xue et al., LL-ICM, arXiv:2412.03841",
        requires=("open_clip_torch>=3.0",),
    )


@hookimpl
def register_tasks() -> Iterator[TaskSpec]:
    """Offer the built-in tasks."""
    yield TaskSpec(
        "classification",
        "icmh_plugins.tasks.classification:Classification",
        "Image classification by a frozen network",
        requires=("timm>=1.0",),
    )
    yield TaskSpec(
        "detection",
        "icmh_plugins.tasks.detection:Detection",
        "Object detection by a frozen network of torchvision or Detectron2",
        paper=_ADAPT_ICMH,
        requires=("torchvision", "pycocotools>=2.0.7"),
    )
    yield TaskSpec(
        "instance-segmentation",
        "icmh_plugins.tasks.instance_segmentation:InstanceSegmentation",
        "Instance segmentation by a frozen network of torchvision or Detectron2",
        paper=_ADAPT_ICMH,
        requires=("torchvision", "pycocotools>=2.0.7"),
    )
    yield TaskSpec(
        "restoration",
        "icmh_plugins.tasks.restoration:Restoration",
        "Restoration: decoded pictures against clean ones",
        paper="After Xue et al., LL-ICM, arXiv:2412.03841",
    )
    yield TaskSpec("human", "icmh_plugins.tasks.human:Human", "Human viewing: MSE or MS-SSIM")


@hookimpl
def register_codec_profiles() -> Iterator[CodecProfileSpec]:
    """Offer the placements of published work."""
    yield CodecProfileSpec(
        "adapt-icmh",
        "icmh_plugins.codecs.presets:ADAPT_ICMH",
        "Placement of Adapt-ICMH on the TIC codec",
        paper=_ADAPT_ICMH,
    )
    yield CodecProfileSpec(
        "pillow",
        "icmh_plugins.codecs.classical:profile",
        "JPEG and WebP: adapters of the decoded picture",
        class_names=("PillowCodec",),
    )


@hookimpl
def register_cli_commands() -> Iterator[CommandSpec]:
    """Offer the commands of `icmh`, in the order of its help."""
    yield CommandSpec("demo", "icmh_plugins.cli.demo:demo", "Show the main job on real pictures, offline")
    yield CommandSpec("train", "icmh_plugins.cli.train:train", "Train an adapter from a run file")
    yield CommandSpec("compress", "icmh_plugins.cli.streams:compress", "Code pictures to .icmh streams")
    yield CommandSpec("decompress", "icmh_plugins.cli.streams:decompress", "Decode .icmh streams to pictures")
    yield CommandSpec("inspect", "icmh_plugins.cli.streams:inspect", "Show what a stream contains")
    yield CommandSpec("eval", "icmh_plugins.cli.evaluate:evaluate", "Measure rate and task metrics by real streams")
    yield CommandSpec("report", "icmh_plugins.cli.report:report", "Plot and compare results")
    yield CommandSpec("export", "icmh_plugins.cli.export:export", "Write encoder and decoder for other runtimes")
    yield CommandSpec("describe", "icmh_plugins.cli.describe:describe", "Show the sites of a codec")
    yield CommandSpec("adapters", "icmh_plugins.cli.offers:adapters", "List and show adapters")
    yield CommandSpec("tasks", "icmh_plugins.cli.offers:tasks", "List and show tasks")
    yield CommandSpec("new", "icmh_plugins.cli.new:new", "Write a package for an adapter, a task or a codec profile")
    yield CommandSpec("plugins", "icmh_plugins.cli.plugins_cmd:plugins", "List and show plug-ins")
    yield CommandSpec("doctor", "icmh_plugins.cli.doctor:doctor", "Say what works here, and how to mend the rest")
