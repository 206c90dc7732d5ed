"""What is found of packages that work, are absent, broken, crash, hang, or do not fit together. All are stand-ins."""

import pytest

from icmh_plugins.doctor.examine import examine
from icmh_plugins.errors import ConfigError


def found(name, **options):
    (finding,) = examine([name], **options)
    return finding


def test_one_that_works(site):
    site.distribution("accelerate", "1.15.0", "print('a banner')")
    finding = found("accelerate")
    assert (finding.state, finding.version, finding.detail, finding.remedy) == ("ok", "1.15.0", "", "")
    assert finding.needed_for


def test_one_that_is_absent(site):
    site.package("detectron2", "raise ModuleNotFoundError(\"No module named 'detectron2'\", name='detectron2')")
    finding = found("detectron2")
    assert (finding.state, finding.version) == ("absent", "")
    assert "git+https://github.com/facebookresearch/detectron2.git" in finding.remedy
    assert "--no-build-isolation" in finding.remedy


UNDEFINED = "/x/_C.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN2at4_ops5zeros4callEN3c108ArrayRef"


@pytest.mark.parametrize(
    ("code", "state", "why"),
    [
        (f"raise ImportError({UNDEFINED!r})", "mismatch", "built for another torch (ImportError: /x/_C"),
        ('raise ImportError("version `GLIBCXX_3.4.32\' not found")', "mismatch", "newer C++ compiler"),
        (None, "broken", "as source, without its compiled extension"),
    ],
)
def test_detectron2_with_a_wrong_extension(site, code, state, why):
    site.distribution("detectron2", "0.6")
    site.module("detectron2.modeling")
    if code:
        site.module("detectron2._C", code)
    finding = found("detectron2")
    assert (finding.state, finding.version) == (state, "0.6")
    assert why in finding.detail
    assert "--force-reinstall --no-deps --no-build-isolation 'git+" in finding.remedy
    assert "INSTALL.md" in finding.source


def test_detectron2_that_works(site):
    site.distribution("detectron2", "0.6")
    site.module("detectron2.modeling")
    site.module("detectron2._C")
    assert found("detectron2").state == "ok"


