"""Describe the vector registers of this machine, for Python and for LLVM.

Widths follow NUMBA_CPU_NAME and NUMBA_CPU_FEATURES where these are set, as all of Numba does. LLVM lists no features on
Apple silicon and for a CPU called generic, but every x86-64 has SSE2 and every 64-bit Arm has NEON.
"""

import platform
from functools import cache

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core.codegen import get_host_cpu_features
from numba.core.datamodel import PrimitiveModel
from numba.extending import register_model

INT = ir.IntType(32)
BYTE = ir.IntType(8)
LEAST_BYTES = 16  # of a vector, on a machine without any too: a panel of single numbers compiles for minutes
GIVEN = {"x86_64": "sse2", "aarch64": "neon"}
"""What every processor of an architecture has, listed or not."""
SPELLINGS = {"amd64": "x86_64", "arm64": "aarch64"}
"""Of an architecture, on Windows and macOS."""


def architecture() -> str:
    """x86_64, aarch64 or another, spelled as on Linux."""
    name = platform.machine().lower()
    return SPELLINGS.get(name, name)


@cache  # LLVM takes a millisecond to tell; Numba reads its settings once
def _features() -> dict[str, bool]:
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    given = {GIVEN[architecture()]: True} if architecture() in GIVEN else {}
    return given | {name[1:]: name[0] == "+" for name in features.split(",") if name}


def vector_bytes() -> int:
    """64, 32 or 16: what one register of this machine holds; 0 where nothing is known of its registers."""
    features = _features()
    if features.get("avx512f"):
        return 64
    if features.get("avx2") and features.get("fma"):
        return 32
    return 16 if features.get("sse2") or features.get("neon") else 0


def vector_registers() -> int:
    """Architectural vector registers: 32 with AVX-512 and on AArch64, else 16."""
    features = _features()
    return 32 if features.get("avx512f") or features.get("neon") else 16


def vector_lanes(dtype: np.dtype | type | str) -> int:
    """Elements of `dtype` in one vector; where nothing is known of the registers, LLVM makes code of 16 bytes."""
    return _bytes() // np.dtype(dtype).itemsize


def _bytes() -> int:
    return max(LEAST_BYTES, vector_bytes())


def has_vnni() -> bool:
    """Whether full registers have dot products of bytes."""
    return vector_bytes() == 64 and _features().get("avx512vnni", False)


def has_f16c() -> bool:
    """Whether one instruction makes float32 of float16."""
    return _features().get("f16c", False)


def pair_product() -> str | None:
    """LLVM's name for multiplying 16-bit numbers and adding each two neighbours; None where there is none."""
    names = {
        64: ("avx512bw", "llvm.x86.avx512.pmaddw.d.512"),
        32: ("avx2", "llvm.x86.avx2.pmadd.wd"),
        16: ("sse2", "llvm.x86.sse2.pmadd.wd"),
    }
    feature, name = names.get(vector_bytes(), ("", None))
    return name if _features().get(feature) else None


class Vector(types.Type):
    """As many elements of one floating-point type as a register holds."""

    def __init__(self, element: types.Float) -> None:
        self.element, self.lanes = element, _bytes() * 8 // element.bitwidth
        super().__init__(f"Vector({element}, {self.lanes})")


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager, fe_type) -> None:
        super().__init__(manager, fe_type, vector_of(fe_type.element))


def vector_of(element: types.Float) -> ir.VectorType:
    """The LLVM type of a full vector of Numba's float32 or float64."""
    scalar = ir.FloatType() if element == types.float32 else ir.DoubleType()
    return ir.VectorType(scalar, Vector(element).lanes)