def test_a_crash_is_found_and_stops_nothing(site):
    site.distribution("accelerate", "1.0", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    site.distribution("bjontegaard", "1.3")
    crashed, works = examine(["accelerate", "bjontegaard"])
    assert (crashed.state, works.state) == ("broken", "ok")
    assert "killed by SIGSEGV" in crashed.detail
    assert crashed.remedy == "pip install --force-reinstall --no-deps accelerate"


def test_a_hang_is_found(site):
    site.distribution("timm", "1.0", "import time; time.sleep(60)")
    assert found("timm", limit=0.5).detail == "no answer within 0.5 seconds"


def test_a_dependency_that_is_missing(site):
    site.distribution("timm", "1.0", "import no_such_module")
    finding = found("timm")
    assert (finding.state, finding.detail) == ("broken", "it needs no_such_module, which is absent")
    assert finding.remedy == "pip install no_such_module"


def test_one_that_is_too_old(site):
    site.distribution("timm", "0.9.16")
    finding = found("timm")
    assert (finding.state, finding.detail) == ("mismatch", "icmh-plugins needs timm>=1.0")
    assert finding.remedy == "pip install 'timm>=1.0'"


def test_compiled_for_another_numpy(site):
    site.distribution("pycocotools", "2.0.7")
    site.module("pycocotools.mask", "raise ValueError('numpy.dtype size changed, may indicate incompatibility')")
    finding = found("pycocotools")
    assert finding.state == "mismatch"
    assert finding.remedy == "pip install --force-reinstall --no-deps --no-cache-dir pycocotools"


def test_numpy_2_beside_compressai(with_torch):
    with_torch.distribution("numpy", "2.4.6")
    with_torch.metadata("compressai", "1.2.8")
    finding = found("numpy")
    assert (finding.state, finding.version, finding.fatal) == ("mismatch", "2.4.6", False)
    assert finding.remedy == "pip install 'numpy<2'"


def test_numpy_that_torch_does_not_know(site):
    site.distribution("numpy", "1.26.4")
    site.package("torch", "def ones(n): raise RuntimeError('Numpy is not available')")
    finding = found("numpy")
    assert (finding.state, finding.fatal) == ("broken", True)
    assert "Numpy is not available" in finding.detail


MISSING = "raise RuntimeError('operator torchvision::nms does not exist')"


def test_torchvision_of_another_torch(with_torch):
    with_torch.distribution("torchvision", "0.28.0", MISSING)
    finding = found("torchvision")
    assert finding.state == "mismatch"
    assert finding.detail.startswith("torch 2.14 needs torchvision 0.29 (RuntimeError: operator torchvision::nms")
    assert finding.remedy == "pip install 'torch==2.14.*' 'torchvision==0.29.*'"


@pytest.mark.parametrize("code", [MISSING, "import torch; del torch.ops.torchvision.nms"])
def test_torchvision_of_another_build(with_torch, code):
    with_torch.distribution("torchvision", "0.29.1", code)
    finding = found("torchvision")
    assert (finding.state, finding.remedy) == ("mismatch", "pip install --force-reinstall torch torchvision")


def test_torchvision_whose_operator_is_wrong(with_torch):
    code = with_torch.folder / "torch" / "__init__.py"
    code.write_text(code.read_text().replace("[0, 2]", "[0, 1, 2]"))
    with_torch.distribution("torchvision", "0.29.1")
    assert "keeps [0, 1, 2] instead of [0, 2]" in found("torchvision").detail
    assert found("torchvision").state == "broken"


def test_torchvision_that_works(with_torch):
    with_torch.distribution("torchvision", "0.29.1")
    assert found("torchvision").state == "ok"


CODER = """
    class RansEncoder:
        def encode_with_indexes(self, symbols, *settings): return bytes(symbols)
    class RansDecoder:
        def decode_with_indexes(self, string, *settings): return list(string)
"""


def test_compressai_with_its_extensions(with_torch):
    with_torch.distribution("compressai", "1.2.8")
    with_torch.module("compressai.ans", CODER)
    with_torch.module("compressai._CXX", "def pmf_to_quantized_cdf(pmf, precision): return [0, 1]")
    assert found("compressai").state == "ok"
    with_torch.module("compressai.ans", CODER.replace("list(string)", "list(string)[1:]"))
    assert "does not decode what it codes" in found("compressai").detail


def test_compressai_without_its_extensions(with_torch):
    with_torch.distribution("compressai", "1.2.8")
    finding = found("compressai")
    assert (finding.state, finding.fatal) == ("broken", True)
    assert "range coder does not load" in finding.detail
    assert finding.remedy == "pip install --force-reinstall --no-deps --no-cache-dir compressai"


def test_compressai_that_torchvision_stops(with_torch):
    with_torch.distribution("compressai", "1.2.8", MISSING)
    finding = found("compressai")
    assert "imports torchvision, which does not work" in finding.detail
    assert finding.remedy == "icmh doctor torchvision"


def test_an_unknown_package_is_refused_before_anything_is_tried(site):
    with pytest.raises(ConfigError, match="Did you mean 'detectron2'"):
        examine(["detectron"])


# BasicSR, by the way we use it: these import the real torch and torchvision

REGISTRY = """
    class Registry(dict):
        def __iter__(self): return iter(self.items())
    METRIC_REGISTRY = Registry(calculate_psnr=lambda a, b, crop_border: PSNR)
"""


@pytest.mark.parametrize(("psnr", "state"), [("0.0", "ok"), ("40.0", "broken")])
def test_basicsr_whose_own_import_fails(site, psnr, state):
    pytest.importorskip("torchvision")
    site.distribution("basicsr", "1.4.2", "from torchvision.transforms.functional_tensor import rgb_to_grayscale")
    site.module("basicsr.utils.registry", REGISTRY.replace("PSNR", psnr))
    finding = found("basicsr")
    assert (finding.state, finding.version) == (state, "1.4.2")
    assert ("contained correction" if state == "ok" else "not 0") in finding.detail


def test_basicsr_broken_otherwise(site):
    pytest.importorskip("torchvision")
    site.distribution("basicsr", "1.4.2", "raise ImportError('cannot import name x')")
    finding = found("basicsr")
    assert (finding.state, finding.remedy) == ("broken", "pip install --force-reinstall --no-deps basicsr")
    assert "cannot import name x" in finding.detail
